"""Which dtype a record gets, from what bcc and clang say; both are played here."""

import re

import numpy as np
import pytest

from tracekit.capture.program import Program
from tracekit.capture.record_type import measure_struct, record_dtype
from tracekit.errors import RecordTypeError


def compiler(**layouts):
    """Plays the compiler: layouts are type -> (size, {member: (offset, size, C type)})."""

    def describe(text, table):
        type_ = re.search(r"tracekit_size = sizeof\((.*?)\) \+ 1", text)[1]
        if layouts.get(type_.replace(" ", "_")) is None:
            return None
        size, members = layouts[type_.replace(" ", "_")]
        numbers = {"size": size}
        for key, value in re.findall(r"tracekit_((?:offset|length|same)\d+) = (.*) \+ 1,", text):
            name = re.search(r"(?:->|, )(\w+)\)", value)[1]
            offset, length, declared = members[name]
            wanted = re.search(r"->\w+\), (.*)\)$", value)
            numbers[key] = {
                "o": offset,
                "l": length,
                "s": int(bool(wanted) and wanted[1] == declared),
            }[key[0]]
        assert f"struct {table}_leaf" in text
        return ["leaf", [[key, "char", [value + 1]] for key, value in numbers.items()], "struct"]

    return describe


EVENT = Program("struct event { u64 ts; u32 pid; char comm[16]; };", "mine.c")
MEMBERS = [("ts", "u64"), ("pid", "u32"), ("comm", "char[16]")]
LAYOUT = (32, {"ts": (0, 8, "u64"), "pid": (8, 4, "u32"), "comm": (12, 16, "char[16]")})


def test_offsets_and_sizes_are_the_compilers():
    dtype = record_dtype(EVENT, "events", MEMBERS, compiler(struct_event=LAYOUT))
    assert dtype.names == ("ts", "pid", "comm")
    assert dtype.itemsize == 32
    assert [dtype.fields[name] for name in dtype.names] == [
        (np.dtype("u8"), 0),
        (np.dtype("u4"), 8),
        (np.dtype("S16"), 12),
    ]


@pytest.mark.parametrize(
    ("type_", "size", "expected"),
    [
        ("u8", 1, "u1"),
        ("__s64", 8, "i8"),
        ("unsigned int", 4, "u4"),
        ("long", 8, "i8"),
        ("bool", 1, "?"),
        ("_Bool", 1, "?"),
        ("__be16", 2, ">u2"),
        ("__be64", 8, ">u8"),
        ("__le32", 4, "<u4"),
        ("char", 1, "i1"),
        ("enum colour", 4, "u4"),
        ("void *", 8, "u8"),
        ("const void *", 8, "u8"),
        ("volatile u32", 4, "u4"),
        ("char[5]", 5, "S5"),
        ("char[2][4]", 8, ("S4", (2,))),
        ("u8[28]", 28, ("u1", (28,))),
        ("u16[3][2]", 12, ("u2", (3, 2))),
        ("__be32[4]", 16, (">u4", (4,))),
    ],
)
def test_c_types_become_dtypes(type_, size, expected):
    program = Program("struct event { something x; };", "mine.c")
    layout = (size, {"x": (0, size, type_)})
    dtype = record_dtype(program, "events", [("x", type_)], compiler(struct_event=layout))
    assert dtype["x"] == np.dtype(expected)


def test_of_structs_with_the_same_words_the_one_with_the_same_types_is_taken():
    program = Program(
        "struct small { u64 ts; u64 pid; }; struct event { u64 ts; unsigned int pid; };", "mine.c"
    )
    dtype = record_dtype(
        program,
        "events",
        [("ts", "u64"), ("pid", "unsigned int")],
        compiler(
            struct_small=(16, {"ts": (0, 8, "u64"), "pid": (8, 8, "u64")}),
            struct_event=(16, {"ts": (0, 8, "u64"), "pid": (8, 4, "unsigned int")}),
        ),
    )
    assert dtype["pid"] == np.dtype("u4")


@pytest.mark.parametrize(
    ("members", "fact"),
    [
        ([], "is sent no struct"),
        ([("inner", "struct inner")], "inner of the struct sent to events is a struct inner"),
        ([("u", "union x")], "is a union x"),
        ([("sk", "struct sock *")], "struct sock *"),
        ([("", "union ev::(anonymous at mine.c:1:2)")], "without a name"),
        ([("rest", "u8[0]")], "without a length"),
        ([("rest", "u8[]")], "without a length"),
        ([("f", "float")], "is a float"),
        ([("nobody", "u32")], "no definition in mine.c"),
    ],
)
def test_what_is_no_column_is_refused(members, fact):
    with pytest.raises(RecordTypeError, match=re.escape(fact)) as caught:
        record_dtype(EVENT, "events", members, compiler(struct_event=LAYOUT))
    assert caught.value.next_step


def test_a_struct_the_compiler_cannot_measure_has_a_bit_field():
    with pytest.raises(RecordTypeError, match="bit-field"):
        record_dtype(EVENT, "events", MEMBERS, compiler())
    with pytest.raises(RecordTypeError, match="bit-field"):
        measure_struct(EVENT, "struct event", ["ts"], compiler())


def test_a_struct_is_measured():
    size, places = measure_struct(
        EVENT, "struct event", ["pid", "ts"], compiler(struct_event=LAYOUT)
    )
    assert (size, places) == (32, {"pid": (8, 4), "ts": (0, 8)})

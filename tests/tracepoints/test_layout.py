import ctypes
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import RecordError
from tracekit.tracepoints.format import Field, Format, parse_format
from tracekit.tracepoints.layout import (
    Hole,
    cut_text,
    decode,
    dynamic_value,
    find_holes,
    layout_of,
    record_dtype,
)
from tracekit.tracepoints.tracefs import read_format

SWITCH = read_format("sched:sched_switch", kernel="debian-12_6.12")


def field(declaration, offset, size, signed=0):
    text = f"field:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
    return parse_format(f"name: x\nformat:\n\n\t{text}\n\nprint fmt: x\n").fields[0]


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "expected"),
    [
        ("unsigned char a", 1, 0, "u1"),
        ("short a", 2, 1, "i2"),
        ("pid_t a", 4, 1, "i4"),
        ("bool a", 1, 0, "u1"),
        ("int dfd", 8, 0, "u8"),
        ("const void * skbaddr", 8, 0, "u8"),
        ("__u8 saddr[28]", 28, 0, ("u1", (28,))),
        ("__u8 saddr[sizeof(struct sockaddr_in6)]", 28, 0, ("u1", (28,))),
        ("s32 all[3]", 12, 1, ("i4", (3,))),
        ("char comm[16]", 16, 1, "S16"),
        ("char comm[16]", 16, 0, "S16"),
        ("unsigned char mac[6]", 6, 0, ("u1", (6,))),
        ("char buf[]", 0, 0, ("u1", (0,))),
        ("struct in6_addr a", 16, 0, ("u1", (16,))),
        ("struct pair all[2]", 24, 0, ("u1", (24,))),
        ("__data_loc char[] name", 4, 1, "u4"),
        ("__rel_loc char name[]", 4, 1, "u4"),
        ("__data_loc char[] name", 2, 0, "u2"),
    ],
)
def test_each_field_has_its_numpy_type(declaration, size, signed, expected):
    one = field(declaration, 8, size, signed)
    dtype = record_dtype([one])
    assert dtype[one.name] == np.dtype(expected)
    assert (dtype.fields[one.name][1], dtype.itemsize) == (8, 8 + size)


def test_arrays_keep_the_lines_sign():
    assert record_dtype([field("u8 mac[6]", 0, 6, 1)])["mac"].base == np.int8
    assert record_dtype([field("s8 x[6]", 0, 6, 0)])["x"].base == np.uint8


SCALARS = {"u8": "B", "s8": "b", "u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q"}


@given(
    st.lists(st.sampled_from(sorted(SCALARS)), min_size=1, max_size=9),
    st.integers(1, 5),
    st.integers(0, 9),
    st.data(),
)
def test_decoding_equals_struct_unpack(types, count, padding, data):
    fields = layout_of([(type_, f"f{i}") for i, type_ in enumerate(types)])
    fmt = Format("test", "event", None, (), fields, "")
    stride = fmt.size + padding
    raw = data.draw(st.binary(min_size=stride * count, max_size=stride * count))
    records = decode(fmt, raw, stride=stride)
    assert records.shape == (count,)
    for i, record in enumerate(records):
        for one in fields:
            expected = struct.unpack_from(f"={SCALARS[one.type]}", raw, i * stride + one.offset)
            assert (int(record[one.name]),) == expected


def test_decode_shares_memory_and_keeps_text():
    raw = bytearray(SWITCH.size)
    raw[8:24] = b"python3".ljust(16, b"\0")
    struct.pack_into("=iiq", raw, 24, 4242, 120, 1)
    records = decode(SWITCH, raw)
    assert records["prev_comm"].tolist() == [b"python3"]
    assert records[0]["prev_pid"] == 4242
    struct.pack_into("=i", raw, 24, 23)
    assert records[0]["prev_pid"] == 23


def test_decode_takes_the_last_record_without_its_padding():
    raw = bytes(SWITCH.size) + bytes(8) + bytes(SWITCH.size)
    assert decode(SWITCH, raw, stride=SWITCH.size + 8).shape == (2,)
    assert decode(SWITCH, b"").shape == (0,)


@pytest.mark.parametrize(("length", "stride"), [(-1, 0), (1, 0), (0, -4), (90, 80)])
def test_decode_refuses_what_is_no_whole_record(length, stride):
    size = SWITCH.size
    with pytest.raises(RecordError):
        decode(SWITCH, bytes(size + length), stride=size + stride if stride else 0)


def test_data_loc_counts_from_the_record_and_rel_loc_from_its_field():
    record = bytes(8) + struct.pack("=HH", 16, 4) + bytes(4) + b"eth\0"
    assert dynamic_value(field("__data_loc char[] name", 8, 4), record) == b"eth\0"
    record = bytes(8) + struct.pack("=HH", 4, 4) + bytes(4) + b"eth\0"
    assert dynamic_value(field("__rel_loc char name[]", 8, 4), record) == b"eth\0"


def test_dynamic_values_outside_the_record_are_refused():
    record = bytes(8) + struct.pack("=HH", 12, 5) + b"eth\0"
    with pytest.raises(RecordError, match="name points to bytes 12 to 17, of 16"):
        dynamic_value(field("__data_loc char[] name", 8, 4), record)
    with pytest.raises(RecordError, match="holds its value itself"):
        dynamic_value(field("int name", 8, 4), record)
    for one in (field("__data_loc char[] name", 8, 2), field("__data_loc char[] name", 14, 4)):
        with pytest.raises(RecordError, match="that locate name are not in the record"):
            dynamic_value(one, record)


@given(st.binary(max_size=40), st.binary(max_size=12))
def test_dynamic_values_come_back(value, between):
    start = 12 + len(between)
    record = bytes(8) + struct.pack("=HH", start, len(value)) + between + value
    assert dynamic_value(field("__data_loc u8[] v", 8, 4), record) == value
    record = bytes(8) + struct.pack("=HH", start - 12, len(value)) + between + value
    assert dynamic_value(field("__rel_loc u8 v[]", 8, 4), record) == value


def test_holes_of_tcp_probe_on_every_kernel():
    # The table of layouts was read from the five kernels' own files.
    expected = {
        "ubuntu-20.04_5.4": [(74, 2)],
        "debian-11_5.10": [(74, 2)],
        "debian-12_6.1": [(70, 2), (78, 2), (108, 4)],
        "debian-12_6.1-rt": [(9, 3), (74, 2), (82, 2)],
        "debian-12_6.12": [(70, 2), (78, 2), (108, 4)],
        "linux_6.18": [(70, 2), (78, 2), (108, 4)],
    }
    for kernel, holes in expected.items():
        fmt = read_format("tcp:tcp_probe", kernel=kernel)
        assert [(hole.offset, hole.size) for hole in fmt.holes] == holes, kernel


def test_holes_name_the_field_before_them_in_any_order():
    fields = [field("u32 b", 8, 4), field("u16 a", 2, 2), field("u8 c", 12, 1)]
    assert find_holes(fields) == (Hole(0, 2, ""), Hole(4, 4, "a"))
    overlapping = [field("u64 a", 0, 8), field("u8 b", 2, 1), field("u8 c", 9, 1)]
    assert find_holes(overlapping) == (Hole(8, 1, "a"),)
    assert find_holes([]) == ()


C_TYPES = {
    "u8": ctypes.c_uint8,
    "s16": ctypes.c_int16,
    "int": ctypes.c_int,
    "unsigned long long": ctypes.c_ulonglong,
    "char": ctypes.c_char,
    "__u16": ctypes.c_uint16,
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(C_TYPES)), st.none() | st.integers(1, 9)),
        min_size=1,
        max_size=10,
    )
)
def test_layout_of_is_the_c_compilers(members):
    class Struct(ctypes.Structure):
        _fields_ = [
            (f"m{i}", C_TYPES[type_] * count if count else C_TYPES[type_])
            for i, (type_, count) in enumerate(members)
        ]

    fields = layout_of(
        (type_, f"m{i}", count) if count else (type_, f"m{i}")
        for i, (type_, count) in enumerate(members)
    )
    assert [(f.offset, f.size) for f in fields] == [
        (getattr(Struct, f.name).offset, getattr(Struct, f.name).size) for f in fields
    ]


def test_layout_of_refuses_unknown_types():
    with pytest.raises(RecordError, match=r"struct sockaddr_in6.* is not known"):
        layout_of([("struct sockaddr_in6", "saddr")])


def test_the_documents_struct():
    fields = layout_of(
        [("u64", "__unused__"), ("u8", "saddr", 28), ("u8", "daddr", 28)]
        + [("u16", "sport"), ("u16", "dport"), ("u32", "mark"), ("u16", "data_len")]
        + [("u32", name) for name in ("snd_nxt", "snd_una", "snd_cwnd", "ssthresh")]
        + [("u32", name) for name in ("snd_wnd", "srtt", "rcv_wnd")]
        + [("u64", "sock_cookie")]
    )
    kernels = read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4")
    assert [(f.name, f.offset, f.size) for f in fields[1:]] == [
        (f.name, f.offset, f.size) for f in kernels.fields
    ]


def test_byte_order_is_the_machines():
    one = Field("u32 x", "u32", "x", 0, 4, False)
    assert decode(Format("", "e", None, (), (one,), ""), (1).to_bytes(4, sys.byteorder))["x"] == 1


def test_a_text_ends_at_its_first_nul():
    texts = [b"true\0\0ZMQb", b"", b"\0leftover", b"sixteen letters!", b"plain"]
    column = np.array(texts, "S16")
    assert cut_text(column).tolist() == [b"true", b"", b"", b"sixteen letters!", b"plain"]
    assert cut_text(column[::2]).tolist() == [b"true", b"", b"plain"]
    assert cut_text(column[:0]).tolist() == []

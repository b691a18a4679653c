import dataclasses
import pickle
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import FormatError, UnknownField
from tracekit.tracepoints.format import Field, parse_format

TREES = Path(__file__).parent.parent / "data" / "formats"

COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
)


def format_text(*lines, common=COMMON, print_fmt='"x"', name="event", number=7):
    own = "".join(f"\t{line}\n" for line in lines)
    return f"name: {name}\nID: {number}\nformat:\n{common}\n{own}\nprint fmt: {print_fmt}\n"


def one_field(line):
    return parse_format(format_text(line)).fields[0]


def test_head_fields_and_print_fmt():
    fmt = parse_format(
        format_text("field:int got_bits;\toffset:8;\tsize:4;\tsigned:1;", print_fmt='"%d", REC->x'),
        "random",
    )
    assert (fmt.category, fmt.name, fmt.id, fmt.full_name) == ("random", "event", 7, "random:event")
    assert [f.name for f in fmt.common_fields] == [
        "common_type",
        "common_flags",
        "common_preempt_count",
        "common_pid",
    ]
    assert fmt.fields == (Field("int got_bits", "int", "got_bits", 8, 4, True),)
    assert fmt.all_fields == fmt.common_fields + fmt.fields == tuple(fmt)
    assert (fmt.print_fmt, fmt.size, len(fmt), fmt.kernel) == ('"%d", REC->x', 12, 5, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "field:__u8 saddr[28];\toffset:8;\tsize:28;\tsigned:0;",
            ("__u8", "saddr", 8, 28, False, 28, ""),
            id="fixed array",
        ),
        pytest.param(
            "field:__u8 saddr[sizeof(struct sockaddr_in6)];\toffset:8;\tsize:28;\tsigned:0;",
            ("__u8", "saddr", 8, 28, False, 28, ""),
            id="sizeof with blanks in it",
        ),
        pytest.param(
            "field:char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:1;",
            ("char", "comm", 8, 16, True, 16, ""),
            id="macro",
        ),
        pytest.param(
            "field:u32 regs[REG_COUNT];\toffset:8;\tsize:40;\tsigned:0;",
            ("u32", "regs", 8, 40, False, 10, ""),
            id="macro, elements of 4 bytes",
        ),
        pytest.param(
            "field:struct x all[COUNT];\toffset:8;\tsize:24;\tsigned:0;",
            ("struct x", "all", 8, 24, False, 24, ""),
            id="macro, elements of unknown size",
        ),
        pytest.param(
            "field:u16 grid[2][3];\toffset:8;\tsize:12;\tsigned:0;",
            ("u16", "grid", 8, 12, False, 6, ""),
            id="two dimensions",
        ),
        pytest.param(
            "field:char buf[];\toffset:8;\tsize:0;\tsigned:0;",
            ("char", "buf", 8, 0, False, 0, ""),
            id="flexible",
        ),
        pytest.param(
            "field:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;",
            ("char", "filename", 8, 4, False, None, "__data_loc"),
            id="data_loc, brackets before the name",
        ),
        pytest.param(
            "field:__rel_loc char name[];\toffset:8;\tsize:4;\tsigned:0;",
            ("char", "name", 8, 4, False, None, "__rel_loc"),
            id="rel_loc, brackets behind the name",
        ),
        pytest.param(
            "field:__data_loc cpumask_t cpumask;\toffset:8;\tsize:4;\tsigned:0;",
            ("cpumask_t", "cpumask", 8, 4, False, None, "__data_loc"),
            id="data_loc without brackets",
        ),
        pytest.param(
            "field:int dfd;\toffset:16;\tsize:8;\tsigned:0;",
            ("int", "dfd", 16, 8, False, None, ""),
            id="the line's size and sign, not the type's",
        ),
        pytest.param(
            "field:const char __attribute__((user)) * name;\toffset:8;\tsize:8;\tsigned:0;",
            ("const char *", "name", 8, 8, False, None, ""),
            id="attribute",
        ),
        pytest.param(
            "field:int pid;\toffset:8;\tsize:4;",
            ("int", "pid", 8, 4, True, None, ""),
            id="no 'signed:', a signed type",
        ),
        pytest.param(
            "field:unsigned long ip;\toffset:8;\tsize:8;",
            ("unsigned long", "ip", 8, 8, False, None, ""),
            id="no 'signed:', an unsigned type",
        ),
        pytest.param(
            "field special:char buf;\toffset:8;\tsize:0;",
            ("char", "buf", 8, 0, True, None, ""),
            id="field special",
        ),
        pytest.param(
            "field: u64 timestamp;\toffset:8;\tsize:8;\tsigned:0;",
            ("u64", "timestamp", 8, 8, False, None, ""),
            id="blank behind the colon",
        ),
        pytest.param(
            "field:int x;\tsize:4;\toffset:8;\talign:4;\tsigned:1;",
            ("int", "x", 8, 4, True, None, ""),
            id="keys in another order, and an unknown one",
        ),
    ],
)
def test_one_line(line, expected):
    field = one_field(line)
    type_, name, offset, size, signed, length, location = expected
    assert (field.type, field.name, field.offset, field.size) == (type_, name, offset, size)
    assert (field.signed, field.length, field.location) == (signed, length, location)
    assert field.declaration == line.split(":", 1)[1].split(";")[0].strip()
    assert field.end == offset + size


def test_print_fmt_keeps_its_newlines():
    text = format_text(
        "field:int x;\toffset:8;\tsize:4;\tsigned:1;",
        print_fmt='"dev %d:\n\tfield:int y;\toffset:12;\tsize:4;\tsigned:1;\n\n end", REC->x',
    )
    fmt = parse_format(text)
    assert [f.name for f in fmt.fields] == ["x"]
    assert fmt.print_fmt.startswith('"dev')
    assert fmt.print_fmt.endswith("REC->x")
    assert fmt.print_fmt.count("\n") == 3


def test_the_empty_line_ends_the_common_fields_not_their_names():
    line = "field:int common_sense;\toffset:8;\tsize:4;\tsigned:1;"
    assert [f.name for f in parse_format(format_text(line)).fields] == ["common_sense"]
    other = "\tfield:int pid;\toffset:0;\tsize:4;\tsigned:1;\n"
    fmt = parse_format(format_text(line, common=other))
    assert [f.name for f in fmt.common_fields] == ["pid"]


def test_without_an_empty_line_the_prefix_tells():
    text = format_text("field:int x;\toffset:8;\tsize:4;\tsigned:1;").replace("\n\n\t", "\n\t")
    fmt = parse_format(text)
    assert (len(fmt.common_fields), [f.name for f in fmt.fields]) == (4, ["x"])


def test_an_event_without_fields_of_its_own():
    fmt = parse_format(format_text())
    assert (fmt.fields, len(fmt.common_fields), fmt.size) == ((), 4, 8)
    assert parse_format(format_text().replace("\n\n\nprint", "\n\nprint")).fields == ()


def test_a_longer_common_header():
    lazy = "\tfield:unsigned char common_preempt_lazy_count;\toffset:8;\tsize:1;\tsigned:0;\n"
    line = "field:__u8 saddr[28];\toffset:12;\tsize:28;\tsigned:0;"
    fmt = parse_format(format_text(line, common=COMMON + lazy))
    assert len(fmt.common_fields) == 5
    assert [(h.offset, h.size) for h in fmt.holes] == [(9, 3)]


def test_text_copied_from_a_page_parses():
    text = format_text("field:int x;\toffset:8;\tsize:4;\tsigned:1;")
    assert parse_format(text.replace("\t", "        ")) == parse_format(text)
    assert parse_format(text.replace("\n", "\r\n")) == parse_format(text)
    assert parse_format(text.rstrip("\n")) == parse_format(text)


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("field:int x;\tsize:4;\tsigned:1;", "'offset' is missing"),
        ("field:int x;\toffset:8;\tsigned:1;", "'size' is missing"),
        ("field:int x;\toffset:eight;\tsize:4;\tsigned:1;", "'offset' is 'eight', not a number"),
        ("field:int x;\toffset:-8;\tsize:4;\tsigned:1;", "'offset' is '-8', not a number"),
        ("field:int x;\toffset:8;\tsize:4;\tsigned:2;", "'signed' is '2', not 0 or 1"),
        ("field:x;\toffset:8;\tsize:4;\tsigned:1;", "a type and a name are expected"),
        ("field:int x[4;\toffset:8;\tsize:4;\tsigned:1;", "a bracket is opened and not closed"),
        ("field:int x;\toffset 8;\tsize:4;\tsigned:1;", "'offset 8' is not 'key:value'"),
        ("int x;\toffset:8;\tsize:4;\tsigned:1;", "a field is expected"),
        ("type_len : 5 bits", "a field is expected"),
    ],
)
def test_a_line_that_does_not_parse_is_named(line, fact):
    with pytest.raises(FormatError) as caught:
        parse_format(format_text("field:int ok;\toffset:8;\tsize:4;\tsigned:1;", line))
    # name, ID, format, four common fields, an empty line, "ok": the tenth is the one
    assert caught.value.line_number == 10
    assert caught.value.line.strip() == line
    assert f"line 10: {fact}" in str(caught.value)
    assert line in str(caught.value)


def test_the_line_number_counts_the_common_fields_too():
    text = format_text("field:int x;\toffset:8;\tsize:4;\tsigned:1;")
    with pytest.raises(FormatError) as caught:
        parse_format(text.replace("offset:2;", ""))
    assert caught.value.line_number == 5
    with pytest.raises(FormatError) as caught:
        parse_format(f"# cat format\n{text}")
    assert (caught.value.line_number, caught.value.line) == (1, "# cat format")


@pytest.mark.parametrize("missing", ["name: event\n", "format:\n", "print fmt:"])
def test_a_text_with_a_part_missing(missing):
    text = format_text("field:int x;\toffset:8;\tsize:4;\tsigned:1;").replace(missing, "")
    with pytest.raises(FormatError, match=missing.split(":")[0]):
        parse_format(text)


@pytest.mark.parametrize("text", ["", "\n", "hello", "name: x", "print fmt: \n"])
def test_no_format_at_all(text):
    with pytest.raises(FormatError):
        parse_format(text)


def test_two_fields_of_one_name():
    line = "field:int x;\toffset:8;\tsize:4;\tsigned:1;"
    with pytest.raises(FormatError, match="two fields named x"):
        parse_format(format_text(line, line.replace("8", "12")))


def test_a_value_and_a_data_loc_of_one_name():
    # regmap:regcache_sync of Linux 5.10
    fmt = parse_format(
        format_text(
            "field:__data_loc char[] type;\toffset:8;\tsize:4;\tsigned:1;",
            "field:int type;\toffset:12;\tsize:4;\tsigned:1;",
        )
    )
    assert (fmt["type"].offset, fmt["__data_loc_type"].offset) == (12, 8)
    assert fmt.dtype.names[-2:] == ("__data_loc_type", "type")
    assert "u32 data_loc_type;\n    s32 type;" in fmt.c_struct()


def test_unknown_field_gives_the_nearest():
    fmt = parse_format(format_text("field:int snd_cwnd;\toffset:8;\tsize:4;\tsigned:1;"), "tcp")
    assert "snd_cwnd" in fmt
    assert "cwnd" not in fmt
    with pytest.raises(UnknownField) as caught:
        fmt["sndcwnd"]
    assert caught.value.nearest == ("snd_cwnd",)
    assert isinstance(caught.value, LookupError)
    assert str(caught.value).startswith("tcp:event has no field sndcwnd\n  next: nearest names")


def test_values_are_frozen_hashable_and_pickle():
    fmt = parse_format(format_text("field:int x;\toffset:8;\tsize:4;\tsigned:1;"), kernel="k")
    with pytest.raises(dataclasses.FrozenInstanceError):
        fmt.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        fmt["x"].offset = 0
    assert fmt.dtype is fmt.dtype
    assert pickle.loads(pickle.dumps(fmt)) == fmt
    assert hash(dataclasses.replace(fmt)) == hash(fmt)


def test_repr_shows_offsets_holes_and_the_kernel():
    lines = ("field:__u16 family;\toffset:8;\tsize:2;\tsigned:0;",)
    lines += ("field:__s32 mark;\toffset:12;\tsize:4;\tsigned:1;",)
    fmt = parse_format(format_text(*lines), "tcp", kernel="debian-12_6.1")
    assert repr(fmt).splitlines() == [
        "tcp:event · ID 7 · 16 bytes · debian-12_6.1",
        "offset  size  signed  declaration                         note",
        "     0     2  no      unsigned short common_type          common",
        "     2     1  no      unsigned char common_flags          common",
        "     3     1  no      unsigned char common_preempt_count  common",
        "     4     4  yes     int common_pid                      common",
        "     8     2  no      __u16 family",
        "    10     2                                              hole",
        "    12     4  yes     __s32 mark",
    ]
    html = fmt._repr_html_()
    assert html.count("<tr") == 1 + 7  # the head, six fields, one hole
    assert ">hole<" in html
    assert "repeating-linear-gradient" in html
    assert html.count(">common<") == 4
    assert "<style" not in html
    assert "<script" not in html


TYPES = {
    "int": (4, True),
    "unsigned int": (4, False),
    "__u8": (1, False),
    "s16": (2, True),
    "unsigned long": (8, False),
    "const void *": (8, False),
    "enum dir": (4, False),
    "char": (1, True),
}
NAMES = st.lists(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True), unique=True, min_size=1, max_size=8
)


@st.composite
def written_fields(draw):
    # Fields as a compiler lays them out and as f_show in the kernel writes them.
    fields, lines, end = [], [], 8
    for name in draw(NAMES):
        type_ = draw(st.sampled_from(sorted(TYPES)))
        width, signed = TYPES[type_]
        shape = draw(st.sampled_from(["plain", "array", "expression", "__data_loc", "__rel_loc"]))
        length, location, declaration = None, "", f"{type_} {name}"
        size = width
        if shape in ("array", "expression"):
            length = draw(st.integers(1, 40))
            size = width * length
            text = str(length) if shape == "array" else f"sizeof(struct a b) / {width}"
            declaration = f"{type_} {name}[{text}]"
        elif shape == "__data_loc":
            location, size, declaration = shape, 4, f"__data_loc {type_}[] {name}"
        elif shape == "__rel_loc":
            location, size, declaration = shape, 4, f"__rel_loc {type_} {name}[]"
        align = 4 if location else width
        offset = -(-end // align) * align
        end = offset + size
        fields.append(Field(declaration, type_, name, offset, size, signed, length, location))
        lines.append(f"field:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{int(signed)};")
    return fields, lines


@given(written_fields(), st.text(alphabet=st.characters(codec="ascii", exclude_characters="\r")))
def test_what_the_kernel_writes_comes_back(written, print_fmt):
    fields, lines = written
    fmt = parse_format(format_text(*lines, print_fmt=print_fmt))
    assert list(fmt.fields) == fields
    assert fmt.print_fmt == print_fmt.strip()
    covered = {i for f in fmt for i in range(f.offset, f.end)}
    holes = {i for h in fmt.holes for i in range(h.offset, h.end)}
    assert covered | holes == set(range(fmt.size))
    assert not covered & holes


@given(st.text(max_size=400))
def test_any_text_parses_or_is_refused(text):
    with suppress(FormatError):
        assert parse_format(text).text == text


@given(st.data())
def test_a_damaged_file_parses_or_is_refused(data):
    text = format_text("field:__u8 saddr[28];\toffset:8;\tsize:28;\tsigned:0;")
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:at] + data.draw(st.sampled_from(["", ";", ":", "[", "\n", "x"])) + text[at + 1 :]
    )
    with suppress(FormatError):
        assert parse_format(damaged).text == damaged


def tree_texts(archive):
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith("/format"):
                yield member.name.split("/")[1:3], tar.extractfile(member).read().decode()


@pytest.mark.parametrize("kernel", sorted(path.name[:-7] for path in TREES.glob("*.tar.gz")))
def test_every_file_of_a_kernel_parses(kernel):
    formats = [
        (event, parse_format(text, category, kernel=kernel), text)
        for (category, event), text in tree_texts(TREES / f"{kernel}.tar.gz")
    ]
    assert len(formats) > 1000
    headers = {fmt.common_fields for _, fmt, _ in formats}
    assert len(headers) == 1
    for event, fmt, text in formats:
        assert fmt.name == event
        # Counted by another way than the parser's: one field for each line that says so.
        head = text.split("\nprint fmt:")[0]
        assert len(fmt) == head.count("\n\tfield:")
        assert fmt.dtype.itemsize == fmt.size
        assert len(repr(fmt).splitlines()) == 2 + len(fmt) + len(fmt.holes)
        assert fmt._repr_html_().count("<tr") == 1 + len(fmt) + len(fmt.holes)
        # One line for each field, hole, the first 8 bytes and the two around them all.
        later = [f for f in fmt if f.offset >= 8]
        holes = [h for h in fmt.holes if h.offset >= 8]
        assert len(fmt.c_struct().splitlines()) == 3 + len(later) + len(holes)
        for name, field in zip(fmt.dtype.names, fmt, strict=True):
            assert fmt[name] is field
            assert fmt.dtype.fields[name][1] == field.offset
            assert fmt.dtype[name].itemsize == field.size
            assert field.element_size * (1 if field.length is None else field.length) == field.size


def test_there_are_five_trees():
    assert len(list(TREES.glob("*.tar.gz"))) == 5

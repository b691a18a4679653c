import ctypes
import re
import tarfile
from pathlib import Path

import pytest

from tracekit.tracepoints.format import Format, parse_format
from tracekit.tracepoints.layout import layout_of
from tracekit.tracepoints.tracefs import read_format

TREES = Path(__file__).parent.parent / "data" / "formats"
C_TYPES = {"char": ctypes.c_char} | {
    f"{letter}{bits}": getattr(ctypes, f"c_{'u' if letter == 'u' else ''}int{bits}")
    for letter in "us"
    for bits in (8, 16, 32, 64)
}


def layout_by_ctypes(text):
    # ctypes lays a Structure out as the C compiler does; it knows nothing of format files.
    pattern = r"^    (\w+) (\w+)(?:\[(\d+)\])?( __attribute__\(\(packed\)\))?;$"
    members = re.findall(pattern, text, re.MULTILINE)
    assert len(members) == text.count("\n") - 1
    fields = []
    for type_, name, count, packed in members:
        element = C_TYPES[type_]
        if packed:  # the same bytes, with no alignment
            element = ctypes.c_uint8 * ctypes.sizeof(element)
        fields.append((name, element * int(count) if count else element))
    struct = type("Struct", (ctypes.Structure,), {"_fields_": fields})
    return {name: (getattr(struct, name).offset, getattr(struct, name).size) for name, _ in fields}


def test_the_documents_event():
    assert read_format("random:urandom_read", kernel="ubuntu-20.04_5.4").c_struct("args") == (
        "struct args {\n"
        "    u64 __unused__;\n"
        "    s32 got_bits;\n"
        "    s32 pool_left;\n"
        "    s32 input_left;\n"
        "};"
    )


def test_padding_is_written_out_and_the_header_may_be_longer():
    text = read_format("tcp:tcp_probe", kernel="debian-12_6.1-rt").c_struct()
    assert text.splitlines()[:5] == [
        "struct tcp_probe_args {",
        "    u64 __unused__;",
        "    u8 common_preempt_lazy_count;",
        "    u8 __pad_9[3];",
        "    u8 saddr[28];",
    ]
    assert "    u16 family;\n    u8 __pad_74[2];\n    u32 mark;" in text


def test_dynamic_fields_have_bccs_names():
    text = read_format("sched:sched_process_exec", kernel="linux_6.18").c_struct()
    assert "    u32 data_loc_filename;" in text


def test_asserts_name_every_member():
    fmt = read_format("tcp:tcp_probe", kernel="debian-12_6.12")
    text = fmt.c_struct("s", asserts=True)
    later = [f for f in fmt if f.offset >= 8]
    assert text.count("_Static_assert(__builtin_offsetof(struct s, ") == len(later)
    assert '_Static_assert(__builtin_offsetof(struct s, snd_cwnd) == 88, "' in text
    assert text.startswith(fmt.c_struct("s"))


def test_a_member_not_aligned_by_nature_is_packed():
    # A 32-bit kernel puts its u64 at a multiple of 4, as 6.1-rt does in ftrace:funcgraph_entry.
    line = "\tfield:u64 ino;\toffset:12;\tsize:8;\tsigned:0;\n"
    fmt = parse_format(f"name: x\nformat:\n\n{line}\nprint fmt: x\n")
    assert fmt.c_struct().splitlines()[1:-1] == [
        "    u64 __unused__;",
        "    u8 __pad_8[4];",
        "    u64 ino __attribute__((packed));",
    ]


def test_a_layout_without_common_fields_has_no_unused_bytes():
    fmt = Format("", "pair", None, (), layout_of([("u16", "a"), ("u32", "b")]), "")
    assert fmt.c_struct().splitlines()[1:-1] == ["    u16 a;", "    u8 __pad_2[2];", "    u32 b;"]


@pytest.mark.parametrize("kernel", sorted(path.name[:-7] for path in TREES.glob("*.tar.gz")))
def test_a_compiler_puts_every_member_where_the_kernel_does(kernel):
    checked = 0
    with tarfile.open(TREES / f"{kernel}.tar.gz") as tar:
        for member in tar:
            if not member.name.endswith("/format"):
                continue
            fmt = parse_format(tar.extractfile(member).read().decode())
            layout = layout_by_ctypes(fmt.c_struct())
            for name, field in zip(fmt.dtype.names, fmt, strict=True):
                if field.offset >= 8:
                    member_name = name.removeprefix("__data_loc_")
                    if field.location:
                        member_name = f"data_loc_{field.name}"
                    assert layout[member_name] == (field.offset, field.size), fmt.name
                    checked += 1
    assert checked > 4000

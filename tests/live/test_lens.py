"""Structs as a learner types them, laid out by the compiler, under the lens."""

import pytest

import tracekit as tk
from tracekit.errors import CompileError

pytestmark = pytest.mark.live

MEMBERS = ("u64 __unused__;", "u8 saddr[28];", "u8 daddr[28];", "u16 sport;", "u16 dport;")


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ((), ()),
        (("u16 family;", "u32 mark;", "u16 data_len;", "u32 snd_nxt;"), ()),
        (("u32 mark;", "u16 data_len;", "u32 snd_nxt;"), ("mark", "data_len", "snd_nxt")),
        (("u16 family;", "u16 hole;", "u32 mark;", "u32 snd_nxt;"), ("hole", "snd_nxt")),
    ],
)
def test_a_mistake_is_named_from_its_first_field_on(members, wrong):
    fmt = tk.read_format("tcp:tcp_probe", kernel="linux_6.18")
    text = "struct mine {" + " ".join((*MEMBERS, *members)) + "};"
    found = tk.lens(bytes(fmt.size), fmt, text)
    assert found.wrong == wrong
    if wrong:
        assert f"the first is {wrong[0]}" in repr(found)
        assert f"the first is {wrong[0]}" in found.svg()


def test_a_packed_struct_lies_where_the_compiler_puts_it():
    fmt = tk.read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4")
    members = (*MEMBERS, "u32 mark;", "u16 data_len;", "u32 snd_nxt;")
    text = "struct mine {" + " ".join(members) + "} __attribute__((packed));"
    assert tk.lens(bytes(fmt.size), fmt, text).wrong == ("snd_nxt",)


def test_the_struct_that_bcc_generates_agrees():
    fmt = tk.read_format("tcp:tcp_probe")
    found = tk.lens(bytes(fmt.size), fmt, tk.generated_struct("tcp:tcp_probe"))
    assert found.wrong == ()


def test_what_the_compiler_refuses_is_said():
    fmt = tk.read_format("tcp:tcp_probe")
    with pytest.raises(CompileError, match="nosuch_t"):
        tk.lens(bytes(fmt.size), fmt, "struct mine { nosuch_t a; };")

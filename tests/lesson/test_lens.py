import re
import struct
import xml.etree.ElementTree as ElementTree

import pytest

import tracekit as tk
from tracekit.lesson.lens import lens
from tracekit.tracepoints.catalogue import catalogue_root
from tracekit.tracepoints.layout import layout_of

FORMAT = tk.read_format("tcp:tcp_probe", kernel="linux_6.18")
OLD = tk.read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4")


def record(**values):
    """A record of Linux 6.18, made with struct rather than with what is tested here."""
    data = bytearray(FORMAT.size)
    struct.pack_into("<H2sB3x", data, 8, 2, struct.pack(">H", 443), 127)
    data[15] = 1
    for name, value in values.items():
        field = FORMAT[name]
        data[field.offset : field.end] = value.to_bytes(field.size, "little")
    return bytes(data)


def test_values_are_those_that_were_packed():
    shown = repr(lens(record(snd_cwnd=10, snd_una=77, sock_cookie=9), FORMAT))
    assert "snd_cwnd = 10" in shown
    assert "snd_una = 77" in shown
    assert "saddr = 127.0.0.1 port 443" in shown


def test_the_first_wrong_field_is_named():
    found = lens(record(), FORMAT, OLD)
    assert found.wrong[0] == "mark"
    assert "10 wrong fields, the first is mark" in repr(found)
    assert "✗ snd_cwnd reads snd_una" in repr(lens(record(), FORMAT, OLD, part=(84, 88)))


def test_a_text_as_wide_as_a_terminal_leaves_out_what_the_first_ruler_says():
    found = lens(record(snd_una=77), FORMAT, FORMAT, OLD, titles="abc", part=(64, FORMAT.size))
    lines = repr(found).splitlines()
    assert max(map(len, lines)) <= 80
    assert " 84  4d000000           snd_una = 77     snd_una      ✗ snd_cwnd" in lines


def test_a_long_label_goes_on_beside_the_next_bytes():
    found = repr(lens(record(), FORMAT, OLD, titles=["a", "b"], part=(0, 64)))
    assert found.splitlines()[6].startswith(" 8  020001bb 7f000001  saddr = 127.0.0.1 port")
    assert found.splitlines()[7].split() == ["16", "00000000", "00000000", "443", "…"]


ADDRESS = 0xFFFF_8881_2345_6789


def test_a_kernel_address_is_not_shown():
    data = record(skbaddr=ADDRESS)
    # what a BPF program finds in place of the common fields, which its own struct calls saddr
    data = ADDRESS.to_bytes(8, "little") + data[8:]
    ours = tk.Format("", "mine", None, (), layout_of([("u8", "saddr", 28)]), "")
    found = lens(data, FORMAT, ours)
    drawing = " ".join(ElementTree.fromstring(found.svg()).itertext())
    for shown in (repr(found), drawing):
        assert "skbaddr = 0xffff…" in shown
        assert "common_type = kernel address" in shown
        hidden = {"89", "67", "45", "23", "81", "0x6789", "26505"}
        assert hidden.isdisjoint(re.findall(r"\w+", shown))
        assert "ffff" in shown.replace(" ", "")


def test_numbers_that_are_no_addresses_are_shown():
    assert "skaddr = 0x7f" in repr(lens(record(skaddr=0x7F), FORMAT))
    thread = (4194303).to_bytes(4, "little")  # the largest there is (PID_MAX_LIMIT)
    assert "common_pid = 4194303" in repr(lens(bytes(4) + thread + record()[8:], FORMAT))


def test_only_a_part_is_shown():
    found = lens(record(snd_cwnd=10), FORMAT, part=(88, 96))
    assert repr(found).splitlines()[0] == "136 bytes, 88 to 95 shown"
    assert [line.split()[0] for line in repr(found).splitlines()[2:]] == ["88", "92"]
    root = ElementTree.fromstring(found.svg())
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "snd_cwnd = 10" in texts
    assert "rcv_wnd = 0" not in texts
    with pytest.raises(ValueError, match="bytes 0 to 136"):
        lens(record(), FORMAT, part=(0, 137))


def test_padding_written_byte_by_byte_is_one_hole():
    fields = layout_of([("u16", "a"), ("u8", "__pad_2"), ("u8", "__pad_3"), ("u32", "b")])
    ours = tk.Format("", "mine", None, (), fields, "")
    shown = [(s.name, s.offset, s.size) for s in lens(bytes(8), ours).rulers[0].segments]
    assert shown == [("a", 0, 2), ("padding", 2, 2), ("b", 4, 4)]


@pytest.mark.parametrize("kernel", tk.kernels())
def test_a_layout_agrees_with_itself(kernel):
    for name in tk.find_tracepoints("*", root=catalogue_root(kernel)):
        fmt = tk.read_format(name, kernel=kernel)
        found = lens(bytes(fmt.size), fmt, fmt)
        assert found.wrong == ()
        written = re.findall(r"offset:(\d+);\s*size:(\d+);", fmt.text)
        for ruler in found.rulers:
            shown = [(s.offset, s.size) for s in ruler.segments if s.kind != "hole"]
            assert shown == sorted((int(offset), int(size)) for offset, size in written)


def test_every_byte_has_a_meaning_or_is_a_hole():
    covered = [
        byte
        for segment in lens(record(), FORMAT).rulers[0].segments
        for byte in range(segment.offset, segment.offset + segment.size)
    ]
    assert covered == list(range(FORMAT.size))


def test_the_drawing_is_well_formed_and_says_what_is_wrong_in_words():
    drawing = lens(record(), FORMAT, OLD, titles=["<format> & file", "ours"]).svg()
    root = ElementTree.fromstring(drawing)
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<format> & file" in texts
    assert any(t.startswith("✗ snd_cwnd reads snd_una") for t in texts)
    # every part has a tooltip
    parts = list(root.iter("{http://www.w3.org/2000/svg}g"))
    assert parts
    assert all(part.find("{http://www.w3.org/2000/svg}title") is not None for part in parts)


def test_a_record_that_is_too_short_is_shown_as_far_as_it_goes():
    short = repr(lens(record()[:90], FORMAT))
    assert "behind the record" in short
    assert "sock_cookie" not in short


def test_one_to_three_rulers():
    with pytest.raises(ValueError, match="not 0"):
        lens(b"")
    with pytest.raises(ValueError, match="not 4"):
        lens(record(), FORMAT, FORMAT, FORMAT, FORMAT)


def test_layouts_made_by_hand_are_not_trusted_for_their_names():
    """A learner's member called like another field reads what lies there, not what it says."""
    fields = layout_of([("u64", "__unused__"), ("u32", "snd_cwnd")])
    ours = tk.Format("", "mine", None, (), fields, "")
    assert lens(record(), FORMAT, ours).wrong == ("snd_cwnd",)

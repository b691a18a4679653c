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
    assert "✗ snd_cwnd reads snd_una" in repr(found)


@pytest.mark.parametrize("kernel", tk.kernels())
def test_a_layout_agrees_with_itself(kernel):
    for name in tk.find_tracepoints("*", root=catalogue_root(kernel)):
        fmt = tk.read_format(name, kernel=kernel)
        found = lens(bytes(fmt.size), fmt, fmt)
        assert found.wrong == ()
        first = found.rulers[0]
        assert [(s.offset, s.size) for s in first.segments if s.kind != "hole"] == [
            (f.offset, f.size) for f in fmt.all_fields
        ]


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

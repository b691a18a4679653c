import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.events import Counts, Events, Origin
from tracekit.errors import RecordError
from tracekit.lesson.side_by_side import pair_events, side_by_side
from tracekit.tracepoints.layout import layout_of

# A record of 16 bytes, and a struct that has missed its second field.
KERNELS = tk.Format(
    "net",
    "received",
    1,
    (),
    layout_of(
        [("u32", "cookie"), ("u16", "family"), ("u16", "mark"), ("u32", "seq"), ("u32", "w")]
    ),
    "",
)
STALE = layout_of([("u32", "cookie"), ("u16", "mark"), ("u32", "seq"), ("u32", "w")])
COMPARISON = tk.compare(STALE, KERNELS)


def records(*rows):
    return np.array(list(rows), KERNELS.dtype)


def read_by(struct, theirs):
    """What a program with this struct sends: its members, cut out of the records' bytes."""
    raw = theirs.view(np.uint8).reshape(len(theirs), KERNELS.size)
    columns = {f.name: raw[:, f.offset : f.end].copy().view(f"u{f.size}")[:, 0] for f in struct}
    columns = {"key_seq": theirs["seq"], **columns}
    sent = np.empty(len(theirs), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        sent[name] = column
    return sent


THEIRS = records((1, 2, 300, 10, 5), (1, 2, 300, 20, 6), (1, 10, 301, 30, 7))


def test_a_stale_struct_reads_what_was_predicted():
    both = side_by_side(read_by(STALE, THEIRS), THEIRS, COMPARISON)
    assert len(both) == 3
    assert both.confirmed
    assert {name: int(equal.sum()) for name, equal in both.equal.items()} == {
        "cookie": 3,
        "mark": 3,  # reads family
        "seq": 3,
        "w": 3,
    }
    assert both.ours["mark"].tolist() == both.theirs["family"].tolist()
    text = repr(both)
    assert "3 of 3" in text
    assert "family" in text


def test_one_value_that_differs_refutes_it():
    ours = read_by(STALE, THEIRS)
    ours["mark"][1] += 1
    both = side_by_side(ours, THEIRS, COMPARISON)
    assert not both.confirmed
    assert both.equal["mark"].tolist() == [True, False, True]
    assert "2 of 3" in repr(both)


def test_without_events_nothing_is_confirmed():
    both = side_by_side(read_by(STALE, THEIRS[:0]), THEIRS, COMPARISON)
    assert not both.confirmed
    assert both.alone == (0, 3)


def test_events_of_one_program_alone_are_counted_and_left_out():
    both = side_by_side(read_by(STALE, THEIRS[1:]), THEIRS[:2], COMPARISON)
    assert (len(both), both.alone) == (1, (1, 1))
    assert both.theirs["seq"].tolist() == [20]


def test_bytes_of_a_hole_are_not_judged():
    """Nobody writes them, so they may hold anything; the field beside them is judged."""
    fields = layout_of([("u16", "length"), ("u32", "seq")])
    kernels = tk.Format("net", "sent", 1, (), fields, "")
    comparison = tk.compare(layout_of([("u32", "long"), ("u32", "seq")]), kernels)
    assert comparison["long"].reads == "length + hole (2 bytes)"
    theirs = np.array([(7, 1), (8, 2)], kernels.dtype)
    ours = np.array([(1, 0xABCD0007, 1), (2, 8, 2)], "u4,u4,u4")
    ours.dtype.names = ("key_seq", "long", "seq")
    assert side_by_side(ours, theirs, comparison).confirmed
    ours["long"] += 1
    assert not side_by_side(ours, theirs, comparison).confirmed


def test_equal_keys_are_paired_in_order():
    left, right = pair_events(np.array([5, 5, 6]), np.array([6, 5, 5, 5]))
    assert left.tolist() == [0, 1, 2]
    assert right.tolist() == [1, 2, 0]


def test_only_the_sockets_asked_for():
    ours = np.array([(1, 10, 10), (2, 10, 11)], "u8,u4,u4")
    ours.dtype.names = ("key_sock_cookie", "key_seq", "seq")
    theirs = np.array([(1, 10), (2, 10), (3, 10)], [("sock_cookie", "u8"), ("seq", "u4")])
    kernels = tk.Format("a", "b", 1, (), layout_of([("u32", "seq")]), "")
    both = side_by_side(ours, theirs, tk.compare(kernels, kernels), cookies=[1])
    assert (len(both), both.alone) == (1, (0, 0))


def test_what_can_not_be_paired_is_said():
    with pytest.raises(RecordError, match="nothing to find them by"):
        side_by_side(THEIRS, THEIRS, COMPARISON)
    lossy = Events(THEIRS, Origin("x", "6.18", "live"), Counts(9, 8, 1))
    with pytest.raises(RecordError, match="1 events were dropped"):
        side_by_side(read_by(STALE, THEIRS), lossy, COMPARISON)


def test_bytes_that_may_be_an_address_are_not_shown():
    kernels = tk.read_format("tcp:tcp_probe", kernel="linux_6.18")
    shifted = layout_of([("u8", "saddr", 28)])
    comparison = tk.compare(shifted, kernels)
    ours = np.zeros(1, [("key_dport", "u2"), ("saddr", "u1", 28)])
    ours["saddr"][0, :8] = 0xFF
    theirs = np.zeros(1, [("dport", "u2"), ("saddr", "u1", 28)])
    both = side_by_side(ours, theirs, comparison)
    assert both.confirmed
    assert "28 bytes" in repr(both)
    assert "ff" not in repr(both) + both._repr_html_().split("<tbody>")[1]

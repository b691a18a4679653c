from __future__ import annotations

import sys

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.events import Counts, Events, Origin
from tracekit.capture.watch import DYNAMIC_SIZE, decode_watched
from tracekit.errors import UnknownTracepoint

HEAD = """name: made_up
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""


def made_up(*lines):
    return tk.parse_format(HEAD + "".join(f"\t{line}\n" for line in lines) + '\nprint fmt: ""')


def watched(fmt, records, dynamic=()):
    """Events as bpf/watch.c sends them."""
    size = max(fmt.size, 16)
    dtype = [
        ("common_ts", "u8"),
        ("common_pid", "u4"),
        ("common_comm", "S16"),
        ("record", "u1", (size,)),
    ]
    count = sum(1 for field in fmt.fields if field.location)
    if count:
        dtype.append(("dynamic", "u1", (count * DYNAMIC_SIZE,)))
    rows = np.zeros(len(records), dtype)
    for row, record in zip(rows, records, strict=True):
        row["record"][: len(record)] = np.frombuffer(record, "u1")
    for row, values in zip(rows, dynamic, strict=False):
        for i, value in enumerate(values):
            row["dynamic"][i * DYNAMIC_SIZE :][: len(value)] = np.frombuffer(value, "u1")
    return Events(rows, Origin("watch", "6.18.44", "live"), Counts(None, None, 0))


def location(start, length):
    return (start | length << 16).to_bytes(4, sys.byteorder)


def number(value, size):
    return value.to_bytes(size, sys.byteorder, signed=value < 0)


def test_numbers_and_arrays_are_the_formats():
    fmt = made_up(
        "field:int a;\toffset:8;\tsize:4;\tsigned:1;",
        "field:char name[4];\toffset:12;\tsize:4;\tsigned:0;",
        "field:u16 pair[2];\toffset:16;\tsize:4;\tsigned:0;",
    )
    record = bytes(8) + number(-5, 4) + b"a\0bc" + number(258, 2) + number(3, 2)
    events = decode_watched(fmt, watched(fmt, [record]))
    assert events.dtype.names == ("common_ts", "common_pid", "common_comm", "a", "name", "pair")
    assert events[0]["a"] == -5
    assert events[0]["name"] == b"a", "what lies behind the first NUL is of an earlier event"
    assert events[0]["pair"].tolist() == [258, 3]


def test_dynamic_values_have_their_own_length_and_type():
    fmt = made_up(
        "field:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;",
        "field:__data_loc u64[] numbers;\toffset:12;\tsize:4;\tsigned:0;",
        "field:__rel_loc char text[];\toffset:16;\tsize:4;\tsigned:0;",
        "field:__data_loc cpumask_t mask;\toffset:20;\tsize:4;\tsigned:0;",
    )
    record = bytes(8) + location(300, 200) + location(24, 16) + location(20, 3) + location(600, 2)
    others = b"\xff" * DYNAMIC_SIZE  # what lies behind a value in the kernel's buffer
    values = [
        b"n" * DYNAMIC_SIZE,
        number(1 << 40, 8) + number(7, 8) + others[16:],
        b"hi\0" + others[3:],
        b"\x05\x00" + others[2:],
    ]
    (event,) = decode_watched(fmt, watched(fmt, [record], [values]))
    assert event["name"] == b"n" * DYNAMIC_SIZE
    assert event["numbers"].tolist() == [1 << 40, 7, 0, 0, 0, 0, 0, 0]
    assert event["text"] == b"hi"
    assert event["mask"].tolist() == [5] + [0] * (DYNAMIC_SIZE - 1)


def test_a_value_and_a_location_of_the_same_name_are_two_columns():
    """Linux 5.10: the ``type`` of regmap:regcache_sync."""
    fmt = made_up(
        "field:__data_loc char[] type;\toffset:8;\tsize:4;\tsigned:0;",
        "field:int type;\toffset:12;\tsize:4;\tsigned:1;",
    )
    record = bytes(8) + location(16, 3) + number(2, 4)
    (event,) = decode_watched(fmt, watched(fmt, [record], [[b"it\0"]]))
    assert (event["__data_loc_type"], event["type"]) == (b"it", 2)


def test_no_events_have_the_same_columns():
    fmt = tk.read_format("sched:sched_process_exec", kernel="debian-12_6.1")
    events = decode_watched(fmt, watched(fmt, []))
    assert len(events) == 0
    assert events.dtype["filename"] == np.dtype(f"S{DYNAMIC_SIZE}")
    assert events.dtype.names == (
        *("common_ts", "common_pid", "common_comm"),
        *("filename", "pid", "old_pid"),
    )


def test_the_origin_and_the_counts_stay():
    fmt = made_up("field:int a;\toffset:8;\tsize:4;\tsigned:1;")
    events = decode_watched(fmt, watched(fmt, [bytes(12)]))
    assert (events.origin.kernel, events.dropped) == ("6.18.44", 0)


def test_an_unknown_tracepoint_is_said_first(monkeypatch):
    monkeypatch.setattr("tracekit.capture.loading.start_worker", pytest.fail)
    with pytest.raises(UnknownTracepoint):
        tk.watch("no:such_event")

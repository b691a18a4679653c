from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.watch import DYNAMIC_SIZE, decode_watched, open_watch
from tracekit.errors import AttachError, UnknownTracepoint
from tracekit.tracepoints.layout import is_text
from tracekit.traffic.tcp import exchange

pytestmark = pytest.mark.live

AT_ONCE = 4
SAMPLE = 230  # tracepoints, besides those that can't be attached
PERF_TYPE_TRACEPOINT = 2  # include/uapi/linux/perf_event.h
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
DEADLINE = 120.0  # seconds for one of them, on however busy a machine


# what happens meanwhile ---------------------------------------------------------------------


@contextmanager
def something_happening():
    """Files, processes, network and sleep, again and again, so that some tracepoints fire."""
    done = threading.Event()

    def work():
        while not done.wait(0.01):
            with tempfile.NamedTemporaryFile() as file:
                file.write(bytes(10_000))
                os.fsync(file.fileno())
            os.getrandom(16)
            subprocess.run(["true"], check=True)
            exchange(count=3, size=100)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        done.set()
        thread.join()


# a walk through all categories ----------------------------------------------------------------


def spread(names, count):
    """At least one name of each category, and more of the large ones: ``count`` or some more."""
    chosen = []
    for _, group in groupby(names, key=lambda name: name.partition(":")[0]):
        listed = list(group)
        wanted = max(1, round(count * len(listed) / len(names)))
        chosen += [listed[i * len(listed) // wanted] for i in range(wanted)]
    return chosen


def opens(name, period):
    """Whether perf_event_open(2) takes this tracepoint, with a sample each ``period`` events."""
    category, _, event = name.partition(":")
    number = int((tk.find_tracefs() / "events" / category / event / "id").read_text())
    attributes = bytearray(128)
    # type, size, config, sample_period; and the bit "disabled"
    struct.pack_into("=IIQQ", attributes, 0, PERF_TYPE_TRACEPOINT, 128, number, period)
    attributes[40] = 1
    libc = ctypes.CDLL(None, use_errno=True)
    call = PERF_EVENT_OPEN[platform.machine()]
    passed = (ctypes.c_char * 128).from_buffer(attributes)
    descriptor = libc.syscall(call, passed, -1, 0, -1, 8)
    if descriptor < 0:
        assert ctypes.get_errno() == errno.EPERM, os.strerror(ctypes.get_errno())
        return False
    os.close(descriptor)
    return True


def check(name):
    """Watch one tracepoint; returns how many events there were, None where it can't be attached."""
    if not opens(name, 1):
        # There is such a tracepoint, but a program gets each event as a sample.
        assert opens(name, 0), name
        with pytest.raises(AttachError, match=f"does not permit a perf event on {name}"):
            tk.watch(name, seconds=0.1)
        return None
    fmt = tk.read_format(name)
    own = [field for field in fmt.fields if not field.location]
    before = time.monotonic_ns()
    with open_watch(name) as probe:
        assert probe.attached == (name,)
        watched = probe.read(seconds=0.1)
    after = time.monotonic_ns()
    assert probe.closed

    events = decode_watched(fmt, watched)
    columns = ("common_ts", "common_pid", "common_comm", *(field.name for field in fmt.fields))
    assert events.dtype.names == columns, name
    assert len(events) == len(watched)
    assert ((before < events["common_ts"]) & (events["common_ts"] < after)).all()
    assert (events["common_pid"] < 1 << 22).all()  # PID_MAX_LIMIT, include/linux/threads.h
    for raw, event in zip(watched["record"][:50], events[:50], strict=True):
        record = raw.tobytes()
        for field in own:
            expected = number_or_text(field, record)
            assert (field.name, plain(event[field.name])) == (field.name, expected)
        for field in set(fmt.fields) - set(own):
            place = int.from_bytes(record[field.offset : field.end], sys.byteorder)
            start, length = place & 0xFFFF, place >> 16
            assert start >= fmt.size, "a dynamic value lies behind the record's fields"
            value = event[field.name]
            if is_text(field):
                assert value == b"" or (length > 0 and len(value) <= min(length, DYNAMIC_SIZE))
            else:
                assert not value.view(np.uint8)[length:].any()
    return len(events)


def number_or_text(field, record):
    """What the field's line says about these bytes, without numpy."""
    data = record[field.offset : field.end]
    if is_text(field) and field.length is not None:
        return data.partition(b"\0")[0]
    if field.length is None and field.size in (1, 2, 4, 8):
        return int.from_bytes(data, sys.byteorder, signed=field.signed)
    size = field.element_size
    return [
        int.from_bytes(data[at : at + size], sys.byteorder, signed=field.signed)
        for at in range(0, field.size, size)
    ]


def plain(value):
    return value if isinstance(value, bytes) else value.tolist()


def test_tracepoints_of_every_category_are_watched():
    names = spread(tk.find_tracepoints().names, SAMPLE)
    # the one that Linux 6.18 does not let anybody sample, on x86
    names += tk.find_tracepoints("*:irq_work_exit").names
    assert {name.partition(":")[0] for name in names} | {"ftrace"} == set(tk.categories())
    assert len(names) >= 200
    with something_happening(), ThreadPoolExecutor(AT_ONCE) as threads:
        running = {name: threads.submit(check, name) for name in names}
        counts = {name: future.result(DEADLINE) for name, future in running.items()}
    refused = [name for name, count in counts.items() if count is None]
    assert len(counts) - len(refused) >= 200
    fired = [name for name, count in counts.items() if count]
    assert len(fired) >= 10, f"only {fired}"
    assert tk.open_probes() == ()


def test_what_has_no_id_can_not_be_attached_and_says_why():
    """perf_event_open(2) takes a tracepoint by its ID, which is in a file beside its format."""
    events = tk.find_tracefs() / "events"
    without = [
        f"{folder.parent.name}:{folder.name}"
        for folder in sorted(events.glob("*/*"))
        if (folder / "format").exists() and not (folder / "id").exists()
    ]
    assert without, "ftrace's own events have none"

    def refused(name):
        with pytest.raises(AttachError) as caught:
            tk.watch(name, seconds=0.1)
        assert caught.value.next_step
        return caught.value.fact

    with ThreadPoolExecutor(AT_ONCE) as threads:
        facts = dict(zip(without, threads.map(refused, without), strict=True))
    assert facts == {
        name: f"{name} is written by ftrace itself: nothing can be attached to it"
        for name in without
    }
    assert not set(without) & set(tk.find_tracepoints().names)


# known events ---------------------------------------------------------------------------------


def test_a_known_number_of_calls_is_seen_with_its_arguments():
    lengths = [2, 3, 5, 7, 11, 13, 17]
    asked = threading.Event()

    def ask():
        while not asked.wait(0.01):
            if tk.open_probes() and tk.open_probes()[0].attached:
                for length in lengths:
                    os.getrandom(length)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        events = tk.watch("syscalls:sys_enter_getrandom", seconds=3)
    finally:
        asked.set()
        thread.join()
    ours = events[events["common_pid"] == thread.native_id]
    assert ours["len"].tolist() == lengths
    assert events.dropped == 0


@contextmanager
def executing(program):
    """Run a program again and again; yields the list of process ids."""
    done, pids = threading.Event(), []

    def execute():
        while not done.wait(0.02):
            child = subprocess.Popen([program])
            pids.append(child.pid)
            child.wait()

    thread = threading.Thread(target=execute)
    thread.start()
    try:
        yield pids
    finally:
        done.set()
        thread.join()


def test_dynamic_text_is_decoded():
    """The file name of an exec is a __data_loc string; the oracle is what we executed."""
    program = shutil.which("true")
    with executing(program) as pids:
        events = tk.watch("sched:sched_process_exec", seconds=1)
    ours = events[[pid in pids for pid in events["pid"].tolist()]]
    assert len(ours) > 0
    assert set(ours["filename"].tolist()) == {program.encode()}


def test_a_long_value_is_cut_and_those_behind_it_are_not_lost(tmp_path):
    """sched_prepare_exec (Linux 6.10) has three strings; sched_process_exec is in every kernel."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    program = folder / "true"
    program.symlink_to(shutil.which("true"))
    name = min(tk.find_tracepoints("sched:sched_pr*_exec").names)
    with executing(program) as pids:
        events = tk.watch(name, seconds=1)
    ours = events[[pid in pids for pid in events["common_pid"].tolist()]]
    assert len(ours) > 0
    assert set(ours["filename"].tolist()) == {os.fsencode(program)[:DYNAMIC_SIZE]}
    if "interp" in events.dtype.names:
        assert set(ours["interp"].tolist()) == {os.fsencode(program)[:DYNAMIC_SIZE]}
        assert all(ours["comm"].tolist())


def test_a_count_ends_it_early():
    assert len(tk.watch("sched:sched_switch", seconds=20, count=23)) == 23


def test_an_unknown_name_is_said_before_anything_is_compiled():
    with pytest.raises(UnknownTracepoint, match="sched:sched_switch"):
        tk.watch("sched:sched_swich", seconds=0.1)

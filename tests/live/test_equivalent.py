"""What watch() copies equals what the equivalent program sends, event by event and field by field.

Most of these programs use ``TRACEPOINT_PROBE``: then bcc generated the struct that is read from.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.generated import why_not_generated
from tracekit.capture.watch import decode_watched, open_watch
from tracekit.tracepoints.layout import cut_text
from tracekit.traffic.tcp import exchange

pytestmark = pytest.mark.live

AT_ONCE = 4
DEADLINE = 120.0
ROUNDS = 7
BATCH = 50  # functions in one text

# name: what is special about its fields
DIFFERENT = {
    "syscalls:sys_enter_getrandom": "bcc widens unsigned int to the 8 bytes of an argument",
    "syscalls:sys_enter_openat": "an int of 8 bytes, a pointer; by hand: a umode_t of 8 bytes",
    "syscalls:sys_exit_openat": "a signed long, negative here",
    "raw_syscalls:sys_enter": "an array of unsigned long",
    "sched:sched_process_exec": "dynamic text",
    "sched:sched_switch": "arrays of char, with what earlier events left behind the NUL",
    "signal:signal_generate": "signed and unsigned int, char[16]",
    "net:net_dev_queue": "a pointer, dynamic text",
    "tcp:tcp_probe": "u8[28], u16, holes, a 64-bit cookie",
    "sock:inet_sock_set_state": "u8[4], u8[16], a pointer",
    "kmem:kmalloc": "size_t, bool, an address",
    "timer:hrtimer_start": "signed 64-bit; by hand: an enum",
}


def work(pids):
    """Everything that the tracepoints above watch, by this thread and by children."""
    pids.append(threading.get_native_id())
    for length in range(1, ROUNDS + 1):
        os.getrandom(length)
        with pytest.raises(FileNotFoundError):
            os.open(f"/nonexistent/{length}", os.O_RDONLY)
        child = subprocess.Popen(["true"])
        pids.append(child.pid)
        child.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGCONT)  # no more than a notice
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes(length), ("127.0.0.1", 9))
        exchange(count=2, size=length)
        time.sleep(0.001)


def joined(batches):
    return replace(batches[0], records=np.concatenate([batch.records for batch in batches]))


def of(events, pids):
    """The events of these threads, by thread, each in order; text cut at its NUL."""
    ours = events[np.isin(events["common_pid"], pids)]
    rows = []
    for event in ours.records[np.argsort(ours["common_ts"], kind="stable")]:
        values = {}
        for name in events.dtype.names:
            if name == "common_ts":
                continue  # each program asks the clock itself
            value = event[name]
            text = isinstance(value, bytes)
            values[name] = cut_text(np.array([value]))[0] if text else value.tolist()
        rows.append(values)
    # the sort is stable: within a thread the order stays
    return {
        pid: list(group)
        for pid, group in groupby(
            sorted(rows, key=lambda row: row["common_pid"]), key=lambda row: row["common_pid"]
        )
    }


@pytest.mark.parametrize("name", DIFFERENT)
def test_watch_reads_what_the_equivalent_program_reads(name):
    pids = []
    program = tk.equivalent_program(name)
    with program.open() as probe, open_watch(name) as watching:
        assert probe.attached == watching.attached == (name,)
        probe.read()  # what came while only one was attached
        lost = [one.counts.dropped for one in (probe, watching)]
        thread = threading.Thread(target=work, args=(pids,))
        thread.start()
        sent, copied = [], []
        over = False
        while not over:
            over = not thread.is_alive()
            sent.append(probe.read())
            copied.append(watching.read())
            thread.join(0.01)
        assert [one.counts.dropped for one in (probe, watching)] == lost
    sent, watched = joined(sent), decode_watched(tk.read_format(name), joined(copied))
    assert sent.dtype.names == watched.dtype.names

    ours, theirs = of(watched, pids), of(sent, pids)
    assert sum(map(len, ours.values())) >= ROUNDS
    assert ours == theirs


def test_both_ways_to_attach_are_among_them():
    by_hand = [name for name in DIFFERENT if tk.equivalent_program(name).by_hand]
    assert 1 <= len(by_hand) <= len(DIFFERENT) - 10, by_hand


# a program for every category -----------------------------------------------------------------


def loads(name):
    """Compile, load and attach; gives the names and kinds of the columns."""
    with tk.equivalent_program(name).open() as probe:
        assert probe.attached == (name,)
        return probe.dtype, probe.diagnostics


def test_a_program_of_every_category_compiles_and_loads():
    names = []
    for _, group in groupby(tk.find_tracepoints().names, key=lambda n: n.partition(":")[0]):
        listed = list(group)
        names.append(listed[len(listed) // 2])
    assert len(names) >= 60
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = {name: threads.submit(loads, name) for name in names}
        loaded = {name: future.result(DEADLINE) for name, future in running.items()}
    for name, (dtype, diagnostics) in loaded.items():
        fmt = tk.read_format(name)
        assert diagnostics == (), name
        assert dtype.names[3:] == tuple(field.name for field in fmt.fields)
        for field in fmt.fields:
            if not field.location:
                assert dtype[field.name].itemsize == field.size, (name, field)
    by_hand = {name for name in names if tk.equivalent_program(name).by_hand}
    assert 0 < len(by_hand) < len(names) / 2


def asserting(number, fmt):
    """A function that is not attached, but compiled with the struct that bcc generates."""
    struct = f"struct tracepoint__{fmt.category}__{fmt.name}"
    checks = []
    for field in fmt.fields:
        name = f"data_loc_{field.name}" if field.location else field.name
        size = f"sizeof((({struct} *)0)->{name}) == {field.size}"
        place = f"__builtin_offsetof({struct}, {name}) == {field.offset}"
        checks += [f'_Static_assert({check}, "{fmt.full_name}");' for check in (size, place)]
    return "\n".join([f"int f{number}({struct} *args)", "{", *checks, "return 0;", "}", ""])


def test_wherever_bcc_generates_the_struct_each_field_has_its_place_and_size():
    formats = [tk.read_format(name) for name in tk.find_tracepoints().names]
    generated = [fmt for fmt in formats if not why_not_generated(fmt)]
    assert len(generated) > len(formats) / 2
    texts = [asserting(number, fmt) for number, fmt in enumerate(generated)]
    batches = ["".join(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]

    def compiles(text):
        with tk.Probe.from_text(text) as probe:
            return probe.attached

    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [threads.submit(compiles, text) for text in batches]
        assert {future.result(DEADLINE) for future in running} == {()}


# the script -----------------------------------------------------------------------------------


def first(lines, wanted):
    """The first line for which wanted(words) holds."""
    deadline = time.monotonic() + DEADLINE
    while True:
        words = lines.get(timeout=max(deadline - time.monotonic(), 0.001))
        assert words is not None, "the script ended by itself"
        if wanted(words):
            return words


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("sched:sched_process_exec", lambda pid: {"filename": "/", "pid": str(pid)}),
        ("raw_syscalls:sys_enter", lambda pid: {"args": "["}),
        ("sched:sched_switch", lambda pid: {"prev_pid": str(pid)}),
    ],
)
def test_the_script_runs_without_tracekit(name, columns, started_script, interrupt, tmp_path):
    program = tk.equivalent_program(name)
    script, errors = tmp_path / "script.py", tmp_path / "errors"
    script.write_text(program.script())
    done, pids = threading.Event(), []

    def act():
        while not done.wait(0.01):
            pids[:] = [*pids[-100:], threading.get_native_id()]
            work(pids)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        with started_script(script, errors) as (process, lines):
            header = first(lines, lambda words: True)
            row = first(lines, lambda words: len(words) > 3 and words[1] in map(str, pids))
            done.set()
            status = interrupt(process)
    finally:
        done.set()
        thread.join()
    assert status == -signal.SIGINT, errors.read_text()
    own = [field.name for field in tk.read_format(name).fields]
    assert header == ["common_ts", "common_pid", "common_comm", *own]
    for column, value in columns(int(row[1])).items():
        assert any(word.startswith(value) for word in row[2:]), (column, value, row)

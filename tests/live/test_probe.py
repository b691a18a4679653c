"""Probe on the running kernel: records, counts, life and death."""

import gc
import os
import signal
import struct
import subprocess
import threading
import time

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.events import Counts
from tracekit.capture.misses import kernel_counts_misses
from tracekit.capture.probe import PROGRAMS, Probe
from tracekit.capture.program import Program
from tracekit.errors import ProbeClosed, RecordTypeError, WorkerDied

pytestmark = pytest.mark.live

#: What a probe says of misses where there were none.
NO_MISSES = 0 if kernel_counts_misses() else None

PERF = """
#include "counters.h"

struct event_t {
	u64 ts;
	u32 number;
	u64 square;
};

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = {};

	event.number = args->pid;
	if (event.number >> 30 != 1)
		return 0;
	count(SEEN);
	event.ts = bpf_ktime_get_ns();
	event.square = (u64)event.number * event.number;
	count(events.perf_submit(args, &event, sizeof(event)) ? DROPPED : SENT);
	return 0;
}
"""
#: The least a probe can be: it compiles in a quarter of a second.
NOTHING = "TRACEPOINT_PROBE(syscalls, sys_enter_getpgid) { return 0; }"
RING = """
struct event_t { u32 number; };
BPF_RINGBUF_OUTPUT(events, 16);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = { args->pid };

	if (event.number >> 30 == 1)
		events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
"""


def collect(probe, workload):
    batches = []
    while workload.running:
        batches.append(probe.read(seconds=0.02).records)
    batches.append(probe.read().records)
    return np.concatenate(batches)


# records and counts -----------------------------------------------------------------------


@pytest.mark.parametrize("producers", [1, 3])
def test_perf_submit_gives_every_event_exactly_once_ordered_by_time(getpgid, kernel, producers):
    with tk.Probe.from_text(PERF, name="perf") as probe:
        workload = getpgid(producers, 5000)
        kernel.wait_until(lambda: probe.counts.seen == workload.sent)
        events = probe.read()
        assert not probe.read()
    assert len(events) == workload.sent
    assert events.counts == Counts(workload.sent, workload.sent, 0, NO_MISSES)
    assert (np.diff(events["ts"].astype(np.int64)) >= 0).all()
    number = events["number"].astype(np.uint64)
    assert (events["square"] == number * number).all()
    for p in range(producers):
        first = workload.MARK + p * workload.EACH
        mine = number[(number - workload.MARK) // workload.EACH == p]
        assert mine.tolist() == list(range(first, first + 5000))


def test_a_burst_into_a_buffer_of_one_page_is_lost_and_counted_once(getpgid, kernel):
    program = Program(PERF, "burst.c", PROGRAMS)
    probe = Probe(program, name="burst", perf_pages=1)
    with probe:
        workload = getpgid(1, 50_000)
        records = collect(probe, workload)
        counts = probe.counts
    assert counts.seen == workload.sent
    assert counts.sent == len(records)
    # the kernel reports the same losses as the program counts: they are counted once
    assert counts.dropped == workload.sent - len(records) > 0
    assert (np.diff(records["number"].astype(np.int64)) > 0).all()


def test_losses_of_a_program_without_counters_are_those_the_kernel_reports(getpgid, kernel):
    text = PERF.replace("count(SEEN);", "").replace(
        "count(events.perf_submit(args, &event, sizeof(event)) ? DROPPED : SENT);",
        "events.perf_submit(args, &event, sizeof(event));",
    )
    text = text.replace('#include "counters.h"', "")
    with Probe(Program(text, "burst.c"), name="burst", perf_pages=1) as probe:
        workload = getpgid(1, 50_000)
        received = len(collect(probe, workload))
        assert probe.counts.seen is probe.counts.sent is None
        lost = probe.counts.dropped
    # what is lost behind the last record that went through is never reported
    assert 0 < lost <= workload.sent - received


def test_counters_are_read_live(getpgid, kernel):
    text = '#include "counters.h"\n' + NOTHING.replace("return 0", "count(SEEN); return 0")
    text = text.replace("{ count", "{ if ((u32)args->pid >> 30 != 1) return 0; count")
    with tk.Probe.from_text(text, name="counters") as probe:
        assert probe.counts == Counts(0, 0, 0, NO_MISSES)
        workload = getpgid(2, 700)
        kernel.wait_until(lambda: not workload.running)
        assert probe.counts == Counts(1400, 0, 0, NO_MISSES)
        events = probe.read()
        assert (len(events), events.counts) == (0, Counts(1400, 0, 0, NO_MISSES))
        assert probe.read().counts == Counts(0, 0, 0, NO_MISSES)


def test_a_table_called_counters_that_is_another_is_left_alone(getpgid, kernel):
    text = 'BPF_F_TABLE("array", u32, u32, counters, 1, BPF_F_MMAPABLE);\n' + RING
    with tk.Probe.from_text(text, name="other") as probe:
        getpgid(1, 3)
        assert len(probe.read(count=3)) == 3
        assert probe.counts == Counts(missed=NO_MISSES)
        assert probe.read().dropped is None


def test_nothing_is_lost_by_reading_a_few_at_a_time(getpgid, kernel):
    with tk.Probe.from_text(RING, name="few") as probe:
        workload = getpgid(1, 1000)
        batches = [probe.read(count=count) for count in (1, 10, 0, 489, 500)]
        assert not probe.read()
    assert [len(batch) for batch in batches] == [1, 10, 0, 489, 500]
    numbers = np.concatenate([batch["number"] for batch in batches])
    assert numbers.tolist() == list(range(workload.MARK, workload.MARK + 1000))


def test_reading_is_bounded():
    with tk.Probe.from_text(RING, name="bounded") as probe:
        start = time.monotonic()
        assert len(probe.read()) == 0
        assert len(probe.read(count=1, timeout=0.1)) == 0
        assert len(probe.read(count=1, seconds=0.1)) == 0
        assert [len(batch) for batch in probe.stream(seconds=0.2, interval=0.05)].count(0) >= 2
        assert time.monotonic() - start >= 0.4  # it did wait
        with pytest.raises(ValueError, match="count"):
            probe.read(count=-1)


PRINTK = 'TRACEPOINT_PROBE(syscalls, sys_enter_write) { bpf_trace_printk("x"); return 0; }'


@pytest.mark.parametrize("text", [RING, PERF, PRINTK], ids=["ring", "perf", "printk"])
def test_a_flood_is_read_in_bounded_time(text):
    """A program that sends faster than anybody reads: its buffers are never found empty."""
    flood = text.replace("sys_enter_getpgid", "sys_enter_write").replace("args->pid", "args->fd")
    flood = flood.replace(">> 30 == 1", "!= 99").replace(">> 30 != 1", "== 99")
    writers = [
        subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    try:
        with tk.Probe.from_text(flood, name="flood") as probe:
            assert len(probe.read(seconds=0.1)) > 0
            assert len(probe.read(seconds=0.1)) > 0
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_a_stream_ends_with_the_count_or_with_the_probe(getpgid):
    with tk.Probe.from_text(RING, name="stream") as probe:
        workload = getpgid(1, 100)
        got = np.concatenate([e["number"] for e in probe.stream(seconds=20, count=70)])
        assert got.tolist() == list(range(workload.MARK, workload.MARK + 70))
        closing = threading.Timer(0.2, probe.close)
        closing.start()
        list(probe.stream(seconds=60))
        assert probe.closed
        closing.join()


# types ------------------------------------------------------------------------------------

#: Member, its C type, the value given to it, and how struct.unpack reads its bytes.
MEMBERS = [
    ("a", "u8", "0xf1", "B"),
    ("b", "s8", "-3", "b"),
    ("c", "char", "'x'", "b"),
    ("d", "unsigned char", "200", "B"),
    ("e", "bool", "1", "?"),
    ("f", "u16", "0xfff1", "<H"),
    ("g", "__be16", "0x3412", ">H"),
    ("h", "s16", "-300", "<h"),
    ("i", "u32", "0xfffffff1", "<I"),
    ("j", "int", "-70000", "<i"),
    ("k", "__be32", "0x78563412", ">I"),
    ("l", "uint32_t", "4000000000U", "<I"),
    ("m", "pid_t", "-1", "<i"),
    ("n", "size_t", "1UL << 63", "<Q"),
    ("o", "long", "-5", "<q"),
    ("p", "unsigned long long", "~0ULL", "<Q"),
    ("q", "s64", "1LL - (1LL << 62)", "<q"),
    ("r", "__u64", "0x1122334455667788", "<Q"),
    ("s", "enum colour", "BLUE", "<I"),
    ("t", "void *", "(void *)0xffff888012345678", "<Q"),
    ("u", "volatile u32", "7", "<I"),
    ("w", "__s32", "-9", "<i"),
    ("x", "short", "-2", "<h"),
    ("y", "u64", "0x0102030405060708", "<Q"),
]


@pytest.mark.parametrize("attribute", ["", "__attribute__((packed))"])
def test_every_type_is_what_struct_unpack_says_of_the_bytes(getpgid, attribute):
    declared = "\n".join(f"\t{type_} {name};" for name, type_, _, _ in MEMBERS)
    assigned = "\n".join(f"\tevent.{name} = {value};" for name, _, value, _ in MEMBERS)
    text = f"""
enum colour {{ RED, GREEN, BLUE = 77 }};
struct event_t {{
{declared}
	char text[16];
	u8 bytes[5];
	u16 table[2][3];
	char names[2][4];
}} {attribute};
BPF_RINGBUF_OUTPUT(events, 4);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{{
	struct event_t event;

	if ((u32)args->pid >> 30 != 1)
		return 0;
	__builtin_memset(&event, 0xaa, sizeof(event));
{assigned}
	__builtin_memset(event.text, 0, 16);
	event.text[0] = 'h';
	event.text[1] = 'i';
	__builtin_memset(event.bytes, 0x5a, 5);
	event.table[0][0] = 1;
	event.table[0][1] = 2;
	event.table[0][2] = 3;
	event.table[1][0] = 4;
	event.table[1][1] = 5;
	event.table[1][2] = 6;
	event.names[0][0] = 'a';
	event.names[0][1] = 0;
	event.names[1][0] = 'b';
	event.names[1][1] = 'c';
	event.names[1][2] = 0;
	events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}}
"""
    with tk.Probe.from_text(text, name="types") as probe:
        getpgid(1, 1)
        events = probe.read(count=1)
    (record,) = events.records
    raw = record.tobytes()
    end = 0
    for name, type_, _, code in MEMBERS:
        dtype, offset = events.dtype.fields[name][:2]
        # natural alignment, or none: the rule of the ABI, not the compiler's answer
        width = struct.calcsize(code)
        end += 0 if attribute else -end % width
        assert offset == end, name
        end += width
        assert dtype.itemsize == width, type_
        assert record[name] == struct.unpack_from(code, raw, offset)[0], type_
    assert record["k"] == 0x12345678
    assert record["b"] == -3
    assert record["e"].dtype == bool
    assert record["text"] == b"hi"
    assert record["bytes"].tolist() == [0x5A] * 5
    assert record["table"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert record["names"][0].startswith(b"a\0") or record["names"][0] == b"a"
    assert len(raw) == events.dtype.itemsize


def test_holes_keep_their_place_and_their_bytes_are_no_column(getpgid):
    text = """
struct event_t { u8 first; u64 second; u16 third; };
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = {};

	if ((u32)args->pid >> 30 != 1)
		return 0;
	event.first = 1;
	event.second = args->pid;
	event.third = 3;
	events.perf_submit(args, &event, sizeof(event));
	return 0;
}
"""
    with tk.Probe.from_text(text, name="holes") as probe:
        workload = getpgid(1, 2)
        events = probe.read(count=2)
    assert events.dtype.itemsize == 24
    assert [events.dtype.fields[n][1] for n in events.dtype.names] == [0, 8, 16]
    assert events.records.tolist() == [(1, workload.MARK, 3), (1, workload.MARK + 1, 3)]


SENDER = """
%s
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	%s event = {};

	if ((u32)args->pid >> 30 != 1)
		return 0;
	event.big = args->pid;
	event.small = 5;
	events.perf_submit(args, &event, sizeof(event));
	return 0;
}
"""


@pytest.mark.parametrize(
    ("definition", "type_", "offset"),
    [
        ("typedef struct { u8 small; u64 big; } event_t;", "event_t", 8),
        ("typedef struct { u8 small; u64 big; } __attribute__((packed)) event_t;", "event_t", 1),
        ("struct __attribute__((packed)) event_t { u8 small; u64 big; };", "struct event_t", 1),
        ("struct event_t { u8 small; u64 big; } __packed;", "struct event_t", 1),
        # others with the same words, which are not the one that is sent
        (
            "struct a { u64 small; u64 big; }; struct event_t { unsigned char small;"
            " unsigned long long big; }; struct b { u32 small; u32 big; };",
            "struct event_t",
            8,
        ),
    ],
)
def test_the_struct_that_is_sent_is_the_one_that_is_read(getpgid, definition, type_, offset):
    with tk.Probe.from_text(SENDER % (definition, type_), name="sender") as probe:
        workload = getpgid(1, 1)
        events = probe.read(count=1)
    assert events.dtype.fields["big"][1] == offset
    assert (events["big"][0], events["small"][0]) == (workload.MARK, 5)


def test_a_struct_of_a_local_header_is_found(tmp_path, getpgid):
    (tmp_path / "event.h").write_text("struct event_t { u8 small; u64 big; };\n")
    (tmp_path / "mine.c").write_text(SENDER % ('#include "event.h"', "struct event_t"))
    with tk.Probe.from_file(tmp_path / "mine.c") as probe:
        workload = getpgid(1, 1)
        assert probe.read(count=1)["big"][0] == workload.MARK
        assert probe.name == "mine"


def test_a_record_shorter_than_its_struct_is_told(getpgid, kernel):
    text = SENDER % ("struct event_t { u8 small; u64 big; u64 more; };", "struct event_t")
    text = text.replace("sizeof(event));", "8);")
    with tk.Probe.from_text(text, name="short") as probe:
        workload = getpgid(1, 1)
        kernel.wait_until(lambda: not workload.running)
        with pytest.raises(RecordTypeError, match="its struct has 24"):
            probe.read()
        assert len(probe.read()) == 0


# attaching ----------------------------------------------------------------------------------


def test_attach_tracepoint_attaches_a_function_with_a_struct_of_its_own(getpgid):
    text = """
struct getpgid_args { u64 __unused__; int number; int __hole; u64 pid; };
struct event_t { u64 pid; };
BPF_RINGBUF_OUTPUT(events, 4);
int on_getpgid(struct getpgid_args *args)
{
	struct event_t event = { args->pid };

	if ((u32)event.pid >> 30 == 1)
		events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
"""
    with tk.Probe.from_text(text, name="explicit") as probe:
        assert probe.attached == ()
        assert "nothing yet" in repr(probe)
        assert probe.attach_tracepoint("syscalls:sys_enter_getpgid", "on_getpgid") is probe
        assert probe.attached == ("syscalls:sys_enter_getpgid",)
        assert "sys_enter_getpgid" in repr(probe)
        workload = getpgid(1, 3)
        assert probe.read(count=3)["pid"].tolist() == [workload.MARK + n for n in range(3)]


def test_what_the_preprocessor_takes_out_is_not_attached():
    text = f"#if 0\nTRACEPOINT_PROBE(no, such_event) {{ return 0; }}\n#endif\n{NOTHING}"
    with tk.Probe.from_text(text, name="if") as probe:
        assert probe.attached == ("syscalls:sys_enter_getpgid",)


def test_a_warning_is_kept_with_its_line():
    text = "\n" + NOTHING.replace("return 0;", "int unused_one; char *p = 5; return 0;")
    with tk.Probe.from_text(text, name="warns") as probe:
        (warning,) = [d for d in probe.diagnostics if "char" in d.message]
        assert (warning.file, warning.line, warning.severity) == ("warns.c", 2, "warning")
        assert "warns.c:2" in repr(probe)


# life and death ---------------------------------------------------------------------------


def test_closing_detaches_and_may_be_repeated(kernel):
    probe = tk.Probe.from_text(NOTHING, name="close")
    programs = kernel.programs_of(probe.pid)
    assert len(programs) == 1
    assert programs <= kernel.all_programs()
    assert probe in tk.open_probes()
    probe.close()
    probe.close()
    assert probe.closed
    assert "closed" in repr(probe)
    assert probe not in tk.open_probes()
    # the kernel frees a program a little after the last process has let go of it
    kernel.wait_until(lambda: not programs & kernel.all_programs())
    for use in (probe.read, lambda: probe.attach_tracepoint("tcp:tcp_probe", "f")):
        with pytest.raises(ProbeClosed, match="close is closed"):
            use()


def test_an_exception_in_the_body_detaches(kernel):

    def body():
        with tk.Probe.from_text(NOTHING, name="body") as probe:
            assert kernel.programs_of(probe.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert not tk.open_probes()
    assert not kernel.programs_of(os.getpid())


def test_a_probe_nobody_refers_to_is_detached(kernel):
    probe = tk.Probe.from_text(NOTHING, name="gone")
    pid = probe.pid
    del probe
    gc.collect()
    kernel.wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    assert not kernel.programs_of(os.getpid())


def test_a_new_probe_of_the_same_name_takes_the_place_of_the_old(kernel):
    first = tk.Probe.from_text(NOTHING, name="same")
    other = tk.Probe.from_text(NOTHING, name="other")
    second = tk.Probe.from_text(NOTHING, name="same")
    try:
        assert first.closed
        assert tk.open_probes() == (other, second)
        assert len(kernel.programs_of(os.getpid())) == 2
    finally:
        other.close()
        second.close()


@pytest.mark.parametrize(
    ("text", "how"), [(RING, signal.SIGKILL), (PERF, signal.SIGSEGV)], ids=["ring", "perf"]
)
def test_a_worker_that_dies_in_use_is_told_and_the_next_probe_works(text, how, getpgid, kernel):
    with tk.Probe.from_text(text, name="dies") as probe:
        os.kill(probe.pid, how)
        kernel.wait_until(lambda: probe.closed)
        assert "closed" in repr(probe)
        with pytest.raises(WorkerDied, match=how.name) as caught:
            probe.read()
        assert caught.value.returncode == -how
        with pytest.raises(ProbeClosed):
            probe.read()
    assert not kernel.programs_of(os.getpid())
    with tk.Probe.from_text(text, name="dies") as probe:
        getpgid(1, 2)
        assert len(probe.read(count=2)) == 2


def test_a_worker_that_dies_while_it_is_read_is_told(kernel):
    with tk.Probe.from_text(RING, name="dies") as probe:
        killer = threading.Timer(0.2, os.kill, (probe.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(WorkerDied, match="SIGKILL"):
            probe.read(seconds=60)
        killer.join()


@pytest.mark.parametrize("text", [RING, PERF])
def test_threads_may_read_while_another_closes(text):
    probe = tk.Probe.from_text(text, name="threads")
    ended = []

    def read():
        try:
            while True:
                probe.read(seconds=0.001)
        except ProbeClosed as error:
            ended.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    probe.read(seconds=0.05)
    probe.close()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 8


@pytest.mark.parametrize("text", [RING, PERF])
def test_threads_share_the_events_out(text, getpgid):
    with tk.Probe.from_text(text, name="share") as probe:
        workload = getpgid(1, 20_000)
        got, stop = [], threading.Event()

        def read():
            while not stop.is_set():
                got.append(probe.read())

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        while workload.running:
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        got.append(probe.read())
        counts = probe.counts
    numbers = np.sort(np.concatenate([events["number"] for events in got]))
    # each once, and, where the program counts, every one that is missing as dropped
    assert len(np.unique(numbers)) == len(numbers)
    assert set(numbers.tolist()) <= set(range(workload.MARK, workload.MARK + 20_000))
    if text == PERF:
        assert len(numbers) + counts.dropped == 20_000


def test_probes_in_many_threads_at_once():
    """bcc itself crashes when two compile at the same time in one process."""
    probes, failures = [], []

    def make(number):
        try:
            probes.append(tk.Probe.from_text(NOTHING, name=f"many {number}"))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {probe.name for probe in tk.open_probes()} == {f"many {n}" for n in range(6)}
    for probe in probes:
        probe.close()


def test_the_working_directory_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tk.Probe.from_text(NOTHING, name="cwd"):
        assert os.getcwd() == str(tmp_path)

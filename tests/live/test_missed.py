"""A program that the kernel did not run, because another one was running, is counted.

The truth is what ftrace writes into a buffer of its own at the same tracepoint: it does not ask
whether a BPF program is running.
"""

import os
import re
import signal
import subprocess
import sys

import pytest

import tracekit as tk
from tracekit.capture import loading
from tracekit.capture.events import Counts
from tracekit.capture.misses import kernel_counts_misses
from tracekit.host.packages import find_command
from tracekit.tracepoints.btf import VMLINUX

pytestmark = pytest.mark.live

# A timer of this process goes off all the time, in a hard interrupt of the processor it runs on,
# and the process calls getpgid all the time, on that processor. Its end ends its timer.
_WORKLOAD = """
import ctypes, os, signal, sys
mark, cpu = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
getpgid = ctypes.CDLL(None).getpgid
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while True:
    getpgid(mark)
"""
MARK = 0x50000000

# It runs about a millisecond, with interrupts on.
LONG = """
#include "counters.h"

TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	u64 sum = 0;

	if ((u32)args->pid != MARK)
		return 0;
	count(SEEN);
	for (int i = 0; i < 20000; i++)
		sum += bpf_ktime_get_ns();
	if (!sum)
		count(DROPPED);
	return 0;
}
"""
EXPIRED = """
#include "counters.h"

TRACEPOINT_PROBE(timer, itimer_expire)
{
	count(SEEN);
	return 0;
}
"""
TWO = (
    EXPIRED
    + """
int by_hand(void *context)
{
	count(SEEN);
	return 0;
}
"""
)
PRINTS = """
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	u32 number = args->pid;

	if (number >> 30 == 1)
		bpf_trace_printk("getpgid %d", number >> 24);
	return 0;
}
"""
PRINTED = EXPIRED.replace("timer, itimer_expire", "bpf_trace, bpf_trace_printk")
RING = """
#include "counters.h"

struct event_t { u64 ts; int pid; };
BPF_RINGBUF_OUTPUT(events, 64);

TRACEPOINT_PROBE(timer, itimer_expire)
{
	struct event_t event = { bpf_ktime_get_ns(), args->pid };

	count(SEEN);
	count(events.ringbuf_output(&event, sizeof(event), 0) ? DROPPED : SENT);
	return 0;
}
"""


@pytest.fixture
def expired(instance):
    """What ftrace says of timers of setitimer, of all processes, since the test began."""
    event = instance / "events/timer/itimer_expire"

    class Expired:
        @property
        def some(self):
            """How many went off, while they still do."""
            return sum(number(stats, "entries") for stats in instance.glob("per_cpu/cpu*/stats"))

        @property
        def all(self):
            """How many went off, when none does any more."""
            assert not any(number(s, "overrun") for s in instance.glob("per_cpu/cpu*/stats"))
            return (instance / "trace").read_text().count(" itimer_expire: ")

    (event / "enable").write_text("1")
    yield Expired()
    (event / "enable").write_text("0")


def number(stats, name):
    return int(re.search(rf"^{name}: (\d+)", stats.read_text(), re.MULTILINE)[1])


@pytest.fixture
def workload():
    """workload(): a process whose timer goes off on the processor on which it calls getpgid."""
    made = []

    def start():
        cpu = max(os.sched_getaffinity(0))
        command = [sys.executable, "-c", _WORKLOAD, str(MARK), str(cpu)]
        made.append(subprocess.Popen(command))
        return made[-1]

    yield start
    for process in made:
        end(process)


def end(process):
    """End a workload; its timer is gone when this returns."""
    process.kill()
    process.wait()


def long_program():
    return tk.Probe.from_text(LONG, defines={"MARK": MARK}, name="long")


def check(counts, truth, each=1):
    """All that happened is either a run or a miss; and there were misses."""
    assert truth > 0
    if kernel_counts_misses():
        assert counts.missed > 0
        assert counts.seen + counts.missed == each * truth
    else:
        assert counts.missed is None
        assert counts.seen < each * truth


def test_runs_and_misses_together_are_all_events(expired, workload, kernel):
    with tk.Probe.from_text(EXPIRED, name="expired") as probe, long_program():
        process = workload()
        kernel.wait_until(lambda: expired.some > 200)
        end(process)
        check(probe.counts, expired.all)
        events = probe.read()
        assert events.counts == probe.counts
        assert probe.read().counts.missed in (0, None)


def test_without_another_program_none_is_missed(expired, workload, kernel):
    with tk.Probe.from_text(EXPIRED, name="expired") as probe:
        process = workload()
        kernel.wait_until(lambda: expired.some > 200)
        end(process)
        assert probe.counts.seen == expired.all
        assert probe.counts.missed == (0 if kernel_counts_misses() else None)


@pytest.mark.parametrize("mapped", [True, False])
def test_the_events_of_each_read_say_how_many_were_missed(
    monkeypatch, expired, workload, kernel, mapped
):
    monkeypatch.setattr(loading, "can_map_rings", lambda: mapped)
    with tk.Probe.from_text(RING, name="ring") as probe, long_program():
        process = workload()
        batches = []

        def read_until_enough():
            batches.append(probe.read())
            return expired.some > 300

        kernel.wait_until(read_until_enough)
        end(process)
        batches.append(probe.read())
        total = sum((batch.counts for batch in batches), Counts())
        assert total == probe.counts
        check(total, expired.all)
        assert sum(map(len, batches)) == total.seen == total.sent
        assert len([batch for batch in batches if batch.counts.missed]) > 1 or not total.missed
        for batch in batches:
            line = repr(batch).split("\n")[0]
            missed = f" · {batch.counts.missed} missed" if batch.counts.missed else ""
            assert line.endswith(" · 0 dropped" + missed)


def test_each_of_a_probes_programs_is_counted(expired, workload, kernel):
    with tk.Probe.from_text(TWO, name="two") as probe, long_program():
        probe.attach_tracepoint("timer:itimer_expire", "by_hand")
        process = workload()
        kernel.wait_until(lambda: expired.some > 200)
        end(process)
        check(probe.counts, expired.all, each=2)


def test_what_a_program_reaches_by_itself_is_run_for_nobody_and_counted_by_nobody(getpgid):
    with (
        tk.Probe.from_text(PRINTED, name="printed") as printed,
        tk.Probe.from_text(PRINTS, name="prints") as probe,
    ):
        mine = f"getpgid {getpgid(1, 23).MARK >> 24}"
        so_far = 0
        for events in probe.stream(seconds=10):
            so_far += (events["msg"] == mine.encode()).sum()
            if so_far >= 23:
                break
        assert so_far == 23
        # what programs of kprobes print would reach it; here are none
        assert printed.counts.seen == 0
        assert not printed.counts.missed


def test_a_probe_that_ended_says_nothing_and_fails_nowhere(expired, workload, kernel):
    with tk.Probe.from_text(EXPIRED, name="expired") as probe, long_program():
        process = workload()
        kernel.wait_until(lambda: expired.some > 50)
        end(process)
        before = probe.counts
        os.kill(probe.pid, signal.SIGKILL)
        kernel.wait_until(lambda: probe.closed)
        # the last that is known
        assert probe.counts.missed == before.missed
    assert probe.counts == Counts()


def test_what_this_kernel_counts_is_read_from_btf_as_bpftool_reads_it():
    bpftool = find_command("bpftool")
    assert bpftool is not None, "install bpftool"
    command = [bpftool, "btf", "dump", "file", VMLINUX, "format", "c"]
    types = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    info = re.search(r"^struct bpf_link_info \{.*?^\};", types, re.MULTILINE | re.DOTALL)[0]
    # the lines of the innermost braces before "} kprobe_multi;"
    multi = re.search(r"struct \{([^{}]*)\} kprobe_multi;", info)
    assert kernel_counts_misses() == bool(multi and re.search(r"\bmissed;", multi[1]))

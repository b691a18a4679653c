"""What reading one event costs: tracekit's mapped ring, bcc's usual loop, and memcpy.

All three handle the same events: records of 120 bytes, as many as a ring of 16 MiB holds, made by
this process through a tracepoint of its own system call. Printed are nanoseconds for each event,
best of some rounds, and the ratios. Needs what a live probe needs.

    .venv/bin/python benchmarks/read_cost.py
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time

import numpy as np

import tracekit as tk
from tracekit.capture.loading import compiler_options
from tracekit.capture.program import Program
from tracekit.host.interpreters import find_bcc_python

COUNT = 100_000
ROUNDS = 5
MARK = 0x40000000
TEXT = """
struct event_t {
	u64 ts;
	u32 number;
	u32 values[27];
};
BPF_RINGBUF_OUTPUT(events, 4096);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t *event;

	if ((u32)args->pid >> 30 != 1)
		return 0;
	event = events.ringbuf_reserve(sizeof(struct event_t));
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->ts = bpf_ktime_get_ns();
	event->number = args->pid;
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}
"""

# The loop of bcc's own examples, in the Python that has bcc.
BCC = """
import ctypes, json, os, sys, time
request = json.load(sys.stdin)
if request["kernel_source"]:
    os.environ["BCC_KERNEL_SOURCE"] = request["kernel_source"]
from bcc import BPF
b = BPF(text=request["text"])
total = seen = 0
def show(context, data, size):
    global total, seen
    event = b["events"].event(data)
    total += event.number
    seen += 1
b["events"].open_ring_buffer(show)
getpgid, best = ctypes.CDLL(None).getpgid, []
for _ in range(request["rounds"]):
    for number in range(request["count"]):
        getpgid(request["mark"] + number)
    seen, start = 0, time.perf_counter()
    b.ring_buffer_consume()
    best.append((time.perf_counter() - start) / seen)
    assert seen == request["count"], seen
print(min(best))
"""


def with_tracekit() -> tuple[float, float]:
    """Seconds for an event, by tracekit and by a memcpy of the same bytes."""
    getpgid = ctypes.CDLL(None).getpgid
    read, copied = [], []
    with tk.Probe.from_text(TEXT, name="benchmark") as probe:
        for _ in range(ROUNDS):
            for number in range(COUNT):
                getpgid(MARK + number)
            start = time.perf_counter()
            events = probe.read()
            total = int(events["number"].sum())
            read.append((time.perf_counter() - start) / len(events))
            assert len(events) == COUNT
            assert total == sum(range(MARK, MARK + COUNT))
            source = np.frombuffer(events.records.tobytes(), np.uint8)
            target = np.ones_like(source)
            start = time.perf_counter()
            np.copyto(target, source)
            copied.append((time.perf_counter() - start) / COUNT)
    return min(read), min(copied)


def with_bcc() -> float:
    """Seconds for an event, by bcc's loop."""
    program = Program(TEXT, "benchmark.c")
    request = {"text": TEXT, "rounds": ROUNDS, "count": COUNT, "mark": MARK}
    asked = subprocess.run(
        [str(find_bcc_python()), "-I", "-c", BCC],
        input=json.dumps(request | compiler_options(program)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(asked.stdout)


def main() -> int:
    """Measure and print."""
    ring, memcpy = with_tracekit()
    loop = with_bcc()
    print(f"tracekit's ring  {ring * 1e9:8.1f} ns for each event")
    print(f"bcc's loop       {loop * 1e9:8.1f} ns   {loop / ring:6.1f} times as much")
    print(
        f"memcpy           {memcpy * 1e9:8.1f} ns   tracekit takes {ring / memcpy:.1f} times that"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

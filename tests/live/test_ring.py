"""The ring buffer of a running kernel: every event of a known workload is accounted for."""

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture import loading
from tracekit.capture.events import Counts
from tracekit.capture.misses import kernel_counts_misses
from tracekit.errors import RecordTypeError

pytestmark = pytest.mark.live

PROGRAM = """
#include "counters.h"

struct event_t {
	u64 ts;
	u32 number;
	u8 cpu;
	u64 square;
};

BPF_RINGBUF_OUTPUT(events, PAGES);

TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t *event;
	u32 number = args->pid;

	if (number >> 30 != 1)
		return 0;
	count(SEEN);
#ifdef DISCARDS
	if (number % 3 == 0) {
		void *odd = events.ringbuf_reserve(13);

		if (odd)
			events.ringbuf_discard(odd, 0);
		return 0;
	}
	if (number % 7 == 0) {
		event = events.ringbuf_reserve(sizeof(struct event_t));
		if (event)
			events.ringbuf_discard(event, 0);
		return 0;
	}
#endif
	event = events.ringbuf_reserve(sizeof(struct event_t));
	if (!event) {
		count(DROPPED);
		return 0;
	}
	event->ts = bpf_ktime_get_ns();
	event->number = number;
	event->cpu = bpf_get_smp_processor_id();
	event->square = (u64)number * number;
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	count(SENT);
	return 0;
}
"""


@pytest.fixture(params=["mapped", "callbacks"])
def reader(request, monkeypatch):
    """Both ways to read a ring: mapped here, or by bcc in the worker."""
    monkeypatch.setattr(loading, "can_map_rings", lambda: request.param == "mapped")
    return request.param


def collect(probe, workload):
    batches = []
    while workload.running:
        batches.append(probe.read(seconds=0.02))
    batches.append(probe.read())
    return np.concatenate([batch.records for batch in batches]), batches


@pytest.mark.parametrize(("producers", "pages"), [(1, 4), (3, 4), (1, 1024), (3, 1024)])
def test_received_and_dropped_are_what_was_sent(reader, getpgid, producers, pages):
    with tk.Probe.from_text(PROGRAM, defines={"PAGES": pages}, name="ring") as probe:
        workload = getpgid(producers, 100_000)
        records, batches = collect(probe, workload)
        counts = probe.counts
    assert counts.seen == workload.sent
    assert counts.sent == len(records)
    assert len(records) + counts.dropped == workload.sent
    assert sum(batch.dropped for batch in batches) == counts.dropped
    if pages == 1024 and reader == "mapped":
        assert counts.dropped == 0
    # whole, and each producer's in the order it made them
    number = records["number"].astype(np.uint64)
    assert (records["square"] == number * number).all()
    producer = (number - workload.MARK) // workload.EACH
    assert set(producer.tolist()) <= set(range(producers))
    for p in range(producers):
        mine = number[producer == p].astype(np.int64)
        assert (np.diff(mine) > 0).all()
        assert len(set(records["cpu"][producer == p].tolist())) == 1
    if counts.dropped == 0:
        assert len(np.unique(number)) == workload.sent


def test_a_small_ring_loses_events_and_says_so(getpgid, kernel):
    with tk.Probe.from_text(PROGRAM, defines={"PAGES": 4}, name="ring") as probe:
        workload = getpgid(1, 5000)
        kernel.wait_until(lambda: not workload.running)
        events = probe.read()
    # a record takes 8 + 24 bytes; a ring is never filled to the last byte
    assert len(events) == (4 * 4096 - 1) // 32
    assert events.dropped == 5000 - len(events)
    assert events["number"].tolist() == list(range(workload.MARK, workload.MARK + len(events)))


def test_discarded_records_of_odd_sizes_are_passed_over(reader, getpgid):
    defines = {"PAGES": 1024, "DISCARDS": 1}
    with tk.Probe.from_text(PROGRAM, defines=defines, name="ring") as probe:
        workload = getpgid(3, 30_000)
        records, _ = collect(probe, workload)
        assert probe.counts.dropped == 0
    expected = {
        number
        for p in range(3)
        for offset in range(30_000)
        for number in [workload.MARK + p * workload.EACH + offset]
        if number % 3 and number % 7
    }
    assert len(records) == len(expected)
    assert set(records["number"].tolist()) == expected


def test_both_readers_give_the_same_events(monkeypatch, getpgid, kernel):
    found = {}
    for way in (True, False):
        monkeypatch.setattr(loading, "can_map_rings", lambda way=way: way)
        with tk.Probe.from_text(PROGRAM, defines={"PAGES": 1024}, name="ring") as probe:
            workload = getpgid(1, 1000)
            found[way] = probe.read(count=1000)
            assert not probe.read()
            kernel.wait_until(lambda workload=workload: not workload.running)
    mapped, called = found[True], found[False]
    assert mapped.dtype == called.dtype
    for field in ("number", "square"):
        assert mapped[field].tolist() == called[field].tolist()
    missed = 0 if kernel_counts_misses() else None
    assert mapped.counts == called.counts == Counts(1000, 1000, 0, missed)


TWO_TYPES = """
struct event_t { u32 number; };
struct other_t { u32 number; u64 more; };
BPF_RINGBUF_OUTPUT(events, 16);

TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = { args->pid };
	struct other_t other = { args->pid };

	if (event.number >> 30 != 1)
		return 0;
	if (event.number == 0x40000002)
		events.ringbuf_output(&other, sizeof(other), 0);
	else
		events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
"""


def test_a_record_of_another_type_is_told_and_the_others_come(reader, getpgid, kernel):
    with tk.Probe.from_text(TWO_TYPES, name="two") as probe:
        # bcc describes the type it saw last
        length = probe.dtype.itemsize
        workload = getpgid(1, 5)
        kernel.wait_until(lambda: not workload.running)
        received, refused = [], []
        for _ in range(12):
            try:
                received += probe.read()["number"].tolist()
            except RecordTypeError as error:
                refused.append(str(error))
    offsets = [number - workload.MARK for number in received]
    assert offsets == ([0, 1, 3, 4] if length == 4 else [2])
    assert refused
    assert all(f"a record of {4 if length == 16 else 16} bytes" in text for text in refused)

"""Reader with a worker that is played."""

import numpy as np
import pytest

from tracekit.capture import reader as reader_module
from tracekit.capture.channel import Reply
from tracekit.capture.events import Counts
from tracekit.capture.loading import Loaded
from tracekit.capture.reader import Reader
from tracekit.errors import RecordTypeError

EVENT = np.dtype([("ts", "u8"), ("n", "u4")], align=True)


class FakeWorker:
    def __init__(self):
        self.replies, self.checked = [], 0

    def will_send(self, *rows, lost=0, dropped=0, foreign=0, text=None):
        payload = text if text is not None else np.array(list(rows), EVENT).tobytes()
        values = {"lost": lost, "dropped": dropped, "foreign": foreign}
        self.replies.append(Reply(values, {}, payload))

    def check(self):
        self.checked += 1

    def request(self, name):
        assert name == "read"
        return self.replies.pop(0)


class FakeMisses:
    """What the kernel counts: the next look finds the next of these."""

    def __init__(self, *totals):
        self.totals, self.released = list(totals), False

    @property
    def total(self):
        return self.totals.pop(0)

    def release(self):
        self.released = True


class FakeRing:
    def __init__(self, *batches):
        self.batches = list(batches)

    def read(self):
        return self.batches.pop(0) if self.batches else np.empty(0, EVENT)


def make(*, dtype=EVENT, ring=None, counters=None, counts_losses=True, prints=False, misses=None):
    worker = FakeWorker()
    return worker, Reader(
        worker, Loaded(dtype, ring, counters, counts_losses, (), (), misses), prints=prints
    )


def test_batches_are_joined_and_ordered_by_time():
    worker, reader = make()
    worker.will_send((5, 0), (3, 1))
    worker.will_send((4, 2))
    reader.collect()
    reader.collect()
    assert reader.waiting == 3
    records, _ = reader.take(None)
    assert records["n"].tolist() == [1, 2, 0]
    assert records.dtype == EVENT
    assert reader.waiting == 0
    assert reader.take(None)[0].shape == (0,)


def test_what_is_not_taken_stays():
    worker, reader = make()
    worker.will_send((1, 1), (2, 2), (3, 3))
    reader.collect()
    assert [reader.take(count)[0]["n"].tolist() for count in (0, 2, 5)] == [[], [1, 2], [3]]


def test_a_mapped_ring_is_read_without_the_worker_but_the_worker_must_live():
    worker, reader = make(ring=FakeRing(np.array([(1, 1)], EVENT)))
    reader.collect()
    reader.collect()
    assert worker.checked == 2
    assert reader.take(None)[0]["n"].tolist() == [1]


def test_losses_are_counted_once_though_program_and_kernel_count_them():
    counters = np.array([10, 6, 4], np.uint64)
    worker, reader = make(counters=counters)
    worker.will_send(lost=3)
    reader.collect()
    assert reader.counts == Counts(10, 6, 4)
    # the kernel knows of more than a program that does not count them
    worker.will_send(lost=4, dropped=2)
    reader.collect()
    assert reader.counts == Counts(10, 6, 7 + 2)


def test_counts_of_a_take_are_those_since_the_last():
    counters = np.array([10, 10, 0], np.uint64)
    _, reader = make(counters=counters, ring=FakeRing())
    assert reader.take(None)[1] == Counts(10, 10, 0)
    counters += np.array([5, 3, 2], np.uint64)
    assert reader.take(None)[1] == Counts(5, 3, 2)
    assert reader.counts == Counts(15, 13, 2)


@pytest.mark.parametrize("counters", [None, np.array([10, 10, 0], np.uint64)])
def test_misses_of_a_take_are_those_since_the_last_and_the_total_is_the_kernels(counters):
    _, reader = make(counters=counters, ring=FakeRing(), misses=FakeMisses(4, 4, 9, 9))
    assert [reader.take(None)[1].missed for _ in range(3)] == [4, 0, 5]
    assert reader.counts.missed == 9
    reader.release()
    assert reader.counts.missed is None


def test_a_kernel_that_does_not_count_misses():
    _, reader = make(ring=FakeRing(), misses=FakeMisses(None, None))
    assert reader.take(None)[1] == reader.counts == Counts(dropped=0)


def test_what_nobody_counts_is_unknown_until_something_is_lost():
    worker, reader = make(counts_losses=False)
    assert reader.counts == Counts()
    worker.will_send(dropped=1)
    reader.collect()
    assert reader.counts == Counts(dropped=1)


def test_a_foreign_record_is_told_and_the_others_are_kept():
    worker, reader = make()
    worker.will_send((1, 1), foreign=8)
    with pytest.raises(RecordTypeError, match="a record of 8 bytes, and its struct has 16"):
        reader.collect()
    assert reader.take(None)[0]["n"].tolist() == [1]


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(reader_module, "_MOST_KEPT", 40)
    worker, reader = make()
    for number in range(5):
        worker.will_send((number, number))
    for _ in range(10):
        reader.collect()
    # 3 records of 16 bytes are 48; the others stay where they are
    assert (reader.waiting, len(worker.replies)) == (3, 2)
    reader.take(None)
    reader.collect()
    assert reader.waiting == 1


LINE = b"   ping-7  [002] ...21   758.6%d: bpf_trace_printk: %s\n"


def test_printed_lines_are_parsed_and_their_losses_added():
    worker, reader = make(dtype=None, prints=True)
    worker.will_send(text=LINE % (2, b"longer") + b"CPU:1 [LOST 5 EVENTS]\n", lost=1)
    worker.will_send(text=LINE % (1, b"x"))
    reader.collect()
    reader.collect()
    records, counts = reader.take(None)
    assert records["msg"].tolist() == [b"x", b"longer"]
    assert counts.dropped == 6
    assert reader.take(None)[0].dtype.names == records.dtype.names


def test_a_program_that_sends_nothing_asks_for_nothing():
    _, reader = make(dtype=None, counts_losses=False)
    reader.collect()
    assert len(reader.take(None)[0]) == 0


def test_after_release_nothing_is_mapped():
    misses = FakeMisses(7)
    _, reader = make(ring=FakeRing(), counters=np.zeros(3, np.uint64), misses=misses)
    reader.release()
    assert misses.released
    assert reader.counts.seen is reader.counts.missed is None

"""RingBuffer on a ring made in memory, with the layout of kernel/bpf/ringbuf.c."""

import mmap
import os
import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.capture import ring as ring_module
from tracekit.capture.ring import RingBuffer, can_map_rings
from tracekit.errors import RecordTypeError

PAGE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30
RECORD = np.dtype([("number", "u8"), ("half", "u4")], align=True)  # 16 bytes, the last 4 a hole


class FakeRing:
    """The producer's side: what bpf_ringbuf_reserve and _commit do, in a memfd."""

    def __init__(self, size: int = PAGE, start: int = 0) -> None:
        self.size = size
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * PAGE + 2 * size)
        self.memory = mmap.mmap(self.descriptor, 2 * PAGE + 2 * size)
        self.positions = np.frombuffer(self.memory, np.uint64)
        self.consumer, self.producer = self.positions[0:1], self.positions[PAGE // 8 :][:1]
        self.consumer[0] = self.producer[0] = start

    def write(self, position: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            place = 2 * PAGE + (position + index) % self.size
            self.memory[place] = self.memory[place + self.size] = byte

    def reserve(self, payload: bytes, flags: int = 0) -> int:
        """Append a record; returns its position."""
        position = int(self.producer[0])
        whole = (8 + len(payload) + 7) // 8 * 8
        assert position + whole - int(self.consumer[0]) < self.size, "the ring is full"
        self.write(position, (len(payload) | flags).to_bytes(4, "little") + b"\xee" * 4 + payload)
        self.producer[0] = position + whole
        return position

    def set_flags(self, position: int, length: int, flags: int = 0) -> None:
        self.write(position, (length | flags).to_bytes(4, "little"))

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.reserve(record(number))

    def reader(self, dtype: np.dtype = RECORD) -> RingBuffer:
        reader = RingBuffer(self.descriptor, self.size, dtype)
        os.close(self.descriptor)  # a mapping needs no descriptor
        return reader


def record(number: int) -> bytes:
    return number.to_bytes(8, "little") + (number % 2**32).to_bytes(4, "little") + b"\xcc" * 4


def numbers(reader: RingBuffer) -> list[int]:
    records = reader.read()
    assert records.dtype == reader.dtype
    assert (records["half"] == records["number"] % 2**32).all()
    return records["number"].tolist()


def test_an_empty_ring_gives_no_records():
    fake = FakeRing()
    reader = fake.reader()
    records = reader.read()
    assert records.shape == (0,)
    assert records.dtype == RECORD
    assert reader.waiting == 0


def test_records_come_once_and_in_order_and_their_space_is_given_back():
    fake = FakeRing()
    reader = fake.reader()
    fake.send(*range(10))
    assert reader.waiting == 10 * 24
    assert numbers(reader) == list(range(10))
    assert (int(fake.consumer[0]), reader.waiting) == (10 * 24, 0)
    assert numbers(reader) == []
    fake.send(77)
    assert numbers(reader) == [77]


def test_the_records_are_copies():
    fake = FakeRing()
    reader = fake.reader()
    fake.send(1, 2)
    records = reader.read()
    for position in range(0, fake.size, 8):
        fake.write(position, b"\xff" * 8)
    assert records["number"].tolist() == [1, 2]


def test_a_record_that_wraps_around_the_end_is_whole():
    # 24 does not divide a page: records cross the end at different places in every round
    fake = FakeRing()
    reader = fake.reader()
    sent = 0
    for _ in range(40):
        fake.send(*range(sent, sent + 100))
        assert numbers(reader) == list(range(sent, sent + 100))
        sent += 100
    assert int(fake.producer[0]) > 20 * fake.size


def test_a_ring_that_is_full_to_the_last_record():
    fake = FakeRing()
    reader = fake.reader()
    most = (fake.size - 1) // 24
    for _ in range(3):
        fake.send(*range(most))
        assert numbers(reader) == list(range(most))


def test_positions_beyond_32_bits():
    fake = FakeRing(start=2**32 - 48)
    reader = fake.reader()
    fake.send(1, 2, 3, 4)
    assert numbers(reader) == [1, 2, 3, 4]
    assert int(fake.consumer[0]) == 2**32 + 48


def test_a_discarded_record_is_passed_over_whatever_its_length():
    fake = FakeRing()
    reader = fake.reader()
    fake.reserve(record(0), DISCARD)
    fake.send(1)
    fake.reserve(b"odd", DISCARD)
    fake.reserve(b"", DISCARD)
    fake.send(2, 3)
    fake.reserve(b"x" * 100, DISCARD)
    assert numbers(reader) == [1, 2, 3]
    assert reader.waiting == 0


def test_a_busy_record_stops_the_reader_until_it_is_committed():
    fake = FakeRing()
    reader = fake.reader()
    fake.send(1)
    position = fake.reserve(record(2), BUSY)
    fake.send(3)
    assert numbers(reader) == [1]
    assert numbers(reader) == []
    assert reader.waiting == 48
    fake.set_flags(position, 16)
    assert numbers(reader) == [2, 3]


def test_a_busy_record_that_is_discarded_in_the_end():
    fake = FakeRing()
    reader = fake.reader()
    position = fake.reserve(record(1), BUSY)
    fake.send(2)
    assert numbers(reader) == []
    fake.set_flags(position, 16, DISCARD)
    assert numbers(reader) == [2]


@pytest.mark.parametrize("flags", [0, DISCARD])
def test_a_record_that_is_committed_between_the_two_looks_is_neither_lost_nor_refused(flags):
    """Busy at the vectorised look, committed at the second one."""
    fake = FakeRing()
    busy = []

    class Slow(RingBuffer):
        def _complete_from(self, position: int, end: int, most: int) -> int:
            complete = super()._complete_from(position, end, most)
            while busy:
                fake.set_flags(busy.pop(), 16, flags)
            return complete

    reader = Slow(fake.descriptor, fake.size, RECORD)
    os.close(fake.descriptor)
    fake.send(1)
    busy.append(fake.reserve(record(2), BUSY))
    fake.send(3)
    assert numbers(reader) == ([1, 2, 3] if flags == 0 else [1, 3])
    busy.append(fake.reserve(record(4), BUSY))
    assert numbers(reader) == ([4] if flags == 0 else [])
    assert reader.waiting == 0


@pytest.mark.parametrize("length", [0, 8, 15, 17, 24, 100])
def test_a_record_of_another_length_is_told_and_passed_over(length):
    fake = FakeRing()
    reader = fake.reader()
    fake.send(1, 2)
    fake.reserve(b"f" * length)
    fake.send(3)
    assert numbers(reader) == [1, 2]  # what was in front is not lost
    with pytest.raises(RecordTypeError, match=f"a record of {length} bytes.*has 16"):
        reader.read()
    assert numbers(reader) == [3]


@pytest.mark.parametrize("size", [1, 3, 8, 13, 120])
def test_records_of_any_length_are_padded_to_eight(size):
    fake = FakeRing()
    dtype = np.dtype([("bytes", "u1", (size,))])
    reader = fake.reader(dtype)
    for value in range(20):
        fake.reserve(bytes([value]) * size)
    records = reader.read()
    assert records["bytes"].tolist() == [[value] * size for value in range(20)]


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 2**40).map(lambda n: n // 8 * 8),
    steps=st.lists(
        st.lists(
            st.sampled_from(["send", "discard", "odd discard", "busy", "commit"]), max_size=40
        ),
        max_size=12,
    ),
)
def test_any_history_gives_what_was_committed_in_the_order_of_reservation(start, steps):
    fake = FakeRing(start=start)
    reader = fake.reader()
    expected, busy, received, number = [], None, [], 0
    held = []  # what stands behind a busy record
    for step in steps:
        for what in step:
            number += 1
            if what == "send":
                fake.send(number)
                (held if busy is not None else expected).append(number)
            elif what == "discard":
                fake.reserve(record(number), DISCARD)
            elif what == "odd discard":
                fake.reserve(b"z" * (number % 37), DISCARD)
            elif what == "busy" and busy is None:
                busy = fake.reserve(record(number), BUSY)
                held.insert(0, number)
            elif what == "commit" and busy is not None:
                fake.set_flags(busy, 16)
                expected += held
                busy, held = None, []
        received += numbers(reader)
        assert received == expected
        if fake.size - reader.waiting < 41 * 64:
            break


@pytest.mark.parametrize(
    ("machine", "may"), [("x86_64", True), ("AMD64", True), ("aarch64", False), ("i686", False)]
)
def test_rings_are_mapped_where_the_memory_order_allows_it(monkeypatch, machine, may):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert can_map_rings() is may
    assert ring_module.can_map_rings is can_map_rings

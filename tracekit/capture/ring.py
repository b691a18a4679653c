"""A BPF ring buffer read from Python: mapped, checked in one vectorised step, copied once.

The layout is kernel/bpf/ringbuf.c (v5.8 to v6.18): page 0 of the map is the consumer's position,
the only page that may be written; page 1 is the producer's; then the data, mapped twice in a row,
so that a slice never wraps. A record is a header of 8 bytes (u32 length with the flags BUSY and
DISCARD, u32 page offset) and its bytes, padded to a multiple of 8.
"""

from __future__ import annotations

import mmap
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.batches import join_records
from tracekit.errors import RecordTypeError

__all__ = ("RingBuffer", "can_map_rings")

_BUSY = 1 << 31  # BPF_RINGBUF_BUSY_BIT
_DISCARD = 1 << 30  # BPF_RINGBUF_DISCARD_BIT
_HEADER = 8  # BPF_RINGBUF_HDR_SZ
_FIRST_LOOK = 64  # records


def can_map_rings() -> bool:
    """Whether this machine's memory order lets Python read a ring buffer without barriers.

    x86 keeps loads in order and does not move a store before a load; other processors may, and
    there the worker reads the ring with bcc's own callback.
    """
    # Not i686: there the positions are 32 bits wide.
    return platform.machine() in {"x86_64", "AMD64"}


class RingBuffer:
    """The consumer's side of one ring buffer; there must be no other consumer.

    :param descriptor: the map's file descriptor; it is not closed here and not needed afterwards.
    :param size: the map's ``max_entries``, in bytes.
    :param dtype: the records' type; its ``itemsize`` is the length every record must have.
    """

    def __init__(self, descriptor: int, size: int, dtype: np.dtype[Any]) -> None:
        self._size = size
        self._mask = np.uint64(size - 1)
        self.dtype = dtype
        self._length = np.uint32(dtype.itemsize)
        self._stride = (_HEADER + dtype.itemsize + 7) // 8 * 8
        page = mmap.PAGESIZE
        consumer = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        producer = mmap.mmap(
            descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        # The maps live as long as these arrays: the kernel keeps the ring for that time.
        self._consumer: NDArray[np.uint64] = np.frombuffer(consumer, np.uint64, 1)
        self._producer: NDArray[np.uint64] = np.frombuffer(producer, np.uint64, 1)
        self._data: NDArray[np.uint8] = np.frombuffer(producer, np.uint8, 2 * size, page)

    @property
    def waiting(self) -> int:
        """How many bytes, headers included, were written and not yet read."""
        return int(self._producer[0]) - int(self._consumer[0])

    def read(self) -> NDArray[Any]:
        """All records that are complete now, copied, in the order they were reserved; shape (n,).

        The space is given back to the kernel before this returns.

        :raises RecordTypeError: the first record has another length than the dtype; it is passed
            over, so the next call goes on behind it. (What is in front of such a record comes
            first, in a call of its own.)
        """
        batches: list[NDArray[Any]] = []
        position = first = int(self._consumer[0])  # complete records lie between first and position
        end = int(self._producer[0])
        # Looking at all there is each time would take for ever where many records are discarded.
        look = _FIRST_LOOK
        while position < end:
            complete = self._complete_from(position, end, look)
            look = look * 2 if complete == look else _FIRST_LOOK
            position += complete * self._stride
            if complete:
                continue
            # the next record is not one of ours and complete: look at it alone
            header = int(self._header_at(position, 1)[0])
            if header == self._length:
                continue  # it was committed between the two looks
            if header & _BUSY:
                break
            batches += self._copies(first, position)
            if batches and not header & _DISCARD:
                first = position
                break
            length = header & ~(_BUSY | _DISCARD)
            position = first = position + (_HEADER + length + 7) // 8 * 8
            if not header & _DISCARD:
                self._consumer[0] = position
                raise RecordTypeError(
                    f"the ring buffer holds a record of {length} bytes, and the program's struct"
                    f" has {self._length}",
                    "send the whole struct, and one type of struct, to one ring buffer",
                )
        batches += self._copies(first, position)
        self._consumer[0] = position
        return batches[0] if len(batches) == 1 else join_records(batches, self.dtype)

    def _header_at(self, position: int, count: int) -> NDArray[np.uint32]:
        start = position & int(self._mask)
        return np.ndarray(
            (count,), np.uint32, self._data.data, offset=start, strides=(self._stride,)
        )

    def _complete_from(self, position: int, end: int, most: int) -> int:
        count = min((end - position) // self._stride, self._size // self._stride, most)
        if not count:
            return 0
        # One comparison covers busy, discarded and foreign records.
        different = self._header_at(position, count) != self._length
        return int(different.argmax()) if different.any() else count

    def _copies(self, first: int, behind: int) -> list[NDArray[Any]]:
        if first == behind:
            return []
        start = first & int(self._mask)
        # The headers are copied along: one memcpy, and a view that steps over them.
        copy = self._data[start : start + behind - first].copy()
        count = (behind - first) // self._stride
        shape, strides = (count,), (self._stride,)
        return [np.ndarray(shape, self.dtype, copy.data, offset=_HEADER, strides=strides)]

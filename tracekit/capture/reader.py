"""What a probe sent: collected from its ring buffer or its worker, kept until it is read."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.batches import join_records, order_by_time
from tracekit.capture.events import Counts
from tracekit.capture.loading import Loaded, watch_misses
from tracekit.capture.printk import join_printk, parse_printk, printk_dtype
from tracekit.capture.process import WorkerProcess
from tracekit.errors import RecordTypeError

__all__ = ("Reader",)

# Bytes kept between two takes. Then the buffers are left to fill, and what does not fit into them
# is counted as dropped, where the program counts.
_MOST_KEPT = 1 << 28


class Reader:
    """Collects the records of one loaded program; several threads may use it.

    :param prints: whether the program sends lines of ``bpf_trace_printk`` instead of records.
    """

    def __init__(self, worker: WorkerProcess, loaded: Loaded, *, prints: bool) -> None:
        self._worker = worker
        self._loaded = loaded
        self._prints = prints
        self._lock = threading.Lock()
        self._kept: list[NDArray[Any]] = []
        self._lost = 0  # as the kernel and bcc count
        self._dropped = 0  # in the worker, for want of room
        self._told = Counts()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the records; how long printed messages are, the events themselves tell."""
        return self._loaded.dtype if self._loaded.dtype is not None else printk_dtype(1)

    @property
    def waiting(self) -> int:
        """How many records are kept."""
        return sum(map(len, self._kept))

    @property
    def counts(self) -> Counts:
        """What was seen, sent, dropped and missed since the probe was attached."""
        counters, misses = self._loaded.counters, self._loaded.misses
        missed = misses.total if misses is not None else None
        if counters is not None:
            seen, sent, dropped = (int(value) for value in counters[:3])
            # the program and the kernel count the same losses
            return Counts(seen, sent, max(dropped, self._lost) + self._dropped, missed)
        lost = self._lost + self._dropped
        return Counts(dropped=lost if lost or self._loaded.counts_losses else None, missed=missed)

    def collect(self) -> None:
        """Take over what is in the buffers now.

        :raises RecordTypeError: the program sent a record of another length; it is passed over.
        :raises ProbeClosed: the worker was closed.
        :raises WorkerDied: it died.
        """
        with self._lock:
            self._worker.check()
            if sum(batch.nbytes for batch in self._kept) >= _MOST_KEPT:
                return
            ring = self._loaded.ring
            if ring is not None:
                self._keep(ring.read())
            elif self._prints or self._loaded.dtype is not None:
                self._ask()

    def take(self, count: int | None) -> tuple[NDArray[Any], Counts]:
        """Up to ``count`` of the records kept, by time; and what was counted since the last."""
        with self._lock:
            records = self._join()
            if count is not None and len(records) > count:
                self._kept = [records[count:]]
                records = records[:count]
            counts = self.counts
            new, self._told = counts - self._told, counts
            return records, new

    def watch_misses(self) -> None:
        """Count the misses of functions that were attached by now as well."""
        with self._lock:
            watch_misses(self._worker, self._loaded)

    def release(self) -> None:
        """Give what is mapped back to the kernel."""
        self._loaded.release()

    def _join(self) -> NDArray[Any]:
        kept, self._kept = self._kept, []
        if not kept:
            return np.empty(0, self.dtype)
        return order_by_time(join_printk(kept) if self._prints else join_records(kept, self.dtype))

    def _ask(self) -> None:
        reply = self._worker.request("read")
        self._lost += reply["lost"]
        self._dropped += reply["dropped"]
        if self._prints:
            records, lost = parse_printk(reply.payload)
            self._lost += lost
            self._keep(records)
        else:
            self._keep(np.frombuffer(reply.payload, self.dtype))
        if reply["foreign"]:
            raise RecordTypeError(
                f"the program sent a record of {reply['foreign']} bytes, and its struct has"
                f" {self.dtype.itemsize}",
                "send the whole struct, and one type of struct: perf_submit(args, &event,"
                " sizeof(event))",
            )

    def _keep(self, records: NDArray[Any]) -> None:
        if len(records):
            self._kept.append(records)

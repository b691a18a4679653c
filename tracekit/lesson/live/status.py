"""How a run of a live plot is doing: its state, its numbers, what reading costs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracekit.capture.probe import Probe

__all__ = ("Pace", "Status", "count_losses")

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_RATE_OVER = 1.0  # seconds over which the rate and the reader's share of a processor are taken
_WORDS = {
    "ready": "ready",
    "starting": "starting: compiling and attaching",
    "running": "running",
    "ended": "ended, nothing is attached",
    "failed": "failed, nothing is attached",
}


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is doing.

    ``state`` is ``"ready"``, ``"starting"``, ``"running"``, ``"ended"`` or ``"failed"``, the last
    with the ``error``; ``elapsed`` in seconds; ``events`` is how many were read and ``rate`` how
    many a second of late (of the whole run when it is over); ``lost`` how many were dropped, and
    ``missed`` how often the kernel did not run a program (see
    :class:`~tracekit.capture.events.Counts`), None where nobody counted; ``reader_cpu`` the part of
    one processor that reading took.
    """

    state: str = "ready"
    elapsed: float = 0.0
    events: int = 0
    rate: float = 0.0
    lost: int | None = None
    missed: int | None = None
    reader_cpu: float = 0.0
    error: BaseException | None = None

    @property
    def words(self) -> str:
        """The state, in words."""
        return _WORDS[self.state]

    @property
    def numbers(self) -> str:
        """Everything but the state and the error, as one line."""
        lost = "losses not counted" if self.lost is None else f"{self.lost:,} lost"
        missed = f" · {self.missed:,} missed" if self.missed else ""
        return (
            f"{self.elapsed:.1f} s · {self.events:,} events · {self.rate:,.0f} events/s · {lost}"
            f"{missed} · reader {self.reader_cpu:.1%} of a processor"
        )


class Pace:
    """Events a second, and what reading takes of a processor, over the last second or so.

    Reading is done by this thread, and by the probes' child processes where they have buffers.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)
        self._seen = [(0.0, 0, self._processor_time())]

    def _processor_time(self) -> float:
        return time.thread_time() + sum(map(_process_time, self._pids))

    def take(self, now: float, events: int) -> tuple[float, float]:
        """Both, when ``events`` have been read ``now`` seconds after the start."""
        self._seen.append((now, events, self._processor_time()))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _RATE_OVER:
            del self._seen[0]
        (before, old, cpu), (_, new, new_cpu) = self._seen[0], self._seen[-1]
        span = now - before
        return ((new - old) / span, (new_cpu - cpu) / span) if span > 0 else (0.0, 0.0)


def _process_time(pid: int) -> float:
    """Seconds that a process has had a processor, in steps of the clock tick; proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def count_losses(probes: Sequence[Probe]) -> tuple[int | None, int | None]:
    """How many events were dropped and missed, of all probes; None where one does not count."""
    counts = [probe.counts for probe in probes]
    dropped = [count.dropped for count in counts if count.dropped is not None]
    missed = [count.missed for count in counts if count.missed is not None]
    return (
        sum(dropped) if len(dropped) == len(counts) else None,
        sum(missed) if len(missed) == len(counts) else None,
    )

"""One run of an experiment: its probes opened, read on a thread of their own, and closed again.

Nothing here knows of a browser: what was read waits, bounded, until somebody draws it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.batches import join_records
from tracekit.capture.events import Counts, Events
from tracekit.capture.probe import Probe
from tracekit.errors import ProbeClosed, TracekitError
from tracekit.lesson.live.drawing import Drawing
from tracekit.lesson.live.panel import Panel, Traces
from tracekit.lesson.live.picture import Picture
from tracekit.lesson.live.status import Pace, Status, count_losses

__all__ = ("Experiment", "Run")

#: What Start enters and Stop leaves: it gives the probes whose events are drawn.
Experiment = Callable[[], AbstractContextManager[Probe | Sequence[Probe]]]

_READ_EVERY = 0.05  # seconds


class Run:
    """An experiment under way, on a thread of its own, for ``seconds`` at most.

    ``keep`` is how many of each probe's last events are kept whole.
    """

    def __init__(
        self, experiment: Experiment, panels: Iterable[Panel], *, seconds: float, keep: int
    ) -> None:
        self.seconds = seconds
        self._experiment = experiment
        self._panels = tuple(panels)
        self._keep = keep
        self._lock = threading.Lock()  # guards all that follows
        self._status = Status("starting")
        self._axis = seconds
        self._begin_ns = 0
        self._traces: tuple[Traces, ...] = ()
        self._kept: dict[str, list[Events]] = {}
        self._origin = ""
        self._until = 0.0  # seconds since the start when the buffers were last read
        self._stop = threading.Event()
        # Not the thread's own end: a join that is interrupted makes Python 3.10 to 3.12 believe
        # that the thread has ended (python/cpython issue 90882).
        self._over = threading.Event()
        threading.Thread(target=self._run, name="tracekit live", daemon=True).start()

    @property
    def status(self) -> Status:
        """How it is doing."""
        with self._lock:
            return self._status

    @property
    def running(self) -> bool:
        """Whether it is not over: until then something may be attached."""
        return not self._over.is_set()

    def stop(self) -> None:
        """Ask it to end; returns at once."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is attached any more; False when that takes longer."""
        return self._over.wait(timeout)

    def drawings(self) -> tuple[Drawing, ...]:
        """The panels as they are now."""
        with self._lock:
            if not self._traces:
                return tuple(Drawing(panel.title, self._axis, ()) for panel in self._panels)
            return tuple(traces.drawing(self._until) for traces in self._traces)

    def picture(self) -> Picture:
        """The panels as they are now, standing still."""
        parts = [part for part in (self.status.numbers, self._origin) if part]
        return Picture(self.drawings(), " · ".join(parts))

    def events(self, name: str | None = None) -> Events:
        """The last events of a probe, of the first unless named.

        :raises TracekitError: there is no probe of this name.
        """
        with self._lock:
            name = next(iter(self._kept), None) if name is None else name
            batches = self._kept.get(name or "")
            if not batches:
                known = ", ".join(self._kept) or "none yet"
                raise TracekitError(f"no probe {name!r} has run here", f"the probes are: {known}")
            batches = list(batches)
        records = join_records([batch.records for batch in batches], batches[-1].dtype)
        counts = sum((batch.counts for batch in batches), Counts())
        return replace(batches[-1], records=records[-self._keep :], counts=counts)

    # the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        state, error = "ended", None
        try:
            with ExitStack() as stack:
                opened = stack.enter_context(self._experiment())
                probes = list(opened) if isinstance(opened, Sequence) else [opened]
                self._check_names([probe.name for probe in probes])
                self._read_until_the_end(probes)
        except ProbeClosed:
            # a new probe took the place of one of these, or somebody closed it
            pass
        except BaseException as raised:
            state, error = "failed", raised
        with self._lock:
            old = self._status
            rate = old.events / old.elapsed if old.elapsed else 0.0
            self._status = replace(old, state=state, error=error, rate=rate)
        self._over.set()

    def _check_names(self, known: Sequence[str]) -> None:
        wanted = {panel.probe for panel in self._panels if panel.probe}
        wanted |= {panel.marks.probe for panel in self._panels if panel.marks}
        missing = sorted(wanted - set(known))
        if missing or not known:
            raise TracekitError(
                f"the experiment gives no probe {missing[0]!r}"
                if missing
                else "the experiment gives no probe",
                f"its probes are: {', '.join(known) or 'none'}; yield an open probe, or a list",
            )

    def _read_until_the_end(self, probes: Sequence[Probe]) -> None:
        entered = time.monotonic()
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        first = [(probe.name, probe.read()) for probe in probes]
        # Traffic that the experiment began may have been seen already. What came while not all of
        # its probes were attached says nothing about it.
        complete = max(probe.attached_at for probe in probes)
        times = np.concatenate([[now_ns], *(_nanoseconds(events) for _, events in first)])
        self._begin_ns = int(times[times >= complete].min())
        early = (now_ns - self._begin_ns) / 1e9
        with self._lock:
            self._axis = self.seconds + early
            self._traces = tuple(Traces(panel, self._axis) for panel in self._panels)
            self._status = Status("running")
        pace = Pace([probe.pid for probe in probes])
        self._take(first, early, probes, pace)
        while (left := entered + self.seconds - time.monotonic()) > 0:
            ended = self._stop.wait(min(_READ_EVERY, left))
            now = time.monotonic() - entered + early
            self._take([(probe.name, probe.read()) for probe in probes], now, probes, pace)
            if ended:
                break

    def _take(
        self,
        batches: Sequence[tuple[str, Events]],
        now: float,
        probes: Sequence[Probe],
        pace: Pace,
    ) -> None:
        timed = [(name, *self._since_the_start(events)) for name, events in batches]
        with self._lock:
            for traces in self._traces:
                wanted = traces.panel.probe or batches[0][0]
                marks = traces.panel.marks
                for name, events, times in timed:
                    if name == wanted and len(events):
                        traces.add(events, times)
                for name, events, times in timed:
                    if marks and name == marks.probe and len(events):
                        traces.add_marks(events, times)
            for name, events in batches:
                self._remember(name, events)
            self._until = now
            total = self._status.events + sum(len(events) for _, events in batches)
            rate, cpu = pace.take(now, total)
            lost, missed = count_losses(probes)
            self._status = Status("running", now, total, rate, lost, missed, cpu)

    def _since_the_start(self, events: Events) -> tuple[Events, NDArray[np.float64]]:
        times = (_nanoseconds(events) - self._begin_ns) / 1e9
        later = times >= 0
        return (events, times) if later.all() else (events[later], times[later])

    def _remember(self, name: str, events: Events) -> None:
        kept = self._kept.setdefault(name, [])
        self._origin = str(replace(events.origin, name=", ".join(self._kept)))
        if kept and not len(events):
            kept[-1] = replace(kept[-1], counts=kept[-1].counts + events.counts)
            return
        kept.append(events)
        while len(kept) > 1 and sum(map(len, kept[1:])) >= self._keep:
            kept[1] = replace(kept[1], counts=kept[0].counts + kept[1].counts)
            del kept[0]


def _nanoseconds(events: Events) -> NDArray[np.int64]:
    """When each event was, CLOCK_MONOTONIC, shape (n,)."""
    for name in ("ts", "common_ts"):
        if name in (events.dtype.names or ()) and events.dtype[name].kind in "iu":
            return events[name].astype(np.int64)
    raise TracekitError(
        f"the events of {events.origin.name} have no time in nanoseconds, so they can't be drawn"
        " over time",
        "send a field ts: u64 ts; data.ts = bpf_ktime_get_ns();",
    )

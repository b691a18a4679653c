import os
import threading
import time
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from tracekit.capture.events import Counts, Events, Origin
from tracekit.errors import ProbeClosed, TracekitError
from tracekit.lesson.live.panel import Marks, Panel
from tracekit.lesson.live.run import Run

DEADLINE = 10
COUNT = Panel("value", "value")


class Scripted:
    """Stands in for a probe: each read gives the next batch of values, at the time of the read."""

    def __init__(self, *batches, name="scripted", dropped=0, missed=None):
        self.name, self.batches, self.dropped = name, list(batches), dropped
        self.missed = missed
        self.pid = os.getpid()
        self.attached_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.entered = self.left = 0
        self.empty = threading.Event()  # it was read once more after its last batch

    def read(self):
        batch = self.batches.pop(0) if self.batches else None
        if batch is None:
            self.empty.set()
        if isinstance(batch, Exception):
            raise batch
        values = batch or []
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        rows = [(now + i, value) for i, value in enumerate(values)]
        records = np.array(rows, [("ts", "u8"), ("value", "u4")])
        counts = Counts(len(rows), len(rows), 0)
        return Events(records, Origin(self.name, "6.1", "live"), counts)

    @property
    def counts(self):
        return Counts(dropped=self.dropped, missed=self.missed)

    @contextmanager
    def experiment(self):
        self.entered += 1
        try:
            yield self
        finally:
            self.left += 1


def end(run):
    run.stop()
    assert run.join(DEADLINE)
    return run.status


def run_through(probe, *panels, keep=100):
    """Run until everything scripted was read."""
    run = Run(probe.experiment, panels or (COUNT,), seconds=DEADLINE, keep=keep)
    assert probe.empty.wait(DEADLINE)
    end(run)
    return run


def test_all_that_was_read_is_counted_drawn_and_given():
    probe = Scripted([1, 2], [], [3, 9, 4], dropped=7)
    run = run_through(probe)
    assert (run.status.state, run.status.events, run.status.lost) == ("ended", 5, 7)
    assert run.drawings()[0].lines[0].y.tolist() == [1, 2, 3, 9, 4]
    assert run.events()["value"].tolist() == [1, 2, 3, 9, 4]
    assert run.events("scripted").counts == Counts(5, 5, 0)
    assert "5 events" in run.picture().caption
    assert "scripted · live · Linux 6.1" in run.picture().caption
    assert (probe.entered, probe.left) == (1, 1)


@pytest.mark.parametrize(("dropped", "missed"), [(7, 2), (7, None), (0, 0), (None, 2)])
def test_what_was_dropped_and_missed_is_told(dropped, missed):
    status = run_through(Scripted([1], dropped=dropped, missed=missed)).status
    assert (status.lost, status.missed) == (dropped, missed)
    assert ("2 missed" in status.numbers) == (missed == 2)
    assert ("7 lost" in status.numbers) == (dropped == 7)
    assert ("losses not counted" in status.numbers) == (dropped is None)


def test_only_the_last_events_are_kept_and_all_are_counted():
    run = run_through(Scripted(*[[n, n] for n in range(50)]), keep=7)
    assert run.events()["value"].tolist() == [46, 47, 47, 48, 48, 49, 49]
    assert run.events().counts == Counts(100, 100, 0)
    assert run.status.events == 100


def test_it_ends_by_itself():
    probe = Scripted([1])
    run = Run(probe.experiment, [COUNT], seconds=0.3, keep=5)
    assert run.join(DEADLINE)
    assert run.status.state == "ended"
    assert 0.3 <= run.status.elapsed < DEADLINE
    assert probe.left == 1


def test_seconds_count_from_the_first_event():
    """Also one from before the experiment was ready: traffic may begin inside it."""
    probe = Scripted([5], [6])
    begin = time.monotonic()

    @contextmanager
    def slow():
        first = probe.read()
        probe.batches.insert(0, None)
        time.sleep(0.2)
        probe.read = iter_reads(first, probe.read)
        yield probe

    def iter_reads(first, then):
        waiting = [first]
        return lambda: waiting.pop() if waiting else then()

    run = Run(slow, [COUNT], seconds=DEADLINE, keep=5)
    assert probe.empty.wait(DEADLINE)
    assert run.join(0) is False
    deadline = time.monotonic() + DEADLINE
    while run.status.events < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    end(run)
    (line,) = run.drawings()[0].lines
    assert line.x[0] == 0
    assert 0.2 <= line.x[1] <= time.monotonic() - begin
    assert run.drawings()[0].seconds == pytest.approx(DEADLINE + 0.2, abs=2)


def test_what_came_before_all_probes_were_attached_is_not_drawn():
    probe = Scripted([5, 6], [7])
    early = probe.read()
    reads = [early, probe.read()]
    later = Scripted([], name="later")
    later.attached_at = int(early.records["ts"][-1])
    probe.read = lambda: reads.pop(0) if reads else Scripted().read()

    @contextmanager
    def both():
        yield probe, later

    run = Run(both, [COUNT], seconds=DEADLINE, keep=5)
    assert later.empty.wait(DEADLINE)
    deadline = time.monotonic() + DEADLINE
    while run.status.events < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    end(run)
    (line,) = run.drawings()[0].lines
    assert line.y.tolist() == [6, 7]
    assert line.x[0] == 0
    assert run.events()["value"].tolist() == [5, 6, 7]


@pytest.mark.parametrize("when", ["entering", "reading", "leaving"])
def test_what_goes_wrong_ends_it_and_is_kept(when):
    probe = Scripted([1], TracekitError("it broke", "mend it") if when == "reading" else [2])

    @contextmanager
    def experiment():
        if when == "entering":
            raise TracekitError("it broke", "mend it")
        with probe.experiment():
            yield probe
        if when == "leaving":
            raise TracekitError("it broke", "mend it")

    run = Run(experiment, [COUNT], seconds=0.3, keep=5)
    assert run.join(DEADLINE)
    assert run.status.state == "failed"
    assert str(run.status.error).startswith("it broke")
    assert probe.left == probe.entered
    assert run.picture().drawings[0].title == "value"


def test_a_probe_that_another_took_the_place_of_ends_it():
    run = Run(
        Scripted([1], ProbeClosed("closed", "run again")).experiment, [COUNT], seconds=9, keep=5
    )
    assert run.join(DEADLINE)
    assert (run.status.state, run.status.error) == ("ended", None)
    assert run.status.events == 1


def test_several_probes_each_in_its_panel():
    first = Scripted([1, 2], [3], name="first")
    second = Scripted([], [40], [50], name="second", dropped=None)

    @contextmanager
    def both():
        yield first, second

    panels = [
        Panel("a", "value", marks=Marks("late", probe="second")),
        Panel("b", "value", probe="second"),
    ]
    run = Run(both, panels, seconds=DEADLINE, keep=5)
    assert first.empty.wait(DEADLINE)
    assert second.empty.wait(DEADLINE)
    end(run)
    a, b = run.drawings()
    assert a.lines[0].y.tolist() == [1, 2, 3]
    assert a.lines[0].mark_y.tolist() == [3, 3]
    assert b.lines[0].y.tolist() == [40, 50]
    assert run.events("second")["value"].tolist() == [40, 50]
    assert run.status.lost is None  # one of them does not count
    with pytest.raises(TracekitError, match="the probes are: first, second"):
        run.events("third")


@pytest.mark.parametrize(
    "panel", [Panel("a", "value", probe="absent"), Panel("a", "value", marks=Marks("m", "absent"))]
)
def test_a_panel_of_a_probe_that_is_not_there_is_refused(panel):
    run = Run(Scripted([1]).experiment, [panel], seconds=9, keep=5)
    assert run.join(DEADLINE)
    assert "no probe 'absent'" in str(run.status.error)
    assert "its probes are: scripted" in str(run.status.error)


def test_an_experiment_without_a_probe_is_refused():
    run = Run(lambda: nullcontext([]), [COUNT], seconds=9, keep=5)
    assert run.join(DEADLINE)
    assert "the experiment gives no probe" in str(run.status.error)


def test_events_without_a_time_are_refused():
    class Timeless(Scripted):
        def read(self):
            records = np.zeros(1, [("value", "u4")])
            return Events(records, Origin("timeless", "6.1", "live"))

    run = Run(Timeless().experiment, [COUNT], seconds=9, keep=5)
    assert run.join(DEADLINE)
    assert "timeless have no time in nanoseconds" in str(run.status.error)


def test_the_rate_is_of_late():
    run = Run(Scripted(*[[1] * 10] * 8).experiment, [COUNT], seconds=0.6, keep=5)
    assert run.join(DEADLINE)
    status = run.status
    assert status.events == 80
    assert status.rate == pytest.approx(80 / status.elapsed)
    assert 0 <= status.reader_cpu < 1

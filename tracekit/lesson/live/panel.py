"""What one figure of a live plot shows: which values of which events, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracekit.capture.events import Events, show_value
from tracekit.errors import TracekitError
from tracekit.lesson.live.drawing import Drawing, Line
from tracekit.lesson.live.series import Rate, Series

__all__ = ("Marks", "Panel", "Traces")

#: A field's name, or a function of events that gives one value for each.
Column = str | Callable[[Events], ArrayLike]

_LINES = 6  # more can't be told apart
_KEPT = 32  # values of `by` whose events are remembered
_MARKS = 500


@dataclass(frozen=True, slots=True)
class Marks:
    """The events of another probe as points on a panel's lines, each at its own time.

    ``label`` says what they are, ``probe`` is the other probe's name; ``by`` finds the line, as
    :class:`Panel`'s ``by`` does for the panel's own events.
    """

    label: str
    probe: str
    by: Column | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of a live plot, over seconds since the start.

    ``title`` says what is drawn and in which unit. ``y`` is a field's name, or a function of
    :class:`~tracekit.capture.events.Events` that gives one number for each event (NaN: not drawn),
    or a mapping of labels to either; None draws the number of events a second. ``by``, a field or
    a function too, draws one line for each of its values. ``names`` are labels for values of
    ``by``, looked up at each drawing, so that an experiment may fill them in late; where they are
    given, only the values they name are drawn. ``probe`` is the name of the probe whose events are
    drawn, the experiment's first unless given. Where nothing came for more than ``gap`` seconds the
    line is interrupted; without a ``gap`` it is drawn from each value straight to the next.

    >>> Panel("congestion window, segments", "snd_cwnd", by="sock_cookie").lines_of_each
    {'snd_cwnd': 'snd_cwnd'}
    """

    title: str
    y: Column | Mapping[str, Column] | None = None
    by: Column | None = None
    names: Mapping[Any, str] | None = None
    probe: str | None = None
    marks: Marks | None = None
    gap: float | None = None

    @property
    def lines_of_each(self) -> Mapping[str, Column]:
        """What is drawn for each value of ``by``: labels and columns; empty for a rate."""
        if self.y is None:
            return {}
        if isinstance(self.y, Mapping):
            return self.y
        return {self.y if isinstance(self.y, str) else "": self.y}


class Traces:
    """The lines of one panel during one run of ``seconds``; bounded, whatever comes."""

    def __init__(self, panel: Panel, seconds: float) -> None:
        self.panel = panel
        self._seconds = seconds
        self._series: dict[Any, dict[str, Series]] = {}
        self._rates: dict[Any, Rate] = {}
        self._marks: dict[Any, list[tuple[float, float]]] = {}
        self._marked: dict[Any, int] = {}  # how many came; only the last are kept
        self._not_kept = False

    def add(self, events: Events, times: NDArray[np.float64]) -> None:
        """Add events of the panel's probe; ``times``, shape (n,), in seconds since the start."""
        columns = {
            label: _column(events, column).astype(np.float64)
            for label, column in self.panel.lines_of_each.items()
        }
        for key, chosen in _groups(events, self.panel.by):
            if not self._keeps(key):
                continue
            if self.panel.y is None:
                rate = self._rates.setdefault(key, Rate(self._seconds))
                rate.add(times[chosen])
            for label, values in columns.items():
                lines = self._series.setdefault(key, {})
                line = lines.setdefault(label, Series(self._seconds))
                line.add(times[chosen], values[chosen])

    def add_marks(self, events: Events, times: NDArray[np.float64]) -> None:
        """Add events to mark, after those of the panel's probe that were read at the same time."""
        marks = self.panel.marks
        for key, chosen in _groups(events, marks.by if marks else None):
            lines = self._series.get(key)
            if lines:
                heights = next(iter(lines.values())).values_at(times[chosen])
                points = zip(times[chosen].tolist(), heights.tolist(), strict=True)
                kept = self._marks.setdefault(key, [])
                new = [point for point in points if not np.isnan(point[1])]
                self._marked[key] = self._marked.get(key, 0) + len(new)
                kept += new
                del kept[:-_MARKS]

    def drawing(self, until: float) -> Drawing:
        """The lines and marks as they are ``until`` seconds after the start."""
        lines: list[Line] = []
        left_out = self._not_kept
        known: Mapping[Any, object] = self._rates or self._series
        # In the order of the names, a line has the same colour in each panel and each run.
        named = known if self.panel.names is None else list(self.panel.names)
        for key in named:
            if key not in known:
                continue
            name = self._name(key)
            if name is None:
                continue
            new = list(self._lines(key, name, until))
            left_out |= len(lines) + len(new) > _LINES
            lines += new[: _LINES - len(lines)]
        note = f"at most {_LINES} lines are drawn, and there are more" if left_out else ""
        return Drawing(self.panel.title, self._seconds, tuple(lines), note)

    def _lines(self, key: Any, name: str, until: float) -> Iterator[Line]:
        if key in self._rates:
            t, v = self._rates[key].points(until)
            last = float(v[-1]) if len(v) else None
            yield Line(name or "events a second", t, v, last, stepped=True)
        marks = self._marks.get(key)
        for label, series in self._series.get(key, {}).items():
            t, v = _interrupted(*series.points(), self.panel.gap)
            parts = [part for part in (name, label) if part]
            # a single column needs no label where the lines have names
            full = " ".join(parts[:1] if name and len(self.panel.lines_of_each) == 1 else parts)
            line = Line(full or self.panel.title, t, v, series.last)
            if marks and self.panel.marks:
                x, y = np.array(marks).T
                line = replace(
                    line,
                    marked=self.panel.marks.label,
                    mark_count=self._marked[key],
                    mark_x=x,
                    mark_y=y,
                )
                marks = None  # on the first line of each
            yield line

    def _keeps(self, key: Any) -> bool:
        named = self.panel.names is not None and key in self.panel.names
        known = key in self._series or key in self._rates
        room = len(self._series) + len(self._rates) < _KEPT
        if not (named or known or room):
            self._not_kept |= self.panel.names is None
            return False
        return True

    def _name(self, key: Any) -> str | None:
        if self.panel.by is None:
            return ""
        if self.panel.names is not None:
            return self.panel.names.get(key)
        by = self.panel.by if isinstance(self.panel.by, str) else ""
        return f"{by} {show_value(key)}".strip()


def _interrupted(
    times: NDArray[np.float64], values: NDArray[np.float64], gap: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points with one that is not a number in each gap: there the line is interrupted."""
    if gap is None or len(times) < 2:
        return times, values
    before = np.flatnonzero(times[1:] - times[:-1] > gap) + 1
    return np.insert(times, before, times[before - 1]), np.insert(values, before, np.nan)


def _column(events: Events, column: Column) -> NDArray[Any]:
    values = np.asarray(events[column] if isinstance(column, str) else column(events))
    if values.shape != (len(events),):
        name = column if isinstance(column, str) else getattr(column, "__name__", "the function")
        raise TracekitError(
            f"{name} gives an array of shape {values.shape} for {len(events)} events",
            "draw one number for each event",
        )
    return values


def _groups(events: Events, by: Column | None) -> Iterator[tuple[Any, Any]]:
    """Each value of ``by`` and which of the events have it."""
    if by is None:
        yield None, slice(None)
        return
    keys = _column(events, by)
    if not len(keys) or (keys == keys[0]).all():
        if len(keys):
            yield keys[0].item(), slice(None)
        return
    for key in np.unique(keys):
        yield key.item(), np.flatnonzero(keys == key)

"""The points of one line, bounded however many events arrive: no peak is lost.

Time is cut into bins about as wide as a pixel. Of each bin the smallest and the largest value are
kept, each at its own time; a bin with one or two values keeps them as they are.

>>> line = Series(seconds=1.0, bins=10)
>>> line.add([0.11, 0.12, 0.13, 0.14], [5, 9, 1, 5])
>>> [column.tolist() for column in line.points()]
[[0.12, 0.13, 0.14], [9.0, 1.0, 5.0]]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ("BINS", "Rate", "Series")

#: Bins of one line: two points each, about as many as a figure has pixels.
BINS = 500
# Fewer and wider, because the steps of small counts are hard to read.
_RATE_BINS, _RATE_WIDTH = 100, 0.2

_FIRST = np.zeros(1, np.intp)

Points = tuple[NDArray[np.float64], NDArray[np.float64]]


class Series:
    """Values over time, at most two in each of ``bins`` equal parts of ``seconds``, and the last.

    ``count`` is how many values came, ``lowest`` and ``highest`` their range, None before the
    first; ``last`` is the value that came last.
    """

    def __init__(self, seconds: float, bins: int = BINS) -> None:
        self._bins_a_second = bins / seconds
        # of each bin: the time and the value of its smallest and of its largest
        self._small = np.full((2, bins), np.nan)
        self._large = np.full((2, bins), np.nan)
        self._last_time = np.nan
        self.count = 0
        self.last = self.lowest = self.highest = None

    last: float | None
    lowest: float | None
    highest: float | None

    def add(self, times: ArrayLike, values: ArrayLike) -> None:
        """Add values, shape (n,), in the order of their times (seconds); NaN are left out.

        Times outside of the range fall into the first or the last bin.
        """
        t, v = np.asarray(times, np.float64), np.asarray(values, np.float64)
        real = ~np.isnan(v)
        if not real.all():
            t, v = t[real], v[real]
        if not len(v):
            return
        places = _places(t * self._bins_a_second, self._small.shape[1])
        starts = np.flatnonzero(places[1:] != places[:-1]) + 1
        starts = np.concatenate([_FIRST, starts])
        touched = places[starts]
        for kept, extreme in ((self._small, np.minimum), (self._large, np.maximum)):
            best = extreme.reduceat(v, starts)
            at = _first_equal(v, best, starts)
            # NaN, where the bin was empty, is less or greater than nothing
            better = ~(extreme(kept[1, touched], best) == kept[1, touched])
            kept[:, touched[better]] = t[at[better]], best[better]
        self._last_time, self.last = float(t[-1]), float(v[-1])
        self.count += len(v)
        low, high = float(v.min()), float(v.max())
        self.lowest = low if self.lowest is None else min(self.lowest, low)
        self.highest = high if self.highest is None else max(self.highest, high)

    def points(self) -> Points:
        """Times and values, float64, shape (m,) each, in the order of time; m ≤ 2 · bins + 1."""
        if self.last is None:
            return np.empty(0), np.empty(0)
        filled = ~np.isnan(self._small[1])
        small, large = self._small[:, filled], self._large[:, filled]
        pairs = np.stack([small, large], axis=2)  # time and value, bin, which of the two
        order = np.argsort(pairs[0], axis=1, kind="stable")
        t, v = (np.take_along_axis(column, order, axis=1) for column in pairs)
        keep = np.ones(t.shape, bool)
        keep[:, 1] = (t[:, 0] != t[:, 1]) | (v[:, 0] != v[:, 1])
        times, values = t[keep], v[keep]
        behind = self._last_time > times[-1]
        if behind or (self._last_time == times[-1] and self.last != values[-1]):
            times, values = np.append(times, self._last_time), np.append(values, self.last)
        return times, values

    def values_at(self, times: ArrayLike) -> NDArray[np.float64]:
        """The value drawn last at or before each time, shape (n,); NaN where there was none."""
        t, v = self.points()
        at = np.searchsorted(t, np.asarray(times, np.float64), side="right") - 1
        return np.where(at >= 0, v[at], np.nan) if len(v) else np.full(at.shape, np.nan)


class Rate:
    """Events a second, counted in equal parts of ``seconds``; a stepped line.

    The parts are a hundred at most, and 0.2 s long at least, unless ``bins`` says how many.

    >>> rate = Rate(seconds=2.0, bins=4)
    >>> rate.add([0.1, 0.2, 0.3, 0.6])
    >>> [column.tolist() for column in rate.points(until=1.4)]
    [[0.0, 0.5, 1.0], [6.0, 2.0, 2.0]]
    """

    def __init__(self, seconds: float, bins: int | None = None) -> None:
        if bins is None:
            bins = max(1, min(_RATE_BINS, round(seconds / _RATE_WIDTH)))
        self._width = seconds / bins
        self._events = np.zeros(bins, np.int64)
        self.count = 0

    def add(self, times: ArrayLike) -> None:
        """Count events at these times, shape (n,), in seconds."""
        t = np.asarray(times, np.float64)
        bins = len(self._events)
        self._events += np.bincount(_places(t / self._width, bins), minlength=bins)
        self.count += len(t)

    def points(self, until: float) -> Points:
        """Where each step begins and how high it is; a part that is not over yet is left out.

        The last point closes the last step.
        """
        over = min(int(until / self._width + 1e-9), len(self._events))
        if not over:
            return np.empty(0), np.empty(0)
        times = np.arange(over + 1, dtype=np.float64) * self._width
        steps = self._events[:over].astype(np.float64) / self._width
        return times, np.append(steps, steps[-1])


def _places(exact: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Which bin each falls into, the first and the last taking what lies outside."""
    return np.minimum(np.maximum(exact.astype(np.intp), 0), bins - 1)


def _first_equal(
    values: NDArray[np.float64], wanted: NDArray[np.float64], starts: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Where, in each group that begins at ``starts``, its wanted value stands first."""
    sizes = np.empty_like(starts)
    sizes[:-1] = starts[1:] - starts[:-1]
    sizes[-1] = len(values) - starts[-1]
    hits = np.flatnonzero(values == np.repeat(wanted, sizes))
    return hits[np.searchsorted(hits, starts)]

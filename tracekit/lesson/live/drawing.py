"""What a figure shows at one moment: lines with their points, marks, a title.

>>> line = Line("snd_cwnd", np.array([0.0, 0.5, 1.0]), np.array([10.0, 14.0, 7.0]), 7.0)
>>> Drawing("window, segments", 1.0, (line,)).rows[0].cells
('snd_cwnd', '3', '10', '7', '14', '7')
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracekit.tracepoints.table import Row

__all__ = ("Drawing", "Line", "short")


def _nothing() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line: ``x`` in seconds and ``y``, float64, shape (n,), and the value that came last.

    It is interrupted where ``y`` is NaN. ``stepped``: a value holds until the next. ``marked`` says
    what the points at ``mark_x``, ``mark_y`` are, shape (m,): the last of ``mark_count``.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    last: float | None = None
    stepped: bool = False
    marked: str = ""
    mark_count: int = 0
    mark_x: NDArray[np.float64] = field(default_factory=_nothing)
    mark_y: NDArray[np.float64] = field(default_factory=_nothing)

    @property
    def values(self) -> NDArray[np.float64]:
        """``y`` without what is not a number."""
        return self.y[~np.isnan(self.y)]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure: its title, how many seconds its axis has, its lines, and what is not drawn."""

    title: str
    seconds: float
    lines: tuple[Line, ...]
    note: str = ""

    @property
    def value_range(self) -> tuple[float, float]:
        """The smallest and the largest value drawn; 0 and 1 where there is none."""
        drawn = [line.values for line in self.lines if len(line.y)]
        if not drawn:
            return 0.0, 1.0
        low, high = min(float(y.min()) for y in drawn), max(float(y.max()) for y in drawn)
        # a rate says nothing without its zero
        return (min(low, 0.0) if any(line.stepped for line in self.lines) else low), high

    @property
    def rows(self) -> list[Row]:
        """One row for each line: how many points it has, and its values in numbers."""
        rows = []
        for line in self.lines:
            values = line.values
            numbers = [f"{len(values):,}"]
            if len(values):
                ends = (values[0], values.min(), values.max(), values[-1])
                numbers += [short(value) for value in ends]
            rows.append(Row((line.label, *numbers, *[""] * (5 - len(numbers)))))
            if line.marked:
                rows.append(
                    Row((f"{line.label}: {line.marked}", f"{line.mark_count:,}", *[""] * 4))
                )
        return rows


def short(value: float) -> str:
    """A number to read at a glance: ``123,456``, ``31.25``, ``0.0371``."""
    whole = abs(value) >= 100 or float(value).is_integer()
    return f"{value:,.0f}" if whole else f"{value:.4g}"

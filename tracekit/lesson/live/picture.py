"""What a run of a live plot left: the same figures standing still, as SVG, as a table, as text.

>>> line = Line("snd_cwnd", np.array([0.0, 0.5, 1.0]), np.array([10.0, 14.0, 7.0]), 7.0)
>>> Picture((Drawing("window, segments", 1.0, (line,)),), "3 events · live · Linux 6.18.44")
3 events · live · Linux 6.18.44
window, segments
line      points  first  lowest  highest  last
snd_cwnd       3     10       7       14     7
snd_cwnd  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄████████████████████████
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from tracekit.lesson.live import chart_svg
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("Drawing", "Line", "Picture")

_BLOCKS = "▁▂▃▄▅▆▇█"
_LETTERS = 48
_COLUMNS = ("line", "points", "first", "lowest", "highest", "last")


def _nothing() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line: ``x`` in seconds and ``y``, float64, shape (n,), and the value that came last.

    ``stepped``: a value holds until the next. ``marked`` says what the points at ``mark_x``,
    ``mark_y`` are, shape (m,).
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    last: float | None = None
    stepped: bool = False
    marked: str = ""
    mark_x: NDArray[np.float64] = field(default_factory=_nothing)
    mark_y: NDArray[np.float64] = field(default_factory=_nothing)


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
        drawn = [line.y for line in self.lines if len(line.y)]
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
            numbers = [f"{len(line.y):,}"]
            if len(line.y):
                ends = (line.y[0], line.y.min(), line.y.max(), line.y[-1])
                numbers += [short(value) for value in ends]
            rows.append(Row((line.label, *numbers, *[""] * (5 - len(numbers)))))
            if line.marked:
                rows.append(
                    Row((f"{line.label}: {line.marked}", f"{len(line.mark_x):,}", *[""] * 4))
                )
        return rows


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """The figures of one run, standing still; ``caption`` says what was counted and where."""

    drawings: tuple[Drawing, ...]
    caption: str

    def svg(self) -> str:
        """All figures, one above the other, as one SVG image in the colour of the page's text."""
        return chart_svg.svg(self.drawings)

    def table(self) -> str:
        """The lines in numbers, as HTML; a heading for each figure."""
        return "".join(
            html_table(drawing.title, _COLUMNS, drawing.rows, right=range(1, 6))
            for drawing in self.drawings
        )

    def _repr_html_(self) -> str:
        return (
            f'<div style="overflow-x:auto"><p>{escape(self.caption)}</p>{self.svg()}'
            f"<details><summary>the same in numbers</summary>{self.table()}</details></div>"
        )

    def __repr__(self) -> str:
        return "\n".join([self.caption, *self._lines()])

    def _lines(self) -> Iterator[str]:
        for drawing in self.drawings:
            yield drawing.title
            if not drawing.lines:
                yield "no events"
                continue
            yield text_table(_COLUMNS, drawing.rows, right=range(1, 6))
            width = max(len(line.label) for line in drawing.lines)
            for line in drawing.lines:
                yield f"{line.label:<{width}}  {_blocks(line, drawing.seconds)}"
            if drawing.note:
                yield drawing.note


def short(value: float) -> str:
    """A number to read at a glance: ``123,456``, ``31.25``, ``0.0371``."""
    whole = abs(value) >= 100 or float(value).is_integer()
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def _blocks(line: Line, seconds: float) -> str:
    """The line as letters of different heights, one for each equal part of the time."""
    if not len(line.y):
        return ""
    times = np.arange(_LETTERS) * seconds / _LETTERS
    at = np.searchsorted(line.x, times, side="right") - 1
    low, span = line.y.min(), np.ptp(line.y)
    steps = np.rint((line.y - low) / (span or 1) * (len(_BLOCKS) - 1)).astype(int)
    past = times > line.x[-1]
    letters = (
        " " if place < 0 or over else _BLOCKS[steps[place]]
        for place, over in zip(at, past, strict=True)
    )
    return "".join(letters).rstrip()

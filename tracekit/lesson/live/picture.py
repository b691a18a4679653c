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

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from tracekit.lesson.live import chart_svg
from tracekit.lesson.live.drawing import Drawing, Line
from tracekit.tracepoints.table import html_table, text_table

__all__ = ("Picture",)

_BLOCKS = "▁▂▃▄▅▆▇█"
_LETTERS = 48
_COLUMNS = ("line", "points", "first", "lowest", "highest", "last")


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
        return "\n".join([textwrap.fill(self.caption, 80), *self._lines()])

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


def _blocks(line: Line, seconds: float) -> str:
    """The line as letters of different heights, one for each equal part of the time."""
    if not len(line.y):
        return ""
    times = np.arange(_LETTERS) * seconds / _LETTERS
    at = np.searchsorted(line.x, times, side="right") - 1
    low, span = line.values.min(), np.ptp(line.values)
    missing = np.isnan(line.y)
    steps = np.rint((np.where(missing, low, line.y) - low) / (span or 1) * (len(_BLOCKS) - 1))
    letters = (
        " " if place < 0 or missing[place] or time > line.x[-1] else _BLOCKS[int(steps[place])]
        for place, time in zip(at, times, strict=True)
    )
    return "".join(letters).rstrip()

"""Drawings on the page: one bqplot figure for each panel, changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import bqplot
import ipywidgets
import numpy as np

from tracekit.lesson.live.axis import round_ticks, value_axis
from tracekit.lesson.live.chart_svg import DASHES, HUES
from tracekit.lesson.live.drawing import Drawing, Line, short

__all__ = ("PanelFigure",)

_STYLES = {"": "solid", "7 3": "dashed", "2 3": "dotted", "9 3 2 3": "dash_dotted"}
_NONE = np.empty(0)
# d3-format. Without one, bqplot 0.13 guesses, and fails where a scale has no width yet.
_NUMBER = ",.6~g"
_TICKS = 6  # more overlap in a narrow figure


class PanelFigure:
    """The figure of one panel, with a heading that says each line's name and last value.

    bqplot is handed float64 only: it wraps int64 silently, and uint64 blanks the figure. No Bars:
    they leave empty groups behind at each update.
    """

    def __init__(self, drawing: Drawing) -> None:
        """Make the figure; needs bqplot and ipywidgets."""
        self._x = bqplot.LinearScale(min=0.0, max=float(drawing.seconds))
        self._y = bqplot.LinearScale(min=0.0)
        self._lines: list[Any] = []
        self._marks: list[Any] = []
        self.heading = ipywidgets.HTML()
        self._x_axis = bqplot.Axis(
            scale=self._x, label="seconds", grid_lines="none", tick_format=_NUMBER
        )
        self._y_axis = bqplot.Axis(
            scale=self._y, orientation="vertical", grid_lines="dashed", tick_format=_NUMBER
        )
        self.figure = bqplot.Figure(
            marks=[],
            axes=[
                self._x_axis,
                self._y_axis,
            ],
            fig_margin={"top": 8, "bottom": 38, "left": 60, "right": 12},
            display_toolbar=False,  # what it moves, the next update would move back
            padding_x=0.0,
            padding_y=0.0,
            min_aspect_ratio=0.5,
            max_aspect_ratio=8,
            layout={"width": "100%", "height": "240px", "min_width": "0"},
        )
        self.figure.add_class("tracekit-figure")
        self.box = ipywidgets.VBox(
            [self.heading, self.figure],
            layout={"flex": "1 1 340px", "min_width": "0", "overflow": "hidden"},
        )
        self.show(drawing, words=True)

    def show(self, drawing: Drawing, *, words: bool) -> None:
        """Bring the figure up to date, and the heading's ``words`` too where wanted."""
        if self._x.max != drawing.seconds or self._x_axis.tick_values is None:
            self._x.max = float(drawing.seconds)
            self._x_axis.tick_values = np.array(round_ticks(0, drawing.seconds, _TICKS))
        axis = value_axis(*drawing.value_range)
        if (self._y.min, self._y.max) != (axis.low, axis.high):
            with self._y.hold_sync():
                self._y.min, self._y.max = axis.low, axis.high
            self._y_axis.tick_values = np.array(axis.ticks)
        self._make_room(len(drawing.lines))
        empty = [Line("", _NONE, _NONE)] * (len(self._lines) - len(drawing.lines))
        for shown, marks, line in zip(
            self._lines, self._marks, [*drawing.lines, *empty], strict=True
        ):
            self._show_line(shown, line)
            if len(marks.x) != len(line.mark_x) or len(line.mark_x):
                _set(marks, line.mark_x, line.mark_y)
        if words and self.heading.value != (text := heading(drawing)):
            self.heading.value = text

    def _show_line(self, shown: Any, line: Line) -> None:
        style = "step-after" if line.stepped else "linear"
        if shown.interpolation != style:
            shown.interpolation = style
        _set(shown, line.x, line.y)

    def _make_room(self, count: int) -> None:
        missing = range(len(self._lines), count)
        for index in missing:
            hue = HUES[index % len(HUES)]
            scales = {"x": self._x, "y": self._y}
            self._lines.append(
                bqplot.Lines(
                    x=_NONE,
                    y=_NONE,
                    scales=scales,
                    colors=[hue],
                    stroke_width=1.8,
                    line_style=_STYLES[DASHES[index % len(DASHES)]],
                )
            )
            self._marks.append(
                bqplot.Scatter(
                    x=_NONE,
                    y=_NONE,
                    scales=scales,
                    colors=[hue],
                    marker="triangle-down",
                    default_size=60,
                    stroke="gray",
                )
            )
        if missing:
            self.figure.marks = [*self._lines, *self._marks]


def heading(drawing: Drawing) -> str:
    """The title and, for each line, its stroke, its name, its last value: HTML."""
    return (
        f"<div><b>{escape(drawing.title)}</b></div>"
        '<div style="display:flex;flex-wrap:wrap;gap:0 1.2em;line-height:1.5">'
        + "".join(_legend(drawing.lines))
        + (f"<i>{escape(drawing.note)}</i>" if drawing.note else "")
        + "</div>"
    )


def _legend(lines: Sequence[Line]) -> list[str]:
    parts = []
    for index, line in enumerate(lines):
        hue, dash = HUES[index % len(HUES)], DASHES[index % len(DASHES)]
        value = "" if line.last is None else f" <b>{short(line.last)}</b>"
        marked = ""
        if line.marked:
            marked = f" · <span style='color:{hue}'>▼</span> {line.mark_count:,} {line.marked}"
        parts.append(
            '<span><svg width="24" height="8" aria-hidden="true"><line x1="0" x2="24" y1="4" y2="4"'
            f' stroke="{hue}" stroke-width="2.5" stroke-dasharray="{dash}"/></svg>'
            f" {escape(line.label)}{value}{marked}</span>"
        )
    return parts


def _set(mark: Any, x: Any, y: Any) -> None:
    if len(mark.x) == len(x) and np.array_equal(mark.x, x) and np.array_equal(mark.y, y, True):
        return
    with mark.hold_sync():
        mark.x, mark.y = x, y

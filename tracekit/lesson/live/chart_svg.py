"""Drawings as one SVG image: lines over seconds, with axes, marks and a legend, in any theme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from tracekit.lesson.live.axis import round_ticks, value_axis
from tracekit.lesson.live.drawing import Drawing, Line

__all__ = ("DASHES", "HUES", "svg")

# Okabe and Ito's colours, without the two that are faint on white; a line has its own dashes too.
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "", "7 3")

_WIDTH, _HEIGHT = 720, 230  # pixels of one drawing
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 44, 34
_FONT = "font-family:system-ui,sans-serif;font-size:12px"
_LETTER = 6.6  # a letter's width, about
_TEXT = 'fill="currentColor"'


def svg(drawings: Sequence[Drawing]) -> str:
    """All drawings, one above the other, as one SVG image."""
    height = _HEIGHT * len(drawings)
    title = "; ".join(drawing.title for drawing in drawings)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img" style="{_FONT};max-width:100%;height:auto">',
        f"<title>{escape(title)}</title>",
    ]
    for index, drawing in enumerate(drawings):
        parts.append(f'<g transform="translate(0 {index * _HEIGHT})">')
        parts += _drawing(drawing)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"])


def _drawing(drawing: Drawing) -> Iterator[str]:
    yield f'<text x="0" y="14" {_TEXT} font-weight="600">{escape(drawing.title)}</text>'
    yield from _legend(drawing.lines)
    axis = value_axis(*drawing.value_range)
    low, high = axis.low, axis.high
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    base = _TOP + down

    def place(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.clip(x, 0, drawing.seconds) / drawing.seconds
        return np.stack(
            [_LEFT + inside * across, base - (y - low) / (high - low) * down],
            axis=1,
        )

    for tick in axis.ticks:
        y = base - (tick - low) / (high - low) * down
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
            ' stroke="currentColor" stroke-opacity=".15"/>'
        )
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" {_TEXT}>{tick:,g}</text>'
    for second in round_ticks(0, drawing.seconds, 8):
        x = _LEFT + second / drawing.seconds * across
        yield f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle" {_TEXT}>{second:g}</text>'
    yield (
        f'<text x="{_WIDTH - _RIGHT}" y="{base + 30}" text-anchor="end" {_TEXT}>seconds</text>'
        f'<path d="M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}" fill="none" stroke="currentColor"/>'
    )
    for index, line in enumerate(drawing.lines):
        yield from _line(line, index, place(line.x, line.y))
        for x, y in place(line.mark_x, line.mark_y):
            yield _mark(x, y, index)
    if not any(len(line.y) for line in drawing.lines):
        yield f'<text x="{_LEFT + 12}" y="{_TOP + 20}" {_TEXT}>no events</text>'
    if drawing.note:
        yield f'<text x="{_LEFT}" y="{base + 30}" {_TEXT}>{escape(drawing.note)}</text>'


def _line(line: Line, index: int, points: NDArray[np.float64]) -> Iterator[str]:
    if line.stepped and len(points):
        points = _steps(points)
    # a new piece of the line begins after each point that is not a number
    pieces = np.split(points, np.flatnonzero(np.isnan(points[:, 1])))
    path = "".join(
        "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in piece[np.isfinite(piece[:, 1])])
        for piece in pieces
        if np.isfinite(piece[:, 1]).any()
    )
    hue, dash = HUES[index % len(HUES)], DASHES[index % len(DASHES)]
    yield (
        f'<path class="line" d="{path}" fill="none" stroke="{hue}" stroke-width="1.8"'
        f' stroke-dasharray="{dash}" stroke-linejoin="round"><title>{escape(line.label)}</title>'
        "</path>"
    )


def _steps(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points with a corner between each two: a value holds until the next."""
    x = np.repeat(points[:, 0], 2)[1:]
    y = np.repeat(points[:, 1], 2)[:-1]
    return np.stack([x, y], axis=1)


def _mark(x: float, y: float, index: int) -> str:
    # a triangle that stands on the line
    return (
        f'<path d="M{x:.1f} {y:.1f}l-5 -9h10z" fill="{HUES[index % len(HUES)]}"'
        ' stroke="currentColor" stroke-width=".7"/>'
    )


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    x = 0.0
    for index, line in enumerate(lines):
        hue, dash = HUES[index % len(HUES)], DASHES[index % len(DASHES)]
        yield (
            f'<line x1="{x:.0f}" x2="{x + 22:.0f}" y1="28" y2="28" stroke="{hue}"'
            f' stroke-width="2.5" stroke-dasharray="{dash}"/>'
            f'<text x="{x + 27:.0f}" y="32" {_TEXT}>{escape(line.label)}</text>'
        )
        x += 27 + _LETTER * len(line.label) + 16
        if line.marked:
            yield _mark(x + 5, 33, index)
            yield f'<text x="{x + 14:.0f}" y="32" {_TEXT}>{escape(line.marked)}</text>'
            x += 14 + _LETTER * len(line.marked) + 16

"""A few columns drawn one above the other, each on its own scale: for shapes, not for reading off.

>>> curves({"a window": [1, 2, 4, 8, 9, 9], "its half": [1, 1, 1, 1, 1, 1]})
a window  from 1 to 9, 6 values
▁▂▄▇██
its half  always 1, 6 values
▁▁▁▁▁▁
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ("Curves", "curves")

_LETTERS = 72  # columns of a line of text
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _TITLE, _GAP = 560, 70, 20, 14  # pixels
_POINTS = 560  # more can't be told apart
_FONT = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
# Okabe and Ito's colours; each curve also has its name above it.
_HUES = ("#e69f00", "#0072b2", "#009e73")


@dataclass(frozen=True, slots=True, repr=False)
class Curves:
    """Columns of numbers by their titles, shape (n,) each; drawn in a notebook, else as text."""

    columns: Mapping[str, NDArray[np.float64]]

    def svg(self) -> str:
        """The curves as an SVG image, in the colour of the page's text."""
        step = _TITLE + _HEIGHT + _GAP
        height = step * len(self.columns)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" role="img" style="{_FONT};max-width:100%">',
            f"<title>{escape(', '.join(self.columns))}</title>",
        ]
        for index, (title, values) in enumerate(self.columns.items()):
            parts += _panel(title, values, index * step, _HUES[index % len(_HUES)])
        return "\n".join([*parts, "</svg>"])

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg()}</div>'

    def __repr__(self) -> str:
        lines = []
        for title, values in self.columns.items():
            steps = np.rint(_scaled(_thinned(values, _LETTERS)) * (len(_BLOCKS) - 1))
            lines += [f"{title}  {_range(values)}", "".join(_BLOCKS[int(step)] for step in steps)]
        return "\n".join(lines)


def curves(columns: Mapping[str, ArrayLike]) -> Curves:
    """Draw each column over its position, on a scale from its smallest value to its largest.

    :param columns: numbers, shape (n,), by the title to show above them.
    """
    return Curves({title: np.asarray(values, np.float64) for title, values in columns.items()})


def _panel(title: str, values: NDArray[np.float64], top: int, hue: str) -> Iterator[str]:
    label = f"{title}  {_range(values)}"
    yield f'<text x="0" y="{top + 13}" fill="currentColor">{escape(label)}</text>'
    base = top + _TITLE + _HEIGHT
    yield (
        f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}" stroke="currentColor"'
        ' stroke-opacity=".4"/>'
    )
    shown = _thinned(values, _POINTS)
    across = np.linspace(0, _WIDTH, max(len(shown), 2))
    points = " ".join(
        f"{x:.1f},{base - 2 - y * (_HEIGHT - 4):.1f}"
        for x, y in zip(across, _scaled(shown), strict=False)
    )
    yield f'<polyline points="{points}" fill="none" stroke="{hue}" stroke-width="2"/>'


def _range(values: NDArray[np.float64]) -> str:
    if not len(values):
        return "no values"
    low, high = (f"{value:.15g}" for value in (values.min(), values.max()))
    return f"{f'always {low}' if low == high else f'from {low} to {high}'}, {len(values)} values"


def _thinned(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(np.intp)]


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 to 1; zeros where all are equal."""
    height = np.ptp(values) if len(values) else 0
    return (values - values.min()) / height if height else np.zeros(len(values))

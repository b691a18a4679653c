"""The layout lens as a drawing: eight bytes a row, a strip for each ruler below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ("Ruler", "Segment", "draw", "shown_bytes")

_BYTES = 8  # a row
_BYTE = 62  # width of a byte, in pixels
_LEFT = 46  # for the offset
_CELL, _STRIP, _GAP = 20, 18, 10  # heights
_FONT = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"

# Okabe and Ito's colours, which are told apart in every kind of colour blindness: blue is the
# kernel's word, orange ours; what is wrong is vermilion, and says so in words.
_HUES = ("#0072b2", "#e69f00", "#009e73")
_WRONG, _GREY = "#d55e00", "#808080"


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that a ruler gives one meaning.

    ``kind`` is ``"field"``, ``"common"``, ``"hole"`` or ``"wrong"``; ``value`` and ``note`` are
    text: what the bytes are as that field, and what a wrong one reads.
    """

    offset: int
    size: int
    name: str
    value: str
    kind: str
    note: str

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.size

    @property
    def short(self) -> str:
        """The name, and whether it is wrong."""
        return f"✗ {self.name}" if self.kind == "wrong" else self.name

    @property
    def label(self) -> str:
        """All of it on one line."""
        if self.kind == "wrong":
            return f"✗ {self.name} {self.note}"
        if self.kind == "hole" or not self.value:
            return self.name
        return f"{self.name} = {self.value}"


@dataclass(frozen=True, slots=True)
class Ruler:
    """One reading of a record: a title, and segments in the order of their offsets."""

    title: str
    segments: tuple[Segment, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the fields that read other bytes than their name says."""
        return tuple(segment.name for segment in self.segments if segment.kind == "wrong")

    @property
    def summary(self) -> str:
        """How many fields are wrong, and which is the first; empty where none is."""
        if not self.wrong:
            return ""
        count = len(self.wrong)
        return f"{count} wrong field{'' if count == 1 else 's'}, the first is {self.wrong[0]}"

    def segment_at(self, offset: int) -> Segment | None:
        """What this byte belongs to; None where this ruler says nothing about it."""
        for segment in self.segments:
            if segment.offset <= offset < segment.end:
                return segment
        return None


def shown_bytes(record: bytes, hidden: frozenset[int]) -> list[str]:
    """Each byte in hexadecimal; those that are hidden as two dots.

    >>> shown_bytes(b"\\x01\\xff", frozenset({0}))
    ['··', 'ff']
    """
    return ["··" if place in hidden else f"{byte:02x}" for place, byte in enumerate(record)]


def draw(
    record: bytes,
    rulers: Sequence[Ruler],
    part: tuple[int, int],
    hidden: frozenset[int] = frozenset(),
) -> str:
    """An SVG image of a part of the record; transparent, in the colour of the page's text.

    Every part has a ``<title>``, which browsers show as a tooltip and screen readers read.
    """
    row_height = _CELL + _STRIP * len(rulers) + _GAP
    first_row, last_row = part[0] // _BYTES, -(-part[1] // _BYTES)
    shown = shown_bytes(record, hidden)
    rows = last_row - first_row
    top = _STRIP * len(rulers) + _GAP
    width, height = _LEFT + _BYTES * _BYTE + 2, top + rows * row_height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img"'
        f' viewBox="0 0 {width} {height}" style="{_FONT};max-width:100%">',
        f"<title>{len(record)} bytes under {len(rulers)} rulers</title>",
        '<defs><pattern id="tk-hole" width="6" height="6" patternUnits="userSpaceOnUse"'
        ' patternTransform="rotate(45)"><rect width="2" height="6" fill="currentColor"'
        ' fill-opacity=".35"/></pattern></defs>',
    ]
    for index, ruler in enumerate(rulers):
        y = index * _STRIP
        parts.append(
            f'<rect x="{_LEFT}" y="{y + 3}" width="12" height="12" fill="{_HUES[index]}"/>'
        )
        title = f"{ruler.title}: ✗ {ruler.summary}" if ruler.wrong else ruler.title
        parts.append(_text(_LEFT + 18, y + 13, title))
    for row in range(first_row, last_row):
        y = top + (row - first_row) * row_height
        parts.append(_text(_LEFT - 8, y + 14, str(row * _BYTES), anchor="end", opacity=0.7))
        for column, byte in enumerate(shown[row * _BYTES : (row + 1) * _BYTES]):
            x = _LEFT + column * _BYTE + _BYTE / 2
            parts.append(_text(x, y + 14, byte, anchor="middle"))
        for index, ruler in enumerate(rulers):
            strip = y + _CELL + index * _STRIP
            parts += _strip(ruler, row, strip, _HUES[index], len(record))
    return "\n".join([*parts, "</svg>"])


def _strip(ruler: Ruler, row: int, y: float, hue: str, length: int) -> Iterator[str]:
    first, last = row * _BYTES, min((row + 1) * _BYTES, length)
    for segment in ruler.segments:
        start, stop = max(segment.offset, first), min(segment.offset + segment.size, last)
        if start >= stop:
            continue
        x, width = _LEFT + (start - first) * _BYTE, (stop - start) * _BYTE
        fill, opacity, stroke = {
            "hole": ("url(#tk-hole)", 1.0, _GREY),
            "common": (_GREY, 0.18, _GREY),
            "wrong": (_WRONG, 0.3, _WRONG),
        }.get(segment.kind, (hue, 0.22, hue))
        dash = ' stroke-dasharray="4 2"' if segment.kind == "wrong" else ""
        said = f", {segment.value}" if segment.kind == "wrong" else ""
        tooltip = f"{segment.label}{said} (offset {segment.offset}, {segment.size} bytes)"
        yield (
            f"<g><title>{escape(tooltip)}</title>"
            f'<rect x="{x + 0.5}" y="{y + 0.5}" width="{width - 1}" height="{_STRIP - 2}"'
            f' fill="{fill}" fill-opacity="{opacity}" stroke="{stroke}"{dash}/>'
        )
        text = f"… {segment.name}"
        if start == segment.offset:
            text = segment.name if segment.kind == "common" else segment.label
        yield _fitted(x + 4, y + 13, text, segment.name, width - 6)
        yield "</g>"


def _fitted(x: float, y: float, text: str, short: str, width: float) -> str:
    letters = int(width / 7.3)  # of this monospace font
    if len(text) > letters:
        text = text[: letters - 1] + "…" if text.startswith("✗") else short
    if len(text) > letters:
        text = text[: max(letters - 1, 1)] + "…"
    return _text(x, y, text)


def _text(x: float, y: float, text: str, *, anchor: str = "start", opacity: float = 1) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="currentColor" fill-opacity="{opacity}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )

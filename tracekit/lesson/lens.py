"""The layout lens: one record's bytes under several rulers, each saying what the bytes mean.

A ruler is a layout: the format file's, the struct that ``TRACEPOINT_PROBE`` generates, or a struct
of the learner's. The first ruler is the one that is believed; what another one reads from other
bytes than its names say is marked as wrong, with what it reads there.

>>> from tracekit.tracepoints.tracefs import read_format
>>> fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
>>> lens(bytes.fromhex("9d040000d2040000 00200000 00000000 f00f0000"), fmt)
20 bytes
offset  bytes                    random:urandom_read
     0  9d 04                    common_type = 1181
     2  00                       common_flags = 0
     3  00                       common_preempt_count = 0
     4  d2 04 00 00              common_pid = 1234
     8  00 20 00 00              got_bits = 8192
    12  00 00 00 00              pool_left = 0
    16  f0 0f 00 00              input_left = 4080
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tracekit.lesson.lens_svg import Ruler, Segment, draw
from tracekit.tracepoints.comparison import compare
from tracekit.tracepoints.format import Field, Format
from tracekit.tracepoints.layout import is_text, record_dtype
from tracekit.tracepoints.sockaddr import decode_sockaddr
from tracekit.tracepoints.table import Row, text_table

__all__ = ("Lens", "lens")

_MOST_RULERS = 3
_FILLERS = ("__pad_", "__do_not_use", "__unused")


@dataclass(frozen=True, slots=True, repr=False)
class Lens:
    """A record's bytes with their rulers; shown as a drawing in a notebook, else as a table."""

    record: bytes
    rulers: tuple[Ruler, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of all fields that read other bytes than their name says, ruler by ruler."""
        return tuple(s.name for ruler in self.rulers for s in ruler.segments if s.kind == "wrong")

    def svg(self) -> str:
        """The drawing as an SVG image, for a file or a page without a notebook behind it."""
        return draw(self.record, self.rulers)

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg()}</div>'

    def __repr__(self) -> str:
        columns = ("offset", "bytes", *(ruler.title for ruler in self.rulers))
        rows = [Row(cells) for cells in self._lines()]
        return f"{len(self.record)} bytes\n{text_table(columns, rows, right=[0])}"

    def _lines(self) -> Iterator[tuple[str, ...]]:
        # A line wherever a field of any ruler begins, and every 8 bytes of a long one.
        edges = {0, len(self.record)}
        for ruler in self.rulers:
            for segment in ruler.segments:
                edges |= {segment.offset, segment.offset + segment.size}
        inner = sorted(edge for edge in edges if edge <= len(self.record))
        for start, stop in pairwise(inner):
            for offset in range(start, stop, 8):
                data = self.record[offset : min(offset + 8, stop)].hex(" ")
                labels = (ruler.label_at(offset) for ruler in self.rulers)
                yield (str(offset), f"{data:<23}", *labels)


def lens(record: bytes, *layouts: Format, titles: Sequence[str] = ()) -> Lens:
    """Look at one record's bytes under up to three layouts.

    :param record: the bytes, from the record's beginning, common fields included.
    :param layouts: the first is believed, such as ``read_format("tcp:tcp_probe")``; the others are
        compared with it.
    :param titles: what to call each layout; its own name otherwise.
    :raises ValueError: there is no layout, or there are more than three.
    """
    if not 1 <= len(layouts) <= _MOST_RULERS:
        raise ValueError(f"one to three layouts can be shown, not {len(layouts)}")
    names = [*titles, *(layout.full_name for layout in layouts[len(titles) :])]
    believed = layouts[0]
    rulers = [
        Ruler(name, tuple(_segments(record, layout, believed)))
        for name, layout in zip(names, layouts, strict=True)
    ]
    return Lens(bytes(record), tuple(rulers))


def _segments(record: bytes, layout: Format, believed: Format) -> Iterator[Segment]:
    common = {field.name for field in layout.common_fields}
    readings = {} if layout is believed else {r.field.name: r for r in compare(layout, believed)}
    parts: list[Segment] = []
    for field in layout.all_fields:
        kind, note = "field", ""
        if field.name in common or field.name.startswith(_FILLERS):
            kind = "common" if field.offset < _own_fields_begin(believed) else "hole"
        elif field.name in readings and readings[field.name].verdict == "wrong":
            kind, note = "wrong", f"reads {readings[field.name].reads}"
        parts.append(
            Segment(field.offset, field.size, field.name, _value(field, record), kind, note)
        )
    parts += [Segment(hole.offset, hole.size, "hole", "", "hole", "") for hole in layout.holes]
    yield from sorted(parts, key=lambda part: part.offset)


def _own_fields_begin(fmt: Format) -> int:
    return min((field.offset for field in fmt.fields), default=0)


def _value(field: Field, record: bytes) -> str:
    data = record[field.offset : field.end]
    if len(data) < field.size or not data:
        return "behind the record"
    if field.size == 28 and field.element_size == 1:
        address = decode_sockaddr(data)
        if address.address:
            return f"{address.address} port {address.port}"
    value = np.frombuffer(record[: field.end], record_dtype([field]), 1)[field.name][0]
    if is_text(field):
        return repr(bytes(value).decode(errors="replace"))
    if isinstance(value, np.ndarray):
        return data.hex(" ") if len(data) <= 8 else f"{data[:8].hex(' ')} …"
    return f"{int(value):#x}" if "*" in field.type else str(int(value))

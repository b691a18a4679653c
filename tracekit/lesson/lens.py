"""The layout lens: one record's bytes under several rulers, each saying what the bytes mean.

A ruler is a layout: the format file's, the struct that ``TRACEPOINT_PROBE`` generates, or a struct
of the learner's. The first ruler is the one that is believed; what another one reads from other
bytes than its names say is marked as wrong, with what it reads there. Addresses of the kernel's
memory are shown by their first two bytes only: outputs are kept and passed on.

>>> from tracekit.tracepoints.tracefs import read_format
>>> fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
>>> data = bytes.fromhex("9d040000d2040000 00200000 00000000 f00f0000")
>>> lens(data, fmt)
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

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from textwrap import wrap

import numpy as np

from tracekit.lesson.lens_svg import Ruler, Segment, draw, shown_bytes
from tracekit.tracepoints.comparison import compare
from tracekit.tracepoints.format import Field, Format
from tracekit.tracepoints.layout import is_text, record_dtype
from tracekit.tracepoints.sockaddr import decode_sockaddr
from tracekit.tracepoints.table import Row, text_table

__all__ = ("Lens", "lens")

_MOST_RULERS = 3
_FILLERS = ("__pad_", "__do_not_use", "__unused")
_WIDTH = 80  # columns of a line of plain text
_LABEL = 22  # columns of a long label, where the rulers need the room
_ADDRESS = 8  # bytes of a pointer


@dataclass(frozen=True, slots=True, repr=False)
class Lens:
    """A record's bytes with their rulers; shown as a drawing in a notebook, else as a table.

    ``part`` are the first byte shown and the first one not shown, ``hidden`` the bytes of kernel
    addresses that are not shown.
    """

    record: bytes
    rulers: tuple[Ruler, ...]
    part: tuple[int, int]
    hidden: frozenset[int] = frozenset()

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of all fields that read other bytes than their name says, ruler by ruler."""
        return tuple(name for ruler in self.rulers for name in ruler.wrong)

    def svg(self) -> str:
        """The drawing as an SVG image, for a file or a page without a notebook behind it."""
        return draw(self.record, self.rulers, self.part, self.hidden)

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg()}</div>'

    def __repr__(self) -> str:
        table = self._table(narrow=False)
        if max(map(len, table.splitlines())) > _WIDTH:
            table = self._table(narrow=True)
        start, stop = self.part
        whole = (start, stop) == (0, len(self.record))
        title = f"{len(self.record)} bytes" + ("" if whole else f", {start} to {stop - 1} shown")
        facts = [f"{r.title}: {r.summary}" for r in self.rulers if r.wrong]
        return "\n".join([title, table, *(line for fact in facts for line in wrap(fact, _WIDTH))])

    def _table(self, *, narrow: bool) -> str:
        """The rulers beside the bytes; ``narrow`` leaves out what the first ruler says already."""
        columns = ["at" if narrow else "offset", "bytes", *(ruler.title for ruler in self.rulers)]
        chunks = self._chunks()
        cells = [
            [str(start) for start, _ in chunks],
            [self._hexadecimal(start, stop, narrow) for start, stop in chunks],
            *(
                _labels(ruler, chunks, short=narrow and index > 0, width=_LABEL if narrow else 0)
                for index, ruler in enumerate(self.rulers)
            ),
        ]
        rows = [Row(row) for row in zip(*cells, strict=True)]
        return text_table(columns, rows, right=[0])

    def _chunks(self) -> list[tuple[int, int]]:
        # A line wherever a field of any ruler begins or ends, and every 8 bytes of a long one.
        first, last = self.part
        segments = [segment for ruler in self.rulers for segment in ruler.segments]
        edges = {first, last} | {s.offset for s in segments} | {s.end for s in segments}
        inner = sorted(edge for edge in edges if first <= edge <= last)
        return [
            (offset, min(offset + 8, stop))
            for start, stop in pairwise(inner)
            for offset in range(start, stop, 8)
        ]

    def _hexadecimal(self, start: int, stop: int, narrow: bool) -> str:
        shown = shown_bytes(self.record, self.hidden)[start:stop]
        if not narrow:
            return f"{' '.join(shown):<23}"
        return " ".join("".join(shown[i : i + 4]) for i in range(0, len(shown), 4))


def lens(
    record: bytes,
    *layouts: Format | str,
    titles: Sequence[str] = (),
    part: tuple[int, int] | None = None,
) -> Lens:
    """Look at one record's bytes under up to three layouts.

    :param record: the bytes, from the record's beginning, common fields included.
    :param layouts: the first is believed, such as ``read_format("tcp:tcp_probe")``; the others are
        compared with it. One that is C text is laid out by the compiler first, as
        :func:`tracekit.capture.struct_layout.lay_out_struct` does, which also says what is raised.
    :param titles: what to call each layout; its own name otherwise.
    :param part: the first byte to show, and the first one not to show; all bytes otherwise.
    :raises ValueError: there is no layout, or there are more than three, or no such part.
    """
    if not 1 <= len(layouts) <= _MOST_RULERS:
        raise ValueError(f"one to three layouts can be shown, not {len(layouts)}")
    start, stop = part or (0, len(record))
    if not 0 <= start <= stop <= len(record):
        raise ValueError(f"the record has the bytes 0 to {len(record)}, not {start} to {stop}")
    formats = [_laid_out(layout) for layout in layouts]
    names = [*titles, *(layout.full_name for layout in formats[len(titles) :])]
    believed = formats[0]
    hidden = frozenset(_addresses(record, believed))
    rulers = [
        Ruler(name, tuple(_join_fillers(_segments(record, layout, believed, hidden))))
        for name, layout in zip(names, formats, strict=True)
    ]
    return Lens(bytes(record), tuple(rulers), (start, stop), hidden)


def _laid_out(layout: Format | str) -> Format:
    if isinstance(layout, Format):
        return layout
    # Only this needs bcc; records and formats can be looked at anywhere.
    from tracekit.capture.struct_layout import lay_out_struct

    return lay_out_struct(layout)


def _labels(
    ruler: Ruler, chunks: Sequence[tuple[int, int]], *, short: bool, width: int
) -> Iterator[str]:
    """What to write beside each line; a label longer than ``width`` goes on in the next lines."""
    left: list[str] = []
    for start, _ in chunks:
        segment = ruler.segment_at(start)
        if segment is None:
            yield ""
        elif segment.offset == start or start == chunks[0][0]:
            label = segment.short if short else segment.label
            lines = wrap(label, width) if width else [label]
            # The last line takes what is left, where there are not enough of them.
            count = sum(1 for other, _ in chunks if start <= other < segment.end)
            lines[count - 1 :] = [" ".join(lines[count - 1 :])] if lines[count - 1 :] else []
            yield lines[0]
            left = lines[1:]
        else:
            yield left.pop(0) if left else "…"


def _segments(
    record: bytes, layout: Format, believed: Format, hidden: frozenset[int]
) -> Iterator[Segment]:
    common = {field.name for field in layout.common_fields}
    readings = {} if layout is believed else {r.field.name: r for r in compare(layout, believed)}
    parts: list[Segment] = []
    for field in layout.all_fields:
        kind, note = "field", ""
        if field.name in common or field.name.startswith(_FILLERS):
            kind = "common" if field.offset < _own_fields_begin(believed) else "hole"
        elif field.name in readings and readings[field.name].verdict == "wrong":
            kind, note = "wrong", f"reads {readings[field.name].reads}"
        value = "" if kind == "hole" else _value(field, record, hidden)
        parts.append(Segment(field.offset, field.size, field.name, value, kind, note))
    parts += [Segment(hole.offset, hole.size, "hole", "", "hole", "") for hole in layout.holes]
    yield from sorted(parts, key=lambda part: part.offset)


def _join_fillers(segments: Iterator[Segment]) -> Iterator[Segment]:
    # bcc fills a hole byte by byte: __pad_70, __pad_71, and so on.
    for kind, group in groupby(segments, lambda segment: segment.kind):
        same = list(group)
        if kind != "hole" or len(same) == 1:
            yield from same
        else:
            size = sum(segment.size for segment in same)
            yield Segment(same[0].offset, size, "padding", "", "hole", "")


def _own_fields_begin(fmt: Format) -> int:
    return min((field.offset for field in fmt.fields), default=0)


def _addresses(record: bytes, believed: Format) -> Iterator[int]:
    """The bytes of kernel addresses, without the upper two of each: pointers, and what a BPF
    program finds in place of the common fields."""
    pointers = [f.offset for f in believed.fields if "*" in f.type and f.size == _ADDRESS]
    if _own_fields_begin(believed) >= _ADDRESS:
        pointers.append(0)
    for offset in pointers:
        data = record[offset : offset + _ADDRESS]
        value = int.from_bytes(data, sys.byteorder)
        # the upper half of the address space; common_pid, which also ends there, is not negative
        if len(data) == _ADDRESS and value >> 56 == 0xFF:
            yield from (
                range(offset, offset + 6)
                if sys.byteorder == "little"
                else range(offset + 2, offset + _ADDRESS)
            )


def _value(field: Field, record: bytes, hidden: frozenset[int]) -> str:
    data = record[field.offset : field.end]
    if len(data) < field.size or not data:
        return "behind the record"
    if not hidden.isdisjoint(range(field.offset, field.end)):
        if "*" not in field.type or field.size != _ADDRESS:
            return "kernel address"
        return f"{int.from_bytes(data, sys.byteorder) >> 48:#x}…"
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

"""What the explorer shows of a tracepoint, as HTML: its fields, its layout, its last events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

from tracekit.capture.events import Events, show_value
from tracekit.lesson.lens import Lens, lens
from tracekit.lesson.lens_svg import Segment
from tracekit.tracepoints.field import Field
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.table import Row, html_table

__all__ = ("ROWS", "events_table", "fields_table", "layout")

#: The most rows of the table of events.
ROWS = 10

_HIDDEN = 8  # bytes at the beginning of a record that a BPF program can't read


def fields_table(fmt: Format) -> str:
    """All fields and holes in the order of their offsets; dynamic fields are marked."""
    common = len(fmt.common_fields)
    rows = [
        (field.offset, _field_row(field, "common" if index < common else ""))
        for index, field in enumerate(fmt.all_fields)
    ]
    rows += [
        (hole.offset, Row((str(hole.offset), str(hole.size), "", "", "hole"), "hole"))
        for hole in fmt.holes
    ]
    ordered = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    own = len(fmt.fields)
    caption = f"{fmt.full_name}: {own} field{'' if own == 1 else 's'} of its own, {fmt.size} bytes"
    return html_table(caption, ("offset", "size", "type", "name", "note"), ordered, right=(0, 1))


def _field_row(field: Field, kind: str) -> Row:
    type_name = field.type if field.length is None else f"{field.type}[{field.length}]"
    note = f"dynamic ({field.location})" if field.location else kind
    if not note and field.signed:
        note = "signed"
    return Row((str(field.offset), str(field.size), type_name, field.name, note), kind)


def layout(fmt: Format, record: bytes | None) -> Lens:
    """The layout lens on a record that ``watch`` copied; without one, on the places alone."""
    shown = lens(bytes(fmt.size) if record is None else record[: fmt.size], fmt)
    unread = range(fmt.size if record is None else _HIDDEN)

    def without_value(segment: Segment) -> Segment:
        return replace(segment, value="") if segment.offset in unread else segment

    rulers = tuple(
        replace(ruler, segments=tuple(without_value(segment) for segment in ruler.segments))
        for ruler in shown.rulers
    )
    return replace(shown, rulers=rulers, hidden=shown.hidden | frozenset(unread))


def events_table(events: Events | None, fmt: Format) -> str:
    """The last events, the latest below; a sentence where there are none.

    Of addresses of the kernel's memory the first two bytes are shown, as in the layout lens.
    """
    if events is None or not len(events):
        return f"<p>No events of {escape(fmt.full_name)} yet.</p>"
    columns: Sequence[str] = events.dtype.names or ()
    pointers = {field.name for field in fmt.fields if "*" in field.type}
    last = events[-ROWS:]
    rows = [
        Row(
            tuple(
                _address(event[name]) if name in pointers else show_value(event[name])
                for name in columns
            )
        )
        for event in last
    ]
    count = f"The last {len(last)} events" if len(last) > 1 else "One event"
    # A number is right-aligned, a text is not.
    right = [index for index, name in enumerate(columns) if events.dtype[name].kind in "iu"]
    table = html_table(f"{count} of {fmt.full_name}", columns, rows, right=right)
    return f'<div style="overflow-x:auto">{table}</div>'


def _address(value: Any) -> str:
    # the upper half of the address space is the kernel's
    number = int(value)
    return f"{number >> 48:#x}…" if number >> 56 == 0xFF else f"{number:#x}"

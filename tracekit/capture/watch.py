"""Any tracepoint, no C: one program copies the record, and its format file decodes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.tracepoints.declaration import type_is_signed, type_width
from tracekit.tracepoints.field import Field, unique_names
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.layout import cut_text, decode, is_text
from tracekit.tracepoints.tracefs import read_format

__all__ = ("DYNAMIC_SIZE", "decode_watched", "element_of", "open_watch", "watch")

#: Bytes kept of each dynamic value.
DYNAMIC_SIZE = 64

_OURS = ("common_ts", "common_pid", "common_comm")


def watch(
    name: str, *, seconds: float = 1.0, count: int | None = None, raw: bool = False
) -> Events:
    """Collect the events of one tracepoint for a time, with no C at all.

    The columns are ``common_ts`` (ns since boot), ``common_pid`` and ``common_comm`` (the thread
    that was running), then the fields of the format file; of a dynamic field the first 64 bytes are
    kept, as text where it is text, else as an array that ends in zeros.

    :param name: ``category:event``.
    :param seconds: how long to collect.
    :param count: stop earlier, when there are so many events.
    :param raw: give the records undecoded, in a column ``record`` of bytes, shape (n, size). The
        first 8 bytes are zero: a program may not read them. The values of dynamic fields are in a
        column ``dynamic``, 64 bytes for each, one behind the other.
    :raises UnknownTracepoint: this kernel has no such tracepoint.
    :raises AttachError: it can't be attached, like all of ``ftrace:*``.
    :raises TracekitError: what :meth:`tracekit.capture.probe.Probe.from_file` raises.
    """
    with open_watch(name) as probe:
        events = probe.read(seconds=seconds, count=count)
    return events if raw else decode_watched(read_format(name), events)


def open_watch(name: str) -> Probe:
    """A probe that copies the records of any tracepoint; :func:`decode_watched` decodes them.

    Raises what :func:`watch` raises.
    """
    fmt = read_format(name)
    defines: dict[str, object] = {"RECORD_SIZE": max(fmt.size, 16)}
    if dynamic := _dynamic_fields(fmt):
        places = [(f.offset, f.end if f.location == "__rel_loc" else 0) for f in dynamic]
        defines["LOCATIONS"] = ",".join(f"{{{offset},{base}}}" for offset, base in places)
        defines["DYNAMIC_COUNT"] = len(dynamic)
        defines["DYNAMIC_SIZE"] = DYNAMIC_SIZE
    probe = Probe.from_file("watch.c", defines=defines, name=name)
    try:
        return probe.attach_tracepoint(name, "watch")
    except BaseException:
        probe.close()
        raise


def decode_watched(fmt: Format, watched: Events) -> Events:
    """The events that ``bpf/watch.c`` copied, as columns with the names and types of ``fmt``.

    :param watched: events of a probe of :func:`open_watch`.
    :return: as many events: the three columns of ours, then the format's own fields.
    """
    rows = watched.records
    count = len(rows)
    record = np.ascontiguousarray(rows["record"])
    # What is behind the record's last field, where there are fewer than 16 bytes, is padding.
    records = decode(fmt, record.tobytes(), stride=record.shape[1]) if count else None
    columns: dict[str, NDArray[Any]] = {name: rows[name] for name in _OURS}
    names = unique_names(fmt.all_fields)[len(fmt.common_fields) :]
    for name, field in zip(names, fmt.fields, strict=True):
        located = np.empty(0, fmt.dtype[name]) if records is None else records[name]
        if field.location:
            at = DYNAMIC_SIZE * _dynamic_fields(fmt).index(field)
            columns[name] = _dynamic_column(
                field, located, rows["dynamic"][:, at : at + DYNAMIC_SIZE]
            )
        else:
            columns[name] = cut_text(located) if is_text(field) and count else located
    result = np.empty(
        count, [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    )
    for name, column in columns.items():
        result[name] = column
    return replace(watched, records=result)


def element_of(field: Field) -> np.dtype[Any]:
    """The dtype of one element of a dynamic value: a character, a number, or a plain byte.

    >>> from tracekit.tracepoints.field import parse_field
    >>> element_of(parse_field("field:__data_loc u64[] addrs; offset:8; size:4; signed:0;"))
    dtype('uint64')
    >>> element_of(parse_field("field:__data_loc char[] name; offset:8; size:4; signed:0;"))
    dtype('S1')
    """
    if is_text(field):
        return np.dtype("S1")
    width = type_width(field.type)
    if width not in (1, 2, 4, 8):
        return np.dtype("u1")
    return np.dtype(f"{'i' if type_is_signed(field.type) else 'u'}{width}")


def _dynamic_fields(fmt: Format) -> list[Field]:
    return [field for field in fmt.fields if field.location]


def _dynamic_column(
    field: Field, locations: NDArray[Any], values: NDArray[np.uint8]
) -> NDArray[Any]:
    # The high 16 bits of the location are the value's length; behind it are other bytes.
    length = (locations >> 16).astype(np.intp)
    kept = np.where(np.arange(DYNAMIC_SIZE) < length[:, None], values, 0).astype(np.uint8)
    element = element_of(field)
    if element.kind != "S":
        return kept.view(element)
    texts = kept.view(f"S{DYNAMIC_SIZE}")[:, 0]
    return cut_text(texts) if len(texts) else texts

"""Any tracepoint, no C: one program copies the record, and its format file decodes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.tracepoints.format import Field, Format
from tracekit.tracepoints.layout import cut_text, decode, is_text
from tracekit.tracepoints.tracefs import read_format

__all__ = ("decode_watched", "watch")

_DYNAMIC = 64  # bytes kept of each dynamic value
_OURS = ("common_ts", "common_pid", "common_comm")


def watch(
    name: str, *, seconds: float = 1.0, count: int | None = None, raw: bool = False
) -> Events:
    """Collect the events of one tracepoint for a time, with no C at all.

    The columns are ``common_ts`` (ns since boot), ``common_pid`` and ``common_comm`` (the thread
    that was running), then the fields of the format file; of a dynamic field the first 64 bytes are
    kept, as text where it is text.

    :param name: ``category:event``.
    :param seconds: how long to collect.
    :param count: stop earlier, when there are so many events.
    :param raw: give the records undecoded, in a column ``record`` of bytes, shape (n, size). The
        first 8 bytes are zero: a program may not read them.
    :raises UnknownTracepoint: this kernel has no such tracepoint.
    :raises AttachError: it can't be attached, like all of ``ftrace:*``.
    :raises TracekitError: what :meth:`tracekit.capture.probe.Probe.from_file` raises.
    """
    fmt = read_format(name)
    dynamic = [field for field in fmt.fields if field.location]
    size = max(fmt.size, 16) + _DYNAMIC * len(dynamic)
    with Probe.from_file("watch.c", defines={"RECORD_SIZE": size}, name=f"watch {name}") as probe:
        probe.attach_tracepoint(name, "watch")
        events = probe.read(seconds=seconds, count=count)
    return events if raw else replace(events, records=decode_watched(fmt, events.records))


def decode_watched(fmt: Format, watched: NDArray[Any]) -> NDArray[Any]:
    """The records that ``bpf/watch.c`` copied, as columns with the names and types of ``fmt``.

    :param watched: shape (n,), with the fields of ``struct watched_t``.
    :return: shape (n,): the three columns of ours, then the format's own fields.
    """
    copied = np.ascontiguousarray(watched["record"])
    records = decode(fmt, copied.tobytes(), stride=copied.shape[1]) if len(watched) else None
    columns: dict[str, NDArray[Any]] = {name: watched[name] for name in _OURS}
    for field in fmt.fields:
        if records is None:
            columns[field.name] = np.empty(0, fmt.dtype[field.name])
        elif field.location:
            columns[field.name] = _dynamic_column(field, records[field.name], copied)
        elif is_text(field):
            columns[field.name] = cut_text(records[field.name])
        else:
            columns[field.name] = records[field.name]
    result = np.empty(
        len(watched), [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    )
    for name, column in columns.items():
        result[name] = column
    return result


def _dynamic_column(field: Field, places: NDArray[Any], copied: NDArray[Any]) -> NDArray[Any]:
    # low 16 bits: the offset, from the record's beginning or the field's end; high 16: the length
    start = (places & 0xFFFF).astype(np.intp)
    if field.location == "__rel_loc":
        start += field.end
    length = (places >> 16).astype(np.intp)
    index = start[:, None] + np.arange(_DYNAMIC)
    inside = (np.arange(_DYNAMIC) < length[:, None]) & (index < copied.shape[1])
    rows = np.arange(len(copied))[:, None]
    values = np.where(inside, copied[rows, np.minimum(index, copied.shape[1] - 1)], 0)
    values = np.ascontiguousarray(values.astype(np.uint8))
    text = field.type.removeprefix("const ") == "char" or is_text(field)
    return cut_text(values.view(f"S{_DYNAMIC}")[:, 0]) if text else values

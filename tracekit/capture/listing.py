"""How a program's events are printed, line by line: the document's headers and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.capture.events import show_value

__all__ = ("LISTINGS", "Column", "Listing", "plain_listing")


@dataclass(frozen=True, slots=True)
class Column:
    """One field of the record, the word above it, and how Python formats it (``"<16"``).

    ``kind`` is ``"number"``, ``"text"`` (a char array), ``"bytes"`` (an array of bytes) or
    ``"numbers"`` (another array).
    """

    field: str
    title: str
    form: str = ""
    kind: str = "number"

    @property
    def width(self) -> int:
        """Characters the column takes; 0 for the last, which takes what it needs."""
        found = re.search(r"\d+", self.form)
        return int(found[0]) if found else 0


@dataclass(frozen=True, slots=True)
class Listing:
    """The columns of a listing, and what a program that names no tracepoint is attached to.

    ``attach`` is ``category:event`` and the name of the function, or None.

    >>> LISTINGS["tcp_probe"].header
    'COMM             PID    sport  dport'
    """

    columns: tuple[Column, ...]
    attach: tuple[str, str] | None = None

    @property
    def header(self) -> str:
        """The line above the events."""
        return " ".join(f"{column.title:<{column.width}}" for column in self.columns).rstrip()

    def line(self, record: Any) -> str:
        """One record as a line."""
        return " ".join(self._cells(record)).rstrip()

    def _cells(self, record: Any) -> Iterable[str]:
        for column in self.columns:
            value = record[column.field]
            yield format(value if column.kind == "number" else show_value(value), column.form)


def plain_listing(dtype: np.dtype[Any]) -> Listing:
    """All fields, one after the other, for a program nobody made a listing for."""

    def kind(field: np.dtype[Any]) -> str:
        if field.shape:
            return "bytes" if field.base.itemsize == 1 else "numbers"
        return "text" if field.kind == "S" else "number"

    return Listing(tuple(Column(name, name, kind=kind(dtype[name])) for name in dtype.names or ()))


def _printed(message: str, attach: tuple[str, str] | None = None) -> Listing:
    """The document's four columns: time, command, process id and what the program printed."""
    return Listing(
        (
            Column("ts", "TIME(s)", "<18.9f"),
            Column("task", "COMM", "<16", "text"),
            Column("pid", "PID", "<6"),
            Column("msg", message, kind="text"),
        ),
        attach,
    )


# Of all that tcp_probe sends, the document prints these four.
_ENDS = Listing(
    (
        Column("comm", "COMM", "<16", "text"),
        Column("pid", "PID", "<6"),
        Column("sport", "sport", "<6"),
        Column("dport", "dport", "<6"),
    )
)

_RESENT = Listing(
    (
        Column("sport", "sport", "<6"),
        Column("dport", "dport", "<6"),
        Column("state", "state"),
    )
)

#: The programs in ``bpf/``, by name.
LISTINGS: Mapping[str, Listing] = {
    "getrandom": _printed("LEN"),
    "urandomread": _printed("GOTBITS"),
    "urandomread_explicit": _printed("GOTBITS", ("random:urandom_read", "print_arg")),
    "tcp_probe_simple": _printed("MSG"),
    "tcp_probe_filter": _printed("dport pid"),
    "tcp_probe_attach_tracepoint": _printed("MSG", ("tcp:tcp_probe", "print_tcp")),
    "tcp_probe": _ENDS,
    "tcp_probe_ring": _ENDS,
    "tcp_retransmit": _RESENT,
}

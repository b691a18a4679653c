"""Two programs on one tracepoint, side by side: what each field read, and which field that was.

Both run at every event, one after the other, so both send one record for it. The records are
paired by numbers that name the event, then each field is held against the prediction that
:func:`tracekit.tracepoints.comparison.compare` makes from the layouts alone.

>>> from tracekit.tracepoints.comparison import compare
>>> from tracekit.tracepoints.format import Format
>>> from tracekit.tracepoints.layout import layout_of
>>> members = [("u32", "cookie"), ("u16", "kind"), ("u16", "length")]
>>> kernels = Format("net", "received", 1, (), layout_of(members), "")
>>> theirs = np.array([(7, 2, 1000), (7, 2, 40)], kernels.dtype)
>>> ours = np.array([(7, 2), (7, 2)], [("key_cookie", "u4"), ("length", "u2")])
>>> old = layout_of([("u32", "cookie"), ("u16", "length")])
>>> side_by_side(ours, theirs, compare(old, kernels))
2 events, each read by both programs
field     ours read  which is  theirs read  equal
✗ length          2  kind                2  2 of 2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.events import Events
from tracekit.errors import RecordError
from tracekit.tracepoints.comparison import Comparison, Reading
from tracekit.tracepoints.sockaddr import decode_sockaddr
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("SideBySide", "pair_events", "side_by_side")

_KEY = "key_"
_COLUMNS = ("field", "ours read", "which is", "theirs read", "equal")
_NUMBERS = (1, 3)
_READS = 2  # the column that is wrapped
_WIDTH = 80


@dataclass(frozen=True, repr=False)
class SideBySide:
    """The events that two programs both read, field by field; row i of both is one event.

    ``ours`` and ``theirs`` are structured arrays of shape (n,), ``comparison`` is the prediction,
    and ``alone`` counts the events that only ours and only theirs sent.
    """

    comparison: Comparison
    ours: NDArray[Any]
    theirs: NDArray[Any]
    alone: tuple[int, int]

    @cached_property
    def equal(self) -> Mapping[str, NDArray[np.bool_]]:
        """For each field of ours: at which events it read what was predicted, byte for byte.

        Each array has shape (n,). A field of ours may read several fields of theirs, or parts of
        them; bytes of a hole or of the common fields are in no field of theirs, so nothing is said
        about them. Fields that read only such bytes are not here.
        """
        names = self.ours.dtype.names or ()
        checks = {
            r.field.name: [*self._pieces(r)] for r in self.comparison if r.field.name in names
        }
        return {name: np.logical_and.reduce(parts) for name, parts in checks.items() if parts}

    @property
    def confirmed(self) -> bool:
        """Whether every field read what was predicted, at every event; False without events."""
        return bool(len(self) and self.equal) and all(map(np.all, self.equal.values()))

    def _pieces(self, reading: Reading) -> Iterator[NDArray[np.bool_]]:
        mine, start = _bytes_of(self.ours[reading.field.name]), 0
        for piece in reading.pieces:
            if piece.kind == "field" and piece.name in (self.theirs.dtype.names or ()):
                real = _bytes_of(self.theirs[piece.name])[:, piece.first : piece.first + piece.size]
                yield np.all(mine[:, start : start + piece.size] == real, axis=1)
            start += piece.size

    def __len__(self) -> int:
        return len(self.ours)

    @property
    def _title(self) -> str:
        text = f"{len(self):,} events, each read by both programs"
        if any(self.alone):
            text += f"; {self.alone[0]:,} by ours alone, {self.alone[1]:,} by theirs alone"
        return text

    @property
    def _rows(self) -> list[Row]:
        # One event stands for all of them; the last column counts them.
        example, rows = len(self) // 2, []
        for reading in self.comparison if len(self) else ():
            name = reading.field.name
            if name not in self.equal:
                continue
            wrong = reading.verdict == "wrong"
            cells = (
                f"✗ {name}" if wrong else name,
                _show(self.ours[name][example]),
                reading.reads,
                self._theirs(reading, example),
                f"{np.count_nonzero(self.equal[name])} of {len(self)}",
            )
            rows.append(Row(cells, "wrong" if wrong else ""))
        return rows

    def _theirs(self, reading: Reading, row: int) -> str:
        pieces = [piece for piece in reading.pieces if piece.kind == "field"]
        known = [piece.name for piece in pieces if piece.name in (self.theirs.dtype.names or ())]
        values = [self.theirs[name][row] for name in known]
        if any(np.ndim(value) for value in values) and not all(piece.whole for piece in pieces):
            return ""
        return " + ".join(map(_show, values))

    def __repr__(self) -> str:
        rows = self._rows
        widths = [max(len(row.cells[i]) for row in [Row(_COLUMNS), *rows]) for i in range(5)]
        room = _WIDTH - sum(widths) - 8 + widths[_READS]
        lines = []
        for row in rows:
            first, *rest = wrap(row.cells[_READS], max(room, 12))
            lines.append(Row((*row.cells[:_READS], first, *row.cells[_READS + 1 :])))
            lines += [Row(("", "", line, "", "")) for line in rest]
        return "\n".join([*wrap(self._title, _WIDTH), text_table(_COLUMNS, lines, right=_NUMBERS)])

    def _repr_html_(self) -> str:
        return html_table(self._title, _COLUMNS, self._rows, right=_NUMBERS)


def side_by_side(
    ours: Events | NDArray[Any],
    theirs: Events | NDArray[Any],
    comparison: Comparison,
    *,
    cookies: Iterable[int] | None = None,
) -> SideBySide:
    """Pair the events of two programs on one tracepoint, and hold each field against a prediction.

    :param ours: the events of the program whose struct is looked at. Its columns called ``key_``
        and a name of theirs tell which event each row is.
    :param theirs: the events of the program that is believed, such as ``bpf/tcp_probe_fields.c``.
    :param comparison: ``compare(struct, format)``: which fields of theirs each of ours reads.
    :param cookies: only the events of these sockets. Give those of connections that were opened
        after both programs were attached, and closed before the first was read; events of others
        may have been seen by one of them only.
    :raises RecordError: ours has no key, or events were dropped, so that the rest can't be paired.
    """
    for events in (ours, theirs):
        if isinstance(events, Events) and events.dropped:
            raise RecordError(
                f"{events.dropped} events were dropped, so which is which can't be told by order",
                "make less traffic between two reads",
            )
    mine, real = np.asarray(ours), np.asarray(theirs)
    names = [n.removeprefix(_KEY) for n in mine.dtype.names or () if n.startswith(_KEY)]
    if not names:
        raise RecordError(
            "these events carry nothing to find them by",
            "send columns such as key_sock_cookie, as bpf/send_args.h does",
        )
    if cookies is not None:
        wanted = list(cookies)
        mine = mine[np.isin(mine[f"{_KEY}sock_cookie"], wanted)]
        real = real[np.isin(real["sock_cookie"], wanted)]
    left, right = pair_events(mine[[_KEY + name for name in names]], real[names])
    alone = (len(mine) - len(left), len(real) - len(right))
    return SideBySide(comparison, mine[left], real[right], alone)


def pair_events(
    ours: NDArray[Any], theirs: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions of equal rows in two arrays of keys, each in order of time.

    Where a key comes several times, the first is paired with the first, the second with the second:
    both programs run at every event, so they see events of the same key in the same order.

    >>> pair_events(np.array([5, 7, 5]), np.array([5, 5, 9, 7, 5]))
    (array([0, 1, 2]), array([0, 3, 1]))
    """
    places = {key: place for place, key in enumerate(_numbered(theirs))}
    pairs = [(place, places[key]) for place, key in enumerate(_numbered(ours)) if key in places]
    left, right = np.array(pairs, np.intp).reshape(-1, 2).T
    return left, right


def _numbered(keys: NDArray[Any]) -> Iterator[tuple[Any, int]]:
    """Each key with how often it came before."""
    seen: Counter[Any] = Counter()
    for key in keys.tolist():
        yield key, seen[key]
        seen[key] += 1


def _bytes_of(column: NDArray[Any]) -> NDArray[np.uint8]:
    """A column as the bytes in memory, shape (n, bytes of one value)."""
    width = column.dtype.itemsize * prod(column.shape[1:])
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), width)


def _show(value: Any) -> str:
    """A number, or a socket address; of other bytes only how many, they may be kernel addresses."""
    if not np.ndim(value):
        return str(value)
    address = decode_sockaddr(bytes(value)) if np.size(value) == 28 else None
    return str(address) if address and address.address else f"{np.size(value)} bytes"

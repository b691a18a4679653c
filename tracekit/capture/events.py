"""Events: records as one numpy structured array, together with where they came from.

>>> import numpy as np
>>> records = np.array([(2, b"ping"), (1, b"curl")], [("ts", "u8"), ("comm", "S16")])
>>> events = Events(records, Origin("getrandom", "6.18.44", "live"), Counts(2, 2, 0))
>>> events
2 events · getrandom · live · Linux 6.18.44 · 0 dropped
ts  comm
 2  ping
 1  curl
>>> events["comm"].tolist(), len(events[events["ts"] > 1])
([b'ping', b'curl'], 1)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from textwrap import wrap
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from tracekit.tracepoints.table import Row, html_table, text_table

if TYPE_CHECKING:
    import pandas

__all__ = ("Counts", "Events", "Origin")

_ROWS_SHOWN = 10
_BYTES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events come from: the probe's name, the kernel's release, ``live`` or ``recorded``."""

    name: str
    kernel: str
    mode: str

    def __str__(self) -> str:
        how = "live ·" if self.mode == "live" else "recorded on"
        return f"{self.name} · {how} Linux {self.kernel}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events there were; ``None`` where nobody counted.

    ``seen``: the program ran; ``sent``: it put a record in its buffer; ``dropped``: the buffer was
    full, or the reader too late. A program counts them itself with ``count(SEEN)`` and so on, see
    ``bpf/counters.h``; bcc and the kernel report losses of perf buffers and of ``trace_pipe``.

    ``missed``: the kernel did not run the program, because another BPF program was running on that
    processor, or the kernel was changing a BPF map for a system call. An interrupt that comes while
    a program runs is how that happens. Which events these were nobody knows: a program that filters
    may have had no use for them. The kernel counts this since Linux 6.7
    (:mod:`tracekit.capture.misses` has the commits); before it is None. It does not count, in
    ``missed`` nor elsewhere, the tracepoints that a program reaches by what it does itself, such as
    ``bpf_trace:bpf_trace_printk``: no program is run for them.

    >>> Counts(seen=5, sent=5, dropped=0, missed=2) - Counts(seen=3, sent=3, dropped=0, missed=1)
    Counts(seen=2, sent=2, dropped=0, missed=1)
    """

    seen: int | None = None
    sent: int | None = None
    dropped: int | None = None
    missed: int | None = None

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(_combine(a, b, 1) for a, b in zip(self._all(), other._all(), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(_combine(a, b, -1) for a, b in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[int | None, ...]:
        return self.seen, self.sent, self.dropped, self.missed


def _combine(a: int | None, b: int | None, sign: int) -> int | None:
    if b is None:
        return a
    if a is None and sign < 0:
        return None
    return (a or 0) + sign * b


@dataclass(frozen=True, slots=True, repr=False)
class Events:
    """A bounded batch of records, ordered by time.

    ``records`` is a structured array of shape (n,); a field's name gives its column, a slice, mask
    or list of positions gives fewer events of the same origin. Field names, dtypes and units are
    those of the program's struct.
    """

    records: NDArray[Any]
    origin: Origin
    counts: Counts = Counts()

    @property
    def dropped(self) -> int | None:
        """How many events the program sent in vain; None where nobody counted."""
        return self.counts.dropped

    @property
    def dtype(self) -> np.dtype[Any]:
        """The records' structured dtype."""
        return self.records.dtype

    @overload
    def __getitem__(self, key: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice | NDArray[Any] | list[int]) -> Events: ...
    @overload
    def __getitem__(self, key: int) -> np.void: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in (self.records.dtype.names or ()):
                known = ", ".join(self.records.dtype.names or ())
                raise KeyError(f"no field {key!r}; the fields are {known}")
            return self.records[key]
        chosen = self.records[key]
        return replace(self, records=chosen) if isinstance(chosen, np.ndarray) else chosen

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[np.void]:
        return iter(self.records)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:
            return np.asarray(self.records, dtype=dtype)
        return np.array(self.records, dtype=dtype, copy=copy)

    def to_dataframe(self) -> pandas.DataFrame:
        """The records as a pandas DataFrame; arrays of bytes become one column of bytes objects.

        :raises ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(
            {
                name: column if column.ndim == 1 else [row.tobytes() for row in column]
                for name in self.records.dtype.names or ()
                # pandas takes the processor's own byte order only
                for field in [self.records[name]]
                for column in [field.astype(field.dtype.newbyteorder("="))]
            }
        )

    # showing ------------------------------------------------------------------------------

    def _summary(self) -> str:
        noun = "event" if len(self) == 1 else "events"
        dropped = "drops not counted" if self.dropped is None else f"{self.dropped:,} dropped"
        missed = f" · {self.counts.missed:,} missed" if self.counts.missed else ""
        return f"{len(self):,} {noun} · {self.origin} · {dropped}{missed}"

    def _rows(self) -> tuple[list[str], list[list[str]], int]:
        names = list(self.records.dtype.names or ())
        shown = self.records[:_ROWS_SHOWN]
        rows = [[show_value(record[name]) for name in names] for record in shown]
        return names, rows, len(self) - len(rows)

    def __repr__(self) -> str:
        names, rows, hidden = self._rows()
        lines = [self._summary()]
        if rows:
            # A terminal is 80 columns wide; what does not fit is named instead of wrapped.
            shown = _columns_that_fit(names, rows, 80)
            cells = [Row(tuple(row[:shown])) for row in rows]
            lines.append(text_table(names[:shown], cells, right=range(shown)))
            if names[shown:]:
                lines += wrap("also: " + ", ".join(names[shown:]), 80)
        if hidden:
            lines.append(f"and {hidden:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names, rows, hidden = self._rows()
        table = html_table(
            self._summary(), names, [Row(tuple(row)) for row in rows], right=range(len(names))
        )
        more = f"<p>and {hidden:,} more</p>" if hidden else ""
        return f'<div style="overflow-x:auto">{table}{more}</div>'


def show_value(value: Any) -> str:
    """One value of a record as short text: text for ``char`` arrays, hexadecimal for bytes."""
    if isinstance(value, bytes):
        text = value.split(b"\0")[0].decode(errors="replace")
        # a command's name may hold anything, also what would move a terminal's cursor
        return text if text.isprintable() else repr(text)[1:-1]
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8:
            text = value.ravel()[:_BYTES_SHOWN].tobytes().hex(" ")
            return text + (" …" if value.size > _BYTES_SHOWN else "")
        return str(value.tolist())
    return str(value)


def _columns_that_fit(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """How many columns go side by side, with two blanks between them; at least one."""
    columns = zip(names, *rows, strict=True)
    ends = accumulate(max(map(len, column)) + 2 for column in columns)
    return max(sum(end - 2 <= width for end in ends), 1)

"""What a struct written for one kernel really reads in the record of another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from tracekit.tracepoints.field import Field
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.layout import layout_of
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("Comparison", "Piece", "Reading", "compare")


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of the kernel's record: ``size`` of them, of one field or of none.

    ``kind`` is ``"field"``, ``"common"``, ``"hole"`` or ``"behind"`` (the record's end).
    ``first`` is the index, within the field, of the first of the bytes; ``whole`` says that they
    are all of it.
    """

    kind: str
    name: str
    first: int
    size: int
    whole: bool

    def __str__(self) -> str:
        if self.kind in ("hole", "behind"):
            place = "hole" if self.kind == "hole" else "behind the record"
            return f"{place} ({self.size} byte{'' if self.size == 1 else 's'})"
        if self.whole:
            return self.name
        last = self.first + self.size - 1
        span = f"byte {self.first}" if last == self.first else f"bytes {self.first}-{last}"
        return f"{self.name} {span}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One field of ours and the pieces of the kernel's record that it reads.

    ``verdict`` is ``"same"`` (the field of that name, all of it), ``"wrong"`` (other bytes),
    ``"other name"`` (one whole field, which the kernel calls otherwise) or ``"filler"`` (bytes
    ours does not mean to read: the name begins with ``__`` and no event's field lies there).
    ``note`` says what else differs.
    """

    field: Field
    pieces: tuple[Piece, ...]
    verdict: str
    note: str = ""

    @property
    def reads(self) -> str:
        """The pieces in words, in order of their bytes; the middle of many is only counted."""
        words = []
        for common, group in groupby(self.pieces, lambda piece: piece.kind == "common"):
            pieces = tuple(group)
            if common and len(pieces) > 1:
                words.append(f"{sum(piece.size for piece in pieces)} common bytes")
            else:
                words += map(str, pieces)
        if len(words) > 5:
            words[2:-1] = [f"{len(words) - 3} more"]
        return " + ".join(words)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Each field of ours with what it reads; ``missing`` are the event's fields ours lacks."""

    readings: tuple[Reading, ...]
    missing: tuple[str, ...]
    ours_title: str
    kernels_title: str

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of our fields that read other bytes than their name says."""
        return tuple(r.field.name for r in self.readings if r.verdict == "wrong")

    @property
    def agrees(self) -> bool:
        """Whether no field of ours reads other bytes than its name says."""
        return not self.wrong

    def __getitem__(self, name: str) -> Reading:
        for reading in self.readings:
            if reading.field.name == name:
                return reading
        raise LookupError(f"{self.ours_title} has no field {name}")

    def __iter__(self) -> Iterator[Reading]:
        return iter(self.readings)

    def __len__(self) -> int:
        return len(self.readings)

    @property
    def _title(self) -> str:
        return f"{self.ours_title} on the record of {self.kernels_title}"

    @property
    def _rows(self) -> list[Row]:
        kinds = {"wrong": "wrong", "filler": "common"}
        return [
            Row(
                (
                    reading.field.name,
                    str(reading.field.offset),
                    str(reading.field.size),
                    reading.reads,
                    "; ".join(filter(None, (reading.verdict, reading.note))),
                ),
                kinds.get(reading.verdict, ""),
            )
            for reading in self.readings
        ]

    @property
    def _summary(self) -> list[str]:
        facts = [f"{len(self.wrong)} of {len(self)} read other bytes than their name says"]
        if self.missing:
            facts.append(f"ours has no {', '.join(self.missing)}")
        return facts

    def __repr__(self) -> str:
        lines = []
        for row in self._rows:
            name, offset, size, reads, verdict = row.cells
            first, *rest = wrap(reads, _READS_WIDTH) or [""]
            lines.append(Row((name, offset, size, first, verdict)))
            lines += [Row(("", "", "", line, "")) for line in rest]
        table = text_table(_COLUMNS, lines, right=_NUMBERS)
        summary = (line for fact in self._summary for line in wrap(fact, 80))
        return "\n".join((self._title, table, *summary))

    def _repr_html_(self) -> str:
        table = html_table(self._title, _COLUMNS, self._rows, right=_NUMBERS)
        return table + "".join(f"<p>{fact}</p>" for fact in self._summary)


_COLUMNS = ("ours", "offset", "size", "reads", "verdict")
_NUMBERS = (1, 2)
_READS_WIDTH = 34


def compare(
    ours: Format | Iterable[Field] | Iterable[tuple[str, str] | tuple[str, str, int]],
    kernels: Format,
) -> Comparison:
    """What each field of ``ours`` reads where the kernel lays its record out as ``kernels`` says.

    ``ours`` is the format of another kernel, or the members of a struct: fields, or
    ``(type, name[, count])`` as :func:`~tracekit.tracepoints.layout.layout_of` takes them.
    Nothing is loaded; the layouts alone tell.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> old = read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4")
    >>> result = compare(old, read_format("tcp:tcp_probe", kernel="linux_6.18"))
    >>> result["snd_cwnd"].verdict, result["snd_cwnd"].reads
    ('wrong', 'snd_una')
    >>> compare([("u64", "__unused__"), ("u32", "got_bits")],
    ...         read_format("random:urandom_read", kernel="ubuntu-20.04_5.4"))
    a struct on the record of random:urandom_read · ubuntu-20.04_5.4
    ours        offset  size  reads           verdict
    __unused__       0     8  8 common bytes  filler
    got_bits         8     4  got_bits        same; sign differs
    0 of 2 read other bytes than their name says
    ours has no pool_left, input_left
    """
    if isinstance(ours, Format):
        title, fields = _title(ours), ours.all_fields
    else:
        title, fields = "a struct", _as_fields(ours)
    names = {field.name for field in fields}
    return Comparison(
        tuple(_read(field, kernels) for field in fields),
        tuple(field.name for field in kernels.fields if field.name not in names),
        title,
        _title(kernels),
    )


def _title(fmt: Format) -> str:
    return f"{fmt.full_name} · {fmt.kernel}" if fmt.kernel else fmt.full_name


def _as_fields(
    members: Iterable[Field] | Iterable[tuple[str, str] | tuple[str, str, int]],
) -> tuple[Field, ...]:
    listed = tuple(members)
    fields = tuple(member for member in listed if isinstance(member, Field))
    if len(fields) == len(listed):
        return fields
    return layout_of(member for member in listed if not isinstance(member, Field))


def _read(ours: Field, kernels: Format) -> Reading:
    pieces = tuple(_pieces(ours, kernels))
    namesakes = [field for field in kernels if field.name == ours.name]
    if namesakes:
        alike = [field for field in namesakes if field.location == ours.location]
        named = (alike or namesakes)[0]
        if (ours.offset, ours.size) != (named.offset, named.size):
            return Reading(ours, pieces, "wrong")
        return Reading(ours, pieces, "same", "" if ours.signed == named.signed else "sign differs")
    if ours.name.startswith("__") and not any(piece.kind == "field" for piece in pieces):
        return Reading(ours, pieces, "filler")
    if len(pieces) == 1 and pieces[0].kind == "field" and pieces[0].whole:
        return Reading(ours, pieces, "other name")
    return Reading(ours, pieces, "wrong")


def _pieces(ours: Field, kernels: Format) -> Iterator[Piece]:
    common = {field.name for field in kernels.common_fields}
    at = ours.offset
    for field in sorted(kernels.all_fields, key=lambda f: f.offset):
        if field.end <= at or field.size == 0:
            continue
        if at >= ours.end:
            break
        if field.offset > at:
            size = min(field.offset, ours.end) - at
            yield Piece("hole", "", 0, size, size == field.offset - at)
            at += size
        if at < ours.end:
            size = min(field.end, ours.end) - at
            kind = "common" if field.name in common else "field"
            yield Piece(kind, field.name, at - field.offset, size, size == field.size)
            at += size
    if at < ours.end:
        yield Piece("behind", "", at - kernels.size, ours.end - at, False)

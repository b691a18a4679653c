"""The format file of a tracepoint: what each byte of its record means, as a value.

The kernel writes one such file for every event, ``events/<category>/<event>/format`` in tracefs
(``f_show`` in kernel/trace/trace_events.c, Linux 6.12). The kernel's own documents call the
category *system*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from tracekit.errors import FormatError, UnknownField
from tracekit.tracepoints.field import Field, parse_field, unique_names
from tracekit.tracepoints.table import Row, html_table, text_table

if TYPE_CHECKING:
    import numpy as np

    from tracekit.tracepoints.layout import Hole

__all__ = ("Field", "Format", "parse_format")


@dataclass(frozen=True, repr=False)
class Format:
    """One tracepoint's record: its fields, where they lie, and how the kernel prints them.

    ``common_fields`` are those every event begins with, ``fields`` the event's own. ``id`` is the
    number the kernel gave the event; it differs between builds, so it must be read, never kept.
    ``kernel`` names the catalogue's kernel the format is from; None is the running kernel, or
    unknown. ``text`` is the file.

    >>> fmt = parse_format(_EXAMPLE, "random")
    >>> fmt.full_name, fmt.size, "pool_left" in fmt, [f.name for f in fmt.fields]
    ('random:urandom_read', 20, True, ['got_bits', 'pool_left', 'input_left'])
    >>> fmt["got_bit"]
    Traceback (most recent call last):
    ...
    tracekit.errors.UnknownField: random:urandom_read has no field got_bit
      next: nearest names: got_bits
    """

    category: str
    name: str
    id: int | None
    common_fields: tuple[Field, ...]
    fields: tuple[Field, ...]
    print_fmt: str
    kernel: str | None = None
    text: str = field(default="", compare=False)

    @property
    def full_name(self) -> str:
        """``category:event``, the name bcc and perf use."""
        return f"{self.category}:{self.name}" if self.category else self.name

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """The common fields, then the event's own."""
        return self.common_fields + self.fields

    @property
    def size(self) -> int:
        """Bytes up to the end of the last field.

        What a ``__data_loc`` field points to lies behind, and so does the kernel's padding.
        """
        return max((f.end for f in self.all_fields), default=0)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The record as a numpy dtype; see :func:`tracekit.tracepoints.layout.record_dtype`."""
        from tracekit.tracepoints.layout import record_dtype

        return record_dtype(self)

    @cached_property
    def holes(self) -> tuple[Hole, ...]:
        """The bytes no field claims; see :func:`tracekit.tracepoints.layout.find_holes`."""
        from tracekit.tracepoints.layout import find_holes

        return find_holes(self)

    def c_struct(self, name: str = "", *, asserts: bool = False) -> str:
        """A C struct of the record; see :func:`tracekit.tracepoints.cstruct.c_struct`."""
        from tracekit.tracepoints.cstruct import c_struct

        return c_struct(self, name, asserts=asserts)

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return dict(zip(unique_names(self.all_fields), self.all_fields, strict=True))

    def __getitem__(self, name: str) -> Field:
        try:
            return self._by_name[name]
        except KeyError:
            nearest = get_close_matches(str(name), self._by_name, n=3)
            raise UnknownField(name, where=self.full_name, nearest=nearest) from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Field]:
        return iter(self.all_fields)

    def __len__(self) -> int:
        return len(self.common_fields) + len(self.fields)

    def __repr__(self) -> str:
        return f"{self._title}\n{text_table(_COLUMNS, self._rows, right=_NUMBERS)}"

    def _repr_html_(self) -> str:
        return html_table(self._title, _COLUMNS, self._rows, right=_NUMBERS)

    @property
    def _title(self) -> str:
        number = f"ID {self.id}" if self.id is not None else ""
        facts = (self.full_name, number, f"{self.size} bytes", self.kernel or "")
        return " · ".join(fact for fact in facts if fact)

    @property
    def _rows(self) -> list[Row]:
        common = {f.name for f in self.common_fields}
        rows = [
            (
                f.offset,
                Row(
                    (str(f.offset), str(f.size), "yes" if f.signed else "no", f.declaration)
                    + (("common",) if f.name in common else (f.location.strip("_"),)),
                    "common" if f.name in common else "",
                ),
            )
            for f in self.all_fields
        ]
        for hole in self.holes:
            cells = (str(hole.offset), str(hole.size), "", "", "hole")
            rows.append((hole.offset, Row(cells, "hole")))
        return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


_COLUMNS = ("offset", "size", "signed", "declaration", "note")
_NUMBERS = (0, 1)


def parse_format(text: str, category: str = "", *, kernel: str | None = None) -> Format:
    """Parse the text of a format file.

    The file does not name the event's category; who knows it passes it. Raises
    :class:`~tracekit.errors.FormatError` with the line number and the line where the text is not
    a format file.

    Every shape Linux writes is known: fixed arrays whose dimension is a number or a C expression
    (``sizeof(struct sockaddr_in6)`` up to Linux 6.1.11), ``__data_loc`` with brackets before the
    name, ``__rel_loc`` with brackets behind it, attributes inside the type, no ``signed:``, real
    newlines inside ``print fmt``.

    >>> fmt = parse_format(_EXAMPLE, "random", kernel="ubuntu-20.04_5.4")
    >>> fmt["pool_left"].offset, fmt.id
    (12, 1181)
    >>> parse_format(_EXAMPLE.replace("offset:12;", ""))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    tracekit.errors.FormatError: format file, line 10: 'offset' is missing
      field:int pool_left; size:4; signed:1;
      next: a field is written 'field:TYPE NAME; offset:N; size:N; signed:0;' (or 1)
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    # All from "print fmt:" to the end is one text: kernels write real newlines inside it.
    head, mark, print_fmt = text.partition("\nprint fmt:")
    if not mark:
        raise FormatError("the text has no line 'print fmt:'", _WHOLE)
    top, mark, body = head.partition("\nformat:")
    if not mark:
        raise FormatError("the text has no line 'format:'", _WHOLE)
    name, number = _parse_top(top)
    # An empty line ends the common fields. Where it is missing, their prefix tells them.
    first_line = top.count("\n") + 2
    first, separated, second = body.partition("\n\n")
    common = _parse_block(first, first_line)
    if separated:
        own = _parse_block(second, first_line + first.count("\n") + 2)
    else:
        common, own = _split_by_prefix(common)
    if len({f.name for f in common + own}) != len(common) + len(own):
        _refuse_duplicates(name, common + own)
    return Format(category, name, number, common, own, print_fmt.strip(), kernel, text)


def _parse_top(top: str) -> tuple[str, int | None]:
    name = ""
    number: int | None = None
    for line_number, line in enumerate(top.split("\n"), 1):
        key, _, value = line.partition(":")
        value = value.strip()
        if key == "name" and value:
            name = value
        elif key == "ID" and value.isdecimal():
            number = int(value)
        elif line.strip():
            raise FormatError(
                "'name:' and 'ID:' are expected", _WHOLE, line_number=line_number, line=line
            )
    if not name:
        raise FormatError("the text has no line 'name:'", _WHOLE)
    return name, number


_WHOLE = "pass the whole text of a file named 'format', and nothing else"
_FIELD_LINE = "a field is written 'field:TYPE NAME; offset:N; size:N; signed:0;' (or 1)"


# The block of common fields is the same in all files of a kernel, and events of one class share
# the other block.
@lru_cache(maxsize=256)
def _parse_block(block: str, first_line: int) -> tuple[Field, ...]:
    fields = []
    for line_number, line in enumerate(block.split("\n"), first_line):
        if line and not line.isspace():
            try:
                fields.append(parse_field(line))
            except ValueError as error:
                raise FormatError(
                    str(error), _FIELD_LINE, line_number=line_number, line=line
                ) from None
    return tuple(fields)


def _split_by_prefix(
    fields: tuple[Field, ...],
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    count = next((i for i, f in enumerate(fields) if not f.name.startswith("common_")), len(fields))
    return fields[:count], fields[count:]


def _refuse_duplicates(event: str, fields: tuple[Field, ...]) -> None:
    seen: set[str] = set()
    for name in unique_names(fields):
        if name in seen:
            raise FormatError(f"{event} has two fields named {name}")
        seen.add(name)


# The document's own example, for the doctests: early Linux 5.4 (it is gone since 5.18).
_EXAMPLE = """name: urandom_read
ID: 1181
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int got_bits;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int pool_left;\toffset:12;\tsize:4;\tsigned:1;
\tfield:int input_left;\toffset:16;\tsize:4;\tsigned:1;

print fmt: "got_bits %d nonblocking_pool_entropy_left %d input_entropy_left %d", \
REC->got_bits, REC->pool_left, REC->input_left
"""

"""The format file of a tracepoint: what each byte of its record means, as a value.

The kernel writes one such file for every event, ``events/<category>/<event>/format`` in tracefs
(``f_show`` in kernel/trace/trace_events.c, Linux 6.12). The kernel's own documents call the
category *system*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING

from tracekit.errors import FormatError, UnknownField
from tracekit.tracepoints.declaration import parse_declaration, type_is_signed, type_width
from tracekit.tracepoints.table import Row, html_table, text_table

if TYPE_CHECKING:
    import numpy as np

    from tracekit.tracepoints.layout import Hole

__all__ = ("Field", "Format", "parse_format", "unique_names")


@dataclass(frozen=True, slots=True, repr=False)
class Field:
    """One field of a record, as one line of the format file describes it.

    ``declaration`` is the line's C declaration, ``type`` and ``name`` its parts (without brackets
    and attributes). ``offset`` and ``size`` are bytes. ``length`` is the number of elements of a
    fixed array, or None; an array of unknown elements counts bytes. ``location`` is ``""``, or
    ``"__data_loc"`` or ``"__rel_loc"`` where the bytes only say where in the record the value is.

    ``offset``, ``size`` and ``signed`` are the kernel's word and decide; the C type does not: a
    system call's ``int dfd`` has size 8 and is unsigned (Linux 6.18).

    >>> parse_format(_EXAMPLE, "random")["got_bits"]
    <Field int got_bits: offset 8, size 4, signed>
    """

    declaration: str
    type: str
    name: str
    offset: int
    size: int
    signed: bool
    length: int | None = None
    location: str = ""

    @property
    def end(self) -> int:
        """The offset of the first byte behind the field."""
        return self.offset + self.size

    @property
    def element_size(self) -> int:
        """Bytes of one element of an array, or of the field itself; 0 for an empty array."""
        if self.length is None:
            return self.size
        return self.size // self.length if self.length else 0

    def __repr__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        return f"<Field {self.declaration}: offset {self.offset}, size {self.size}, {sign}>"


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
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    # All from "print fmt:" to the end is one text: kernels write real newlines inside it.
    head, mark, print_fmt = text.partition("\nprint fmt:")
    if not mark:
        raise FormatError(
            "the text has no line 'print fmt:'", "pass the whole text of a file named 'format'"
        )
    top, mark, body = head.partition("\nformat:")
    if not mark:
        raise FormatError(
            "the text has no line 'format:'", "pass the whole text of a file named 'format'"
        )
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


def unique_names(fields: Iterable[Field]) -> tuple[str, ...]:
    """The fields' names; where a value and its ``__data_loc`` share one, the latter is longer.

    The longer name, ``__data_loc_<name>``, is that of the member in the kernel's own struct.
    Linux 5.10 has an event with such a pair: the ``type`` of ``regmap:regcache_sync``.

    >>> both = [Field("__data_loc char[] type", "char", "type", 8, 4, True, None, "__data_loc"),
    ...         Field("int type", "int", "type", 12, 4, True)]
    >>> unique_names(both), unique_names(both[:1])
    (('__data_loc_type', 'type'), ('type',))
    """
    listed = tuple(fields)
    values = {f.name for f in listed if not f.location}
    return tuple(
        f"{f.location}_{f.name}" if f.location and f.name in values else f.name for f in listed
    )


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
            raise FormatError("'name:' and 'ID:' are expected", line_number=line_number, line=line)
    if not name:
        raise FormatError("the text has no line 'name:'")
    return name, number


# The block of common fields is the same in all files of a kernel, and events of one class share
# the other block.
@lru_cache(maxsize=256)
def _parse_block(block: str, first_line: int) -> tuple[Field, ...]:
    fields = []
    for line_number, line in enumerate(block.split("\n"), first_line):
        if line and not line.isspace():
            try:
                fields.append(_parse_field(line))
            except ValueError as error:
                raise FormatError(str(error), line_number=line_number, line=line) from None
    return tuple(fields)


_LINE = re.compile(
    r"\s*field(?: special)?:\s*([^;]*);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:([01]);)?\s*"
)


# Field lines repeat: a kernel's 2,300 files hold the same four common lines, and fields such as
# "dev_t dev" at offset 8 hundreds of times. Fields never change, so all files can share one.
@lru_cache(maxsize=16384)
def _parse_field(line: str) -> Field:
    match = _LINE.fullmatch(line)
    if match is None and not line.lstrip().startswith("field"):
        raise ValueError("a field is expected")
    if match is None:
        declaration, offset, size, sign = _parse_keys(line)
    else:
        declaration, offset, size, sign = match[1].strip(), int(match[2]), int(match[3]), match[4]
    parts = parse_declaration(declaration)
    signed = type_is_signed(parts.type) if sign is None else sign == "1"
    length = _count_elements(parts.type, parts.dimensions, size) if parts.dimensions else None
    return Field(declaration, parts.type, parts.name, offset, size, signed, length, parts.location)


def _parse_keys(line: str) -> tuple[str, int, int, str | None]:
    # The keys in another order, or more of them than Linux writes today.
    keys: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in line.split(";"))):
        key, colon, value = part.partition(":")
        if not colon:
            raise ValueError(f"{part!r} is not 'key:value'")
        keys["field" if key == "field special" else key.strip()] = value.strip()
    for key in ("field", "offset", "size"):
        if key not in keys:
            raise ValueError(f"{key!r} is missing")
        if key != "field" and not keys[key].isdecimal():
            raise ValueError(f"{key!r} is {keys[key]!r}, not a number")
    if keys.get("signed", "0") not in ("0", "1"):
        raise ValueError(f"'signed' is {keys['signed']!r}, not 0 or 1")
    return keys["field"], int(keys["offset"]), int(keys["size"]), keys.get("signed")


def _count_elements(type_name: str, dimensions: tuple[str, ...], size: int) -> int:
    if all(dimension.isdecimal() for dimension in dimensions):
        length = prod(map(int, dimensions))
        if (length and size % length == 0) or size == length == 0:
            return length
    # "sizeof(struct sockaddr_in6)", "TASK_COMM_LEN", "32 + 2", "": the size decides.
    width = type_width(type_name) or 1
    return size // width if size % width == 0 else size


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

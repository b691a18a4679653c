"""One field of a record, and the line of a format file that describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from tracekit.tracepoints.declaration import parse_declaration, type_is_signed, type_width

__all__ = ("Field", "parse_field", "unique_names")


@dataclass(frozen=True, slots=True, repr=False)
class Field:
    """One field of a record, as one line of the format file describes it.

    ``declaration`` is the line's C declaration, ``type`` and ``name`` its parts (without brackets
    and attributes). ``offset`` and ``size`` are bytes. ``length`` is the number of elements of a
    fixed array, or None; an array of unknown elements counts bytes. ``location`` is ``""``, or
    ``"__data_loc"`` or ``"__rel_loc"`` where the bytes only say where in the record the value is.

    ``offset``, ``size`` and ``signed`` are the kernel's word and decide; the C type does not: a
    system call's ``int dfd`` has size 8 and is unsigned (Linux 6.18).

    >>> Field("int got_bits", "int", "got_bits", 8, 4, True)
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


_LINE = re.compile(
    r"\s*field(?: special)?:\s*([^;]*);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:([01]);)?\s*"
)


# Field lines repeat: a kernel's 2,300 files hold the same four common lines, and fields such as
# "dev_t dev" at offset 8 hundreds of times. Fields never change, so all files can share one.
@lru_cache(maxsize=16384)
def parse_field(line: str) -> Field:
    """The field that one line of a format file describes; ValueError says what is wrong with it.

    >>> parse_field("field:__u8 saddr[sizeof(struct sockaddr_in6)]; offset:8; size:28; signed:0;")
    <Field __u8 saddr[sizeof(struct sockaddr_in6)]: offset 8, size 28, unsigned>
    """
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

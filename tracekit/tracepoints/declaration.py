"""The C declaration inside a format file's field line, such as ``__u8 saddr[28]``, taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ("Declaration", "parse_declaration", "type_is_signed", "type_width")

# Sizes of the kernel's C types on 64-bit Linux (LP64). Only used where the line's own numbers do
# not decide: an array whose dimension is an expression, a line without "signed:".
_WIDTHS = {
    "bool": 1, "_Bool": 1, "char": 1, "signed char": 1, "unsigned char": 1,
    "u8": 1, "s8": 1, "__u8": 1, "__s8": 1, "uint8_t": 1, "int8_t": 1,
    "short": 2, "short int": 2, "unsigned short": 2, "short unsigned int": 2,
    "u16": 2, "s16": 2, "__u16": 2, "__s16": 2, "uint16_t": 2, "int16_t": 2,
    "__be16": 2, "__le16": 2, "umode_t": 2,
    "int": 4, "unsigned": 4, "unsigned int": 4, "signed int": 4,
    "u32": 4, "s32": 4, "__u32": 4, "__s32": 4, "uint32_t": 4, "int32_t": 4,
    "__be32": 4, "__le32": 4, "pid_t": 4, "uid_t": 4, "gid_t": 4, "dev_t": 4, "gfp_t": 4,
    "long": 8, "long int": 8, "unsigned long": 8, "long unsigned int": 8,
    "long long": 8, "long long int": 8, "unsigned long long": 8,
    "u64": 8, "s64": 8, "__u64": 8, "__s64": 8, "uint64_t": 8, "int64_t": 8,
    "__be64": 8, "__le64": 8, "size_t": 8, "ssize_t": 8, "loff_t": 8, "ino_t": 8,
    "sector_t": 8, "ktime_t": 8, "dma_addr_t": 8, "phys_addr_t": 8,
}  # fmt: skip
_SIGNED = re.compile(
    r"\b(?:signed|char|short|int|long|s8|s16|s32|s64|__s8|__s16|__s32|__s64"
    r"|int8_t|int16_t|int32_t|int64_t|pid_t|ssize_t|loff_t|ktime_t)\b"
)
_QUALIFIERS = re.compile(r"\b(?:const|volatile|__user|__rcu|__percpu|__seg_gs|__seg_fs)\b")

_LOCATION = re.compile(r"(__data_loc|__rel_loc)\s+")
# "char[] name", "char name[]" and "cpumask_t name" are all written after __data_loc and __rel_loc.
_DYNAMIC = re.compile(r"(.*?)\s*(?:\[[^\]]*\]\s*)?\b([A-Za-z_]\w*)\s*(?:\[[^\]]*\])?", re.DOTALL)
_LAST_IDENTIFIER = re.compile(r"(.*?)\s*\b([A-Za-z_]\w*)", re.DOTALL)
_FUNCTION_POINTER = re.compile(r"(.*\(\s*\*)\s*([A-Za-z_]\w*)\s*(\).*)", re.DOTALL)


class Declaration(NamedTuple):
    """One declaration's parts; ``dimensions`` are the texts between the brackets after the name.

    ``location`` is ``"__data_loc"`` or ``"__rel_loc"`` where the record holds a pointer to the
    value instead of the value, else ``""``.
    """

    type: str
    name: str
    dimensions: tuple[str, ...]
    location: str


def parse_declaration(text: str) -> Declaration:
    """Take one C declaration apart; ValueError says what is missing.

    The name is looked for before the first bracket, because a dimension can hold blanks and
    words of its own:

    >>> parse_declaration("__u8 saddr[sizeof(struct sockaddr_in6)]")
    Declaration(type='__u8', name='saddr', dimensions=('sizeof(struct sockaddr_in6)',), location='')
    >>> parse_declaration("const void * skbaddr").type
    'const void *'
    >>> parse_declaration("__data_loc char[] filename")
    Declaration(type='char', name='filename', dimensions=(), location='__data_loc')
    """
    plain = _without_attributes(text).strip()
    if ":" in plain:  # a bit field, which no record has: "type_len : 5 bits" in header_event
        raise ValueError("a type and a name are expected, and no bits")
    location = _LOCATION.match(plain)
    if location:
        parts = _DYNAMIC.fullmatch(plain, location.end())
        if parts is None or not parts[1]:
            raise ValueError("a type and a name are expected")
        return Declaration(parts[1], parts[2], (), location[1])
    head, bracket, rest = plain.partition("[")
    dimensions: tuple[str, ...] = ()
    if bracket:
        rest = rest.rstrip()
        if not rest.endswith("]"):
            raise ValueError("a bracket is opened and not closed")
        dimensions = tuple(part.strip() for part in re.split(r"\]\s*\[", rest[:-1]))
    head = head.rstrip()
    function = _FUNCTION_POINTER.fullmatch(head)
    if function:
        return Declaration(f"{function[1]}{function[3]}", function[2], dimensions, "")
    parts = _LAST_IDENTIFIER.fullmatch(head)
    if parts is None or not parts[1]:
        raise ValueError("a type and a name are expected")
    return Declaration(parts[1], parts[2], dimensions, "")


def type_width(type_name: str) -> int | None:
    """Bytes of one value of a C type on 64-bit Linux, or None where the name does not tell.

    >>> type_width("unsigned int"), type_width("const void *"), type_width("struct stat")
    (4, 8, None)
    """
    if "*" in type_name:
        return 8
    plain = " ".join(_QUALIFIERS.sub(" ", type_name).split())
    if plain.startswith("enum "):
        return 4
    return _WIDTHS.get(plain)


def type_is_signed(type_name: str) -> bool:
    """Whether a C type's name says that its values have a sign.

    >>> type_is_signed("pid_t"), type_is_signed("unsigned long"), type_is_signed("char *")
    (True, False, False)
    """
    if "*" in type_name or "unsigned" in type_name:
        return False
    return bool(_SIGNED.search(type_name))


def _without_attributes(text: str) -> str:
    # Linux up to 6.1.11 writes __attribute__((user)) and the like inside the type; the parentheses
    # nest, so a regular expression can't cut them out.
    start = text.find("__attribute__")
    while start >= 0:
        depth = 0
        for end in range(start + len("__attribute__"), len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0 and text[end] == ")":
                break
        else:
            raise ValueError("the parentheses of __attribute__ are not closed")
        text = f"{text[:start].rstrip()} {text[end + 1 :].lstrip()}"
        start = text.find("__attribute__")
    return text

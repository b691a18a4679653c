"""Whether ``TRACEPOINT_PROBE`` can be used for a tracepoint: the struct that bcc generates for it.

bcc writes each field with the C type that the format file names, but brings no header that defines
it; and it takes the type's size in place of the field's, with a few exceptions.
"""

from __future__ import annotations

import re

from tracekit.tracepoints.declaration import parse_declaration, type_width
from tracekit.tracepoints.format import Format

__all__ = ("why_not_generated",)

# Types that linux/types.h defines, beside those type_width() knows.
_MORE_WIDTHS = {"off_t": 8, "blkcnt_t": 8, "key_t": 4, "mqd_t": 4, "clockid_t": 4, "timer_t": 4}
# Those that bcc widens to the 8 bytes of a system call's argument (src/cc/common.cc, v0.26).
_WIDENED = {
    *("char", "short", "int", "int8_t", "int16_t", "int32_t", "pid_t"),
    *("unsigned char", "unsigned short", "unsigned int", "unsigned"),
    *("uint8_t", "uint16_t", "uint32_t", "u32", "uid_t", "gid_t"),
}
_PLAIN_WORDS = re.compile(r"\b(?:const|volatile|__user|__rcu|__percpu|__seg_gs|__seg_fs)\b|\*")
_POINTED_TO = re.compile(r"(?:struct|union) \w+|void")


def why_not_generated(fmt: Format) -> str:
    """Why the struct that bcc generates does not compile, or reads a field wrongly.

    Empty where ``TRACEPOINT_PROBE`` can be used, without any header.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> why_not_generated(read_format("tcp:tcp_probe", kernel="debian-12_6.12"))
    ''
    >>> why_not_generated(read_format("syscalls:sys_enter_openat", kernel="debian-12_6.12"))
    'mode has 8 bytes, and its type umode_t has 2'
    """
    if not re.fullmatch(r"\w+", fmt.category) or not re.fullmatch(r"[A-Za-z_]\w*", fmt.name):
        return "the event's name can't be a part of a C function's"
    for field in fmt.fields:
        if field.location == "__rel_loc":
            return f"bcc does not know __rel_loc, which locates {field.name}"
        if field.location:
            continue
        dimensions = parse_declaration(field.declaration).dimensions
        if not all(dimension.isdecimal() for dimension in dimensions):
            return f"the length of the array {field.name} is not written as a number"
        width = _width(field.type)
        if width is None:
            return f"the compiler has no definition of {field.type}, the type of {field.name}"
        if width != field.element_size and not (field.size == 8 and field.type in _WIDENED):
            return f"{field.name} has {field.size} bytes, and its type {field.type} has {width}"
    return ""


def _width(type_name: str) -> int | None:
    # Of a type that kernel headers have to define nothing is known to a program without them.
    plain = " ".join(_PLAIN_WORDS.sub(" ", type_name).split())
    if plain.startswith("enum ") or "(" in plain:
        return None
    if "*" in type_name and _POINTED_TO.fullmatch(plain):
        return 8
    known = _MORE_WIDTHS.get(plain) or type_width(plain)
    return 8 if known and "*" in type_name else known

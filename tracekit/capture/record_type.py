"""The numpy dtype of the records a program sends: names from bcc, offsets and sizes from clang.

bcc tells the names and types of a record's members but not where they lie, and its own decoding
knows few types and no packed struct. So the compiler is asked: a second text, the program with one
table more, whose leaf is a struct of ``char`` arrays as long as the numbers wanted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracekit.capture.program import Program
from tracekit.errors import RecordTypeError

__all__ = ("measure_struct", "record_dtype")

_TABLE = "tracekit_measure"
_DIMENSIONS = re.compile(r"\[(\d+)\]")
# C names of integer types by kind; their sizes come from the compiler.
_SIGNED = re.compile(
    r"(?:(?:__)?s(?:8|16|32|64)|int(?:8|16|32|64)_t|signed char|short(?: int)?|int|long(?: int)?"
    r"|long long(?: int)?|pid_t|ssize_t|loff_t|off_t|time64_t|ktime_t|clockid_t)"
)
_UNSIGNED = re.compile(
    r"(?:(?:__)?u(?:8|16|32|64)|uint(?:8|16|32|64)_t"
    r"|unsigned(?: char| short| int| long| long long)?"
    r"|size_t|uid_t|gid_t|dev_t|sector_t|__le(?:16|32|64)|enum .*|void ?\*|umode_t|gfp_t)"
)
_BIG_ENDIAN = re.compile(r"__be(?:16|32|64)")

# What runs the compiler: (C text, table's name) -> how clang laid out the table's leaf, or None.
Describe = Callable[[str, str], Any]


def record_dtype(
    program: Program, table: str, members: Sequence[tuple[str, str]], describe: Describe
) -> np.dtype[Any]:
    """The dtype of the records sent to ``table``.

    :param members: (name, C type) of each member, as bcc tells them.
    :param describe: compiles a text and gives the layout of one of its tables' leaf.
    :raises RecordTypeError: the record is no struct of the program's, or the type of one of its
        members is no number, text or array of those.
    """
    if not members:
        raise RecordTypeError(
            f"{table} is sent no struct",
            "send a struct of named members: struct event_t { u64 ts; u32 pid; };",
        )
    kinds = {name: _kind(table, name, type_name) for name, type_name in members}
    structs = [struct for struct in program.structs if set(kinds) <= struct.words]
    measured = False
    # The one with the fewest other words first: it is nearly always the one that is sent.
    for struct in sorted(structs, key=lambda struct: len(struct.words)):
        text = _measuring_text(program, struct.type, list(kinds), dict(members))
        numbers = _numbers(describe(text, _TABLE))
        measured = measured or numbers is not None
        if numbers and all(numbers[f"same{index}"] for index in range(len(kinds))):
            places = _places(numbers, list(kinds))
            return _dtype(kinds, places, numbers["size"])
    names = ", ".join(kinds)
    if structs and not measured:
        raise RecordTypeError(
            f"a member of {structs[0].type}, which is sent to {table}, has no place of its own: it"
            " is a bit-field",
            "use u8, u16, u32, u64 and arrays of those or of char in a struct that is sent",
        )
    raise RecordTypeError(
        f"the struct sent to {table} ({names}) has no definition in {program.file}, outside of"
        " functions",
        "define it there, with a name: struct event_t { … };",
    )


def _dtype(
    kinds: Mapping[str, tuple[str, tuple[int, ...]]],
    places: Mapping[str, tuple[int, int]],
    size: int,
) -> np.dtype[Any]:
    formats = []
    for name, (letter, shape) in kinds.items():
        length = places[name][1] // max(math.prod(shape), 1)
        if letter == "S":
            # the last dimension is the text's
            formats.append(np.dtype((f"S{shape[-1]}", shape[:-1])))
        else:
            formats.append(np.dtype((f"{letter}{length}", shape)))
    return np.dtype(
        {
            "names": list(kinds),
            "formats": formats,
            "offsets": [places[name][0] for name in kinds],
            "itemsize": size,
        }
    )


def measure_struct(
    program: Program, type_name: str, members: Sequence[str], describe: Describe
) -> tuple[int, Mapping[str, tuple[int, int]]]:
    """Ask the compiler for a struct's size, and for (offset, size) of each of ``members``.

    All are in bytes.

    :raises RecordTypeError: a member is a bit-field, which has no offset.
    """
    numbers = _numbers(describe(_measuring_text(program, type_name, members, {}), _TABLE))
    if numbers is None:
        raise RecordTypeError(
            f"a member of {type_name} has no place of its own: it is a bit-field",
            "use u8, u16, u32, u64 and arrays of those or of char in a struct that is sent",
        )
    return numbers["size"], _places(numbers, members)


def _measuring_text(
    program: Program, type_name: str, members: Sequence[str], types: Mapping[str, str]
) -> str:
    wanted = {"size": f"sizeof({type_name})"}
    for index, name in enumerate(members):
        member = f"(({type_name} *)0)->{name}"
        wanted[f"offset{index}"] = f"__builtin_offsetof({type_name}, {name})"
        wanted[f"length{index}"] = f"sizeof({member})"
        if name in types:
            same = f"__builtin_types_compatible_p(__typeof__({member}), {types[name]})"
            wanted[f"same{index}"] = same
    # By way of constants: bcc describes the types it finds in an array's length as if they were
    # the array's own. And + 1, because an array of length 0 would be no member.
    constants = [f"\ttracekit_{key} = {value} + 1," for key, value in wanted.items()]
    lengths = [f"\tchar {key}[tracekit_{key}];" for key in wanted]
    return "\n".join(
        [
            program.compiled_text,
            *("enum {", *constants, "};"),
            *(f"struct {_TABLE}_leaf {{", *lengths, "};"),
            f'BPF_TABLE("array", u32, struct {_TABLE}_leaf, {_TABLE}, 1);',
            "",
        ]
    )


def _numbers(leaf: Any) -> Mapping[str, int] | None:
    return None if leaf is None else {member[0]: member[2][0] - 1 for member in leaf[1]}


def _places(numbers: Mapping[str, int], members: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    return {
        name: (numbers[f"offset{index}"], numbers[f"length{index}"])
        for index, name in enumerate(members)
    }


def _kind(table: str, name: str, type_name: str) -> tuple[str, tuple[int, ...]]:
    shape = tuple(int(n) for n in _DIMENSIONS.findall(type_name))
    if not name:
        raise RecordTypeError(
            f"the struct sent to {table} has a member without a name, a struct or union",
            "give each member of it a name and a place in the struct itself",
        )
    if 0 in shape or "[]" in type_name:
        raise RecordTypeError(
            f"the member {name} of the struct sent to {table} is an array without a length",
            "give the array a length: each record has the same size",
        )
    base = _DIMENSIONS.sub("", type_name).replace("const ", "").replace("volatile ", "").strip()
    if base == "char":
        return ("S", shape) if shape else ("i", ())
    if base.endswith("*") and "void" not in base:
        raise RecordTypeError(
            f"the member {name} of the struct sent to {table} is a {base}: what it points to stays"
            " in the kernel",
            "copy what you need with bpf_probe_read_kernel; to send the address as a number,"
            " declare the member as u64 or void *",
        )
    for pattern, letter in (
        (_BIG_ENDIAN, ">u"),
        (_SIGNED, "i"),
        (_UNSIGNED, "u"),
    ):
        if pattern.fullmatch(base):
            return letter, shape
    if base in ("bool", "_Bool"):
        return "b", shape
    raise RecordTypeError(
        f"the member {name} of the struct sent to {table} is a {base}, which is no"
        " column of numbers or text",
        "use u8, u16, u32, u64 and arrays of those or of char; copy the members of an inner"
        " struct to members of their own",
    )

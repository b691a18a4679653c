"""How the compiler lays out a C struct: a learner's, or the one bcc writes for TRACEPOINT_PROBE."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tracekit.capture.diagnostics import compile_error
from tracekit.capture.loading import compiler_options, start_worker
from tracekit.capture.process import RequestFailed, WorkerProcess
from tracekit.capture.program import Program
from tracekit.capture.record_type import measure_struct
from tracekit.errors import RecordTypeError
from tracekit.tracepoints.declaration import parse_declaration, type_is_signed, type_width
from tracekit.tracepoints.format import Field, Format
from tracekit.tracepoints.tracefs import read_format

__all__ = ("generated_struct", "lay_out_struct")

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{(.*?)\}", re.DOTALL)


def lay_out_struct(text: str, name: str | None = None) -> Format:
    """Ask the compiler where the members of a struct lie.

    :param text: C text that defines it, with the ``#include`` lines it needs, as one would write it
        in a BPF program.
    :param name: which struct, where the text has several; the last one otherwise.
    :return: a format whose fields are the members; it has no common fields, no id and no print fmt.
    :raises RecordTypeError: there is no such struct, or a member is a bit-field or a struct itself.
    :raises CompileError: the compiler refuses the text.
    """
    bodies = dict(_STRUCT.findall(_COMMENT.sub(" ", text)))
    if not bodies or (name is not None and name not in bodies):
        wanted = f"no struct {name}" if name else "no struct"
        raise RecordTypeError(f"{wanted} in this text", "write it as struct NAME { … };")
    name = name or list(bodies)[-1]
    members = [member for part in bodies[name].split(";") for member in _members(part)]
    program = Program(text, "struct.c")
    worker = start_worker()
    try:
        size, places = measure_struct(
            program,
            f"struct {name}",
            [member.name for member in members],
            lambda text, table: _describe(worker, program, text, table),
        )
    finally:
        worker.close()
    fields = [_place(member, *places[member.name]) for member in members]
    fields += _tail(fields, size)
    return Format("", name, None, (), tuple(fields), "", text=text)


def generated_struct(tracepoint: str) -> Format:
    """The struct that ``TRACEPOINT_PROBE`` gives a program as ``args``, laid out by the compiler.

    bcc writes it from the format file (src/cc/frontends/clang/tp_frontend_action.cc, v0.26.0):
    the first 8 bytes as ``__do_not_use__``, each hole as bytes called ``__pad_`` and their offset.

    :param tracepoint: ``category:event``.
    :raises UnknownTracepoint: this kernel has no such tracepoint.
    """
    fmt = read_format(tracepoint)
    probe = f"TRACEPOINT_PROBE({fmt.category}, {fmt.name}) {{ return 0; }}\n"
    program = Program("#include <uapi/linux/in6.h>\n" + probe, "generated.c")
    worker = start_worker()
    try:
        # bcc prints the text it compiles (DEBUG_PREPROCESSOR)
        worker.request("compile", text=program.text, debug=4, **compiler_options(program))
        output = worker.new_output()
    except RequestFailed as failure:
        raise compile_error(failure.output, program) from None
    finally:
        worker.close()
    name = f"tracepoint__{fmt.category}__{fmt.name}"
    written = re.search(rf"struct {name} \{{.*?\n\}};", output, re.DOTALL)
    if written is None:
        raise RecordTypeError(f"bcc wrote no struct for {tracepoint}")
    return lay_out_struct("#include <uapi/linux/in6.h>\n" + written[0], name)


def _describe(worker: WorkerProcess, program: Program, text: str, table: str) -> Any:
    try:
        answer = worker.request("describe", text=text, table=table, **compiler_options(program))
    except RequestFailed as failure:
        if "bit-field" in failure.output:
            return None
        raise compile_error(failure.output, program) from None
    return answer["leaf"]


def _members(part: str) -> list[Field]:
    """The members one declaration declares: ``u32 a, b[2]`` are two. Not yet placed."""
    part = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", part).strip()
    if not part:
        return []
    if re.search(r"\b(struct|union)\s*(\w+\s*)?\{", part):
        raise RecordTypeError(
            "a struct within the struct can't be laid out here", "write its members one by one"
        )
    first, *others = re.split(r",(?![^\[(]*[\])])", part)
    try:
        declared = parse_declaration(first)
        members = [declared]
        members += [parse_declaration(f"{declared.type} {other.strip()}") for other in others]
    except ValueError as error:
        raise RecordTypeError(f"{' '.join(part.split())!r} can't be laid out: {error}") from None
    return [
        Field(
            declaration=" ".join([one.type, one.name])
            + "".join(f"[{dimension}]" for dimension in one.dimensions),
            type=one.type,
            name=one.name,
            offset=0,
            size=0,
            signed=type_is_signed(one.type),
            length=0 if one.dimensions else None,
        )
        for one in members
    ]


def _place(member: Field, offset: int, size: int) -> Field:
    length = None if member.length is None else size // (type_width(member.type) or 1)
    return replace(member, offset=offset, size=size, length=length)


def _tail(fields: list[Field], size: int) -> list[Field]:
    # Padding at the end has no field behind it that would show the hole.
    end = max((field.end for field in fields), default=0)
    if end == size:
        return []
    name, length = f"__pad_{end}", size - end
    return [Field(f"u8 {name}[{length}]", "u8", name, end, length, False, length)]

"""A C program as the learner wrote it, and the text bcc is given, with true line numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.capture.source_text import Source, blank, brace_depths, find_probes
from tracekit.errors import CompileError

__all__ = ("Program", "Struct", "read_program")

_CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(if|endif)", re.MULTILINE)
_ATTRIBUTE = r"(?:__attribute__\s*\(\(.*?\)\)|__packed|__aligned\s*\(.*?\))"
_STRUCT = re.compile(rf"\bstruct\s+(?:{_ATTRIBUTE}\s*)*(?P<name>\w+)\s*\{{", re.DOTALL)
_TYPEDEF = re.compile(
    rf"\btypedef\s+struct\s*(?:{_ATTRIBUTE}\s*)*(?:\w+\s*)?(?:{_ATTRIBUTE}\s*)*\{{", re.DOTALL
)
_TYPEDEF_NAME = re.compile(rf"\}}\s*(?:{_ATTRIBUTE}\s*)*(?P<name>\w+)", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct the program defines: how C names its type, and every word of its body."""

    type: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Program:
    """C text for bcc: ``text`` as written, ``file`` as messages shall name it.

    ``folder`` is where ``#include "…"`` looks; ``defines`` become ``-D`` options. Nothing is
    read or compiled before it is asked for.

    >>> program = Program("// mine\\nTRACEPOINT_PROBE(tcp, tcp_probe) { return 0; }", "first.c")
    >>> program.tracepoints, program.prints
    (('tcp:tcp_probe',), False)
    >>> print(program.compiled_text)
    #line 1 "first.c"
    // mine
    extern
    #line 2 "first.c"
    TRACEPOINT_PROBE(tcp, tcp_probe) {
    #line 2 "first.c"
                                       return 0; }
    """

    text: str
    file: str
    folder: Path | None = None
    defines: Mapping[str, object] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The lines of the text; line 1 is at position 0."""
        # not splitlines(): a form feed ends no line of C
        lines = self.text.split("\n")
        return lines if lines[-1] else lines[:-1]

    @property
    def code(self) -> str:
        """The text with comments and strings blanked out, every character still in its place."""
        return blank(self.text)

    @property
    def tracepoints(self) -> tuple[str, ...]:
        """``category:event`` of every ``TRACEPOINT_PROBE``, in order, each once."""
        return tuple(dict.fromkeys(name for name, _ in self._written_tracepoints()))

    @property
    def certain_tracepoints(self) -> tuple[str, ...]:
        """Those of :attr:`tracepoints` that no ``#if`` can take out."""
        return tuple(
            dict.fromkeys(name for name, certain in self._written_tracepoints() if certain)
        )

    @property
    def prints(self) -> bool:
        """Whether it uses ``bpf_trace_printk``."""
        return re.search(r"\bbpf_trace_printk\s*\(", blank(self.self_contained_text)) is not None

    @property
    def flags(self) -> list[str]:
        """The compiler's options that ``defines`` stand for; True and False are 1 and 0 in C."""
        return [
            f"-D{name}={int(value) if isinstance(value, bool) else value}"
            for name, value in self.defines.items()
        ]

    @property
    def structs(self) -> tuple[Struct, ...]:
        """The structs defined outside of functions, in the program and its local headers."""
        code = blank(self.self_contained_text)
        depth = brace_depths(code)
        found = []
        for match in _STRUCT.finditer(code):
            if depth[match.start()] == 0:
                found.append((f"struct {match['name']}", match.end()))
        for match in _TYPEDEF.finditer(code):
            end = _closing_brace(code, match.end())
            if name := _TYPEDEF_NAME.match(code, end):
                found.append((name["name"], match.end()))
        return tuple(
            Struct(name, frozenset(_IDENTIFIER.findall(code[start : _closing_brace(code, start)])))
            for name, start in found
        )

    @property
    def compiled_text(self) -> str:
        """What bcc is given: local headers in place of their includes, and ``#line`` directives."""
        return self._expand(directives=True)

    @property
    def self_contained_text(self) -> str:
        """The text with its local headers in place of their includes, for a reader elsewhere."""
        return self._expand(directives=False)

    def _written_tracepoints(self) -> list[tuple[str, bool]]:
        code = blank(self.self_contained_text)
        conditionals = [(match.start(), match[1] == "if") for match in _CONDITIONAL.finditer(code)]
        found = []
        for match in find_probes(code):
            if match["event"]:
                depth = sum(1 if opens else -1 for at, opens in conditionals if at < match.start())
                found.append((f"{match['category']}:{match['event']}", depth == 0))
        return found

    def _expand(self, directives: bool) -> str:
        source = Source(self.text, self.file, self.folder or Path())
        return source.expand(directives, once=set(), within=())


def read_program(
    path: str | Path, folders: tuple[Path, ...], defines: Mapping[str, object] | None = None
) -> Program:
    """The program in a file; a relative path is looked for here, then in ``folders``.

    :raises CompileError: there is no such file.
    """
    path = Path(path)
    places = [Path(), *folders] if not path.is_absolute() else [Path("/")]
    for place in places:
        candidate = place / path
        if candidate.is_file():
            return Program(
                candidate.read_text(encoding="utf-8", errors="replace"),
                path.name,
                candidate.parent,
                dict(defines or {}),
            )
    known = sorted({file.name for folder in folders for file in folder.glob("*.c")})
    raise CompileError(
        f"no C file {str(path)!r}",
        f"the programs of the course are {', '.join(known)}" if known else "",
    )


def _closing_brace(code: str, start: int) -> int:
    depth = 1
    for position in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[position], 0)
        if not depth:
            return position
    return len(code)

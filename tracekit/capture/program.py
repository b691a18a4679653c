"""A C program as the learner wrote it, and the text bcc is given, with true line numbers.

bcc writes a struct in front of each function that takes ``TRACEPOINT_PROBE``'s argument, so every
message of clang and of the verifier names lines that are not the learner's. ``#line`` directives
(C11, 6.10.4) behind the opening brace of those functions set the count right again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.errors import CompileError

__all__ = ("Program", "Struct", "read_program")

_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_PROBE = re.compile(
    r"\bTRACEPOINT_PROBE\s*\(\s*(?P<category>\w+)\s*,\s*(?P<event>\w+)\s*\)"
    r"|\(\s*struct\s+tracepoint__(?P<long>\w+)\s*\*\s*\w+\s*\)"
)
_LOCAL_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"(?P<name>[^"]+)"[^\n]*$', re.MULTILINE)
_STRUCT = re.compile(r"\bstruct\s+(?P<name>\w+)\s*\{")
_TYPEDEF = re.compile(r"\btypedef\s+struct\s*\w*\s*\{")
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

    >>> program = Program("TRACEPOINT_PROBE(tcp, tcp_probe) { return 0; }", "first.c")
    >>> program.tracepoints, program.prints
    (('tcp:tcp_probe',), False)
    >>> print(program.compiled_text)
    #line 1 "first.c"
    TRACEPOINT_PROBE(tcp, tcp_probe) {
    #line 1 "first.c"
                                       return 0; }
    """

    text: str
    file: str
    folder: Path | None = None
    defines: Mapping[str, object] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The lines of the text; line 1 is at position 0."""
        return self.text.splitlines()

    @property
    def code(self) -> str:
        """The text with comments and strings blanked out, every character still in its place."""
        return _COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), self.text)

    @property
    def tracepoints(self) -> tuple[str, ...]:
        """``category:event`` of every ``TRACEPOINT_PROBE``, in order."""
        return tuple(
            f"{m['category']}:{m['event']}" for m in _PROBE.finditer(self.code) if m["event"]
        )

    @property
    def prints(self) -> bool:
        """Whether it uses ``bpf_trace_printk``."""
        return re.search(r"\bbpf_trace_printk\s*\(", self.code) is not None

    @property
    def flags(self) -> list[str]:
        """The compiler's options that ``defines`` stand for."""
        return [f"-D{name}={value}" for name, value in self.defines.items()]

    @property
    def structs(self) -> tuple[Struct, ...]:
        """The structs the program defines, its local headers included."""
        code = _COMMENT_OR_STRING.sub(" ", self._with_local_headers(self.text))
        found = []
        for match in _STRUCT.finditer(code):
            found.append((f"struct {match['name']}", match.end()))
        for match in _TYPEDEF.finditer(code):
            end = _closing_brace(code, match.end())
            name = _IDENTIFIER.search(code, end)
            if name:
                found.append((name[0], match.end()))
        return tuple(
            Struct(name, frozenset(_IDENTIFIER.findall(code[start : _closing_brace(code, start)])))
            for name, start in found
        )

    @property
    def compiled_text(self) -> str:
        """What bcc is given: local headers in place of their includes, and ``#line`` directives."""
        code = self.code
        pieces, done = [], 0
        for match in _PROBE.finditer(code):
            brace = code.find("{", match.end())
            if brace < 0 or ";" in code[match.end() : brace]:
                continue  # a declaration
            line = code.count("\n", 0, brace) + 1
            # Blanks keep the columns of what follows on the same line.
            column = brace - (code.rfind("\n", 0, brace) + 1)
            pieces.append(self.text[done : brace + 1])
            pieces.append(f"\n{self._line_directive(line)}" + " " * (column + 1))
            done = brace + 1
        pieces.append(self.text[done:])
        return self._line_directive(1) + self._with_local_headers("".join(pieces))

    @property
    def self_contained_text(self) -> str:
        """The text with its local headers in place of their includes, for a reader elsewhere."""
        return self._with_local_headers(self.text, directives=False)

    def _line_directive(self, line: int, file: str | None = None) -> str:
        return f'#line {line} "{file or self.file}"\n'

    def _with_local_headers(self, text: str, *, directives: bool = True) -> str:
        def insert(match: re.Match[str]) -> str:
            name = match["name"]
            path = (self.folder or Path()) / name
            if not path.is_file():
                return match[0]  # clang says that it is missing, and where
            header = path.read_text().rstrip("\n")
            if not directives:
                return header
            # The line of the include, as the reader counts it.
            line = next(
                number
                for number, there in enumerate(self.lines, 1)
                if there.strip() == match[0].strip()
            )
            after = self._line_directive(line + 1).rstrip()
            return f"{self._line_directive(1, name)}{header}\n{after}"

        return _LOCAL_INCLUDE.sub(insert, text)


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
            return Program(candidate.read_text(), path.name, candidate.parent, dict(defines or {}))
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

"""A C program as the learner wrote it, and the text bcc is given, with true line numbers.

bcc writes a struct in front of each function that takes ``TRACEPOINT_PROBE``'s argument, and a line
behind each function's opening brace, so every message of clang and of the verifier would name lines
that are not the learner's. ``#line`` directives (C11, 6.10.4) set the count right again: one within
the function's declaration, behind a specifier that changes nothing, so that the struct is written
in front of both, and one behind the brace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from tracekit.errors import CompileError

__all__ = ("Program", "Struct", "read_program")

_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_PROBE = re.compile(
    r"\bTRACEPOINT_PROBE\s*\(\s*(?P<category>\w+)\s*,\s*(?P<event>\w+)\s*\)"
    r"|\bint\s+tracepoint__\w+\s*\(\s*struct\s+tracepoint__\w+\s*\*\s*\w+\s*\)"
)
_BODY = re.compile(r"\)\s*\{")
_CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(if|endif)", re.MULTILINE)
_LOCAL_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"(?P<name>[^"\n]+)"[^\n]*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*$", re.MULTILINE)
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
        return _blank(self.text)

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
        return re.search(r"\bbpf_trace_printk\s*\(", _blank(self.self_contained_text)) is not None

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
        code = _blank(self.self_contained_text)
        depth = [0, *accumulate({"{": 1, "}": -1}.get(character, 0) for character in code)]
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
        code = _blank(self.self_contained_text)
        conditionals = [(match.start(), match[1] == "if") for match in _CONDITIONAL.finditer(code)]
        found = []
        for match in _probes(code):
            if match["event"]:
                depth = sum(1 if opens else -1 for at, opens in conditionals if at < match.start())
                found.append((f"{match['category']}:{match['event']}", depth == 0))
        return found

    def _expand(self, directives: bool) -> str:
        source = _Source(self.text, self.file, self.folder or Path())
        return source.expand(directives, once=set(), within=())


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of a program: the .c file, or a header it includes."""

    text: str
    name: str
    folder: Path

    def expand(self, directives: bool, *, once: set[Path], within: tuple[Path, ...]) -> str:
        """Put local headers in place of their includes, ``#line`` directives where wanted.

        ``once`` are the headers that must not come again, ``within`` those we are in.
        """
        code, edits = _blank(self.text), []
        for match in _LOCAL_INCLUDE.finditer(self.text):
            path = self.folder / match["name"]
            # an include in a comment is none, and clang says of a missing one where it is
            if "#" in code[match.start() : match.end()] and path.is_file():
                header = _header(path, match["name"], directives, once, within)
                if directives:
                    header += "\n" + self._directive_at(match.end(), 1).rstrip()
                edits.append((match.start(), match.end(), header))
        if directives:
            edits += [(at, at, self._here(at, "extern\n")) for at in _probe_starts(code)]
            edits += [(at, at, self._here(at, "\n")) for at in _function_bodies(code)]
        text = self.text
        for begin, end, new in sorted(edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return (_directive(1, self.name) if directives else "") + text

    def _here(self, position: int, first: str) -> str:
        """A directive between two characters of a line."""
        before = self.text[self.text.rfind("\n", 0, position) + 1 : position]
        # Blanks keep the column that clang points at.
        new = f"{first}{self._directive_at(position)}" + " " * len(before.encode())
        return f"\n{new}" if before and not first.startswith("\n") else new

    def _directive_at(self, position: int, lines_further: int = 0) -> str:
        return _directive(self.text.count("\n", 0, position) + 1 + lines_further, self.name)


def _header(
    path: Path, name: str, directives: bool, once: set[Path], within: tuple[Path, ...]
) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    if path in once or path in within:
        return ""
    if _ONCE.search(text):
        once.add(path)
        text = _ONCE.sub("", text)
    source = _Source(text, name, path.parent)
    return source.expand(directives, once=once, within=(*within, path))


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


def _blank(text: str) -> str:
    return _COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def _probes(code: str) -> Iterator[re.Match[str]]:
    """Find the functions bcc writes a struct for, but for those that a macro only may define."""
    return (match for match in _PROBE.finditer(code) if not _is_directive(code, match.start()))


def _probe_starts(code: str) -> Iterator[int]:
    return (match.start() for match in _probes(code))


def _function_bodies(code: str) -> Iterator[int]:
    """Behind the opening brace of each function: bcc puts a line of its own there."""
    depth = [0, *accumulate({"{": 1, "}": -1}.get(character, 0) for character in code)]
    for match in _BODY.finditer(code):
        if depth[match.start()] == 0 and not _is_directive(code, match.start()):
            yield match.end()


def _is_directive(code: str, position: int) -> bool:
    line = code.rfind("\n", 0, position) + 1
    while code[:line].endswith("\\\n"):
        line = code.rfind("\n", 0, line - 1) + 1
    return code[line:position].lstrip().startswith("#")


def _directive(line: int, file: str) -> str:
    name = file.replace("\\", "\\\\").replace('"', '\\"')
    return f'#line {line} "{name}"\n'


def _closing_brace(code: str, start: int) -> int:
    depth = 1
    for position in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[position], 0)
        if not depth:
            return position
    return len(code)

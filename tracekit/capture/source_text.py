"""C text before the compiler sees it: what is code, local headers pasted, true line numbers.

bcc writes a struct in front of each function that takes ``TRACEPOINT_PROBE``'s argument, and a line
behind each function's opening brace, so every message of clang and of the verifier would name lines
that are not the learner's. ``#line`` directives (C11, 6.10.4) set the count right again: one within
the function's declaration, behind a specifier that changes nothing, so that the struct is written
in front of both, and one behind the brace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

__all__ = ("Source", "blank", "brace_depths", "find_probes")

_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_PROBE = re.compile(
    r"\bTRACEPOINT_PROBE\s*\(\s*(?P<category>\w+)\s*,\s*(?P<event>\w+)\s*\)"
    r"|\bint\s+tracepoint__\w+\s*\(\s*struct\s+tracepoint__\w+\s*\*\s*\w+\s*\)"
)
_BODY = re.compile(r"\)\s*\{")
_LOCAL_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"(?P<name>[^"\n]+)"[^\n]*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a program: the .c file, or a header it includes."""

    text: str
    name: str
    folder: Path

    def expand(self, directives: bool, *, once: set[Path], within: tuple[Path, ...]) -> str:
        """Put local headers in place of their includes, ``#line`` directives where wanted.

        ``once`` are the headers that must not come again, ``within`` those we are in.
        """
        code, edits = blank(self.text), []
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
    source = Source(text, name, path.parent)
    return source.expand(directives, once=once, within=(*within, path))


def blank(text: str) -> str:
    """The text with comments and strings blanked out, every character still in its place."""
    return _COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def find_probes(code: str) -> Iterator[re.Match[str]]:
    """Find the functions bcc writes a struct for, but for those that a macro only may define."""
    return (match for match in _PROBE.finditer(code) if not _is_directive(code, match.start()))


def _probe_starts(code: str) -> Iterator[int]:
    return (match.start() for match in find_probes(code))


def _function_bodies(code: str) -> Iterator[int]:
    """Behind the opening brace of each function: bcc puts a line of its own there."""
    depth = brace_depths(code)
    for match in _BODY.finditer(code):
        if depth[match.start()] == 0 and not _is_directive(code, match.start()):
            yield match.end()


def _is_directive(code: str, position: int) -> bool:
    line = code.rfind("\n", 0, position) + 1
    while code[:line].endswith("\\\n"):
        line = code.rfind("\n", 0, line - 1) + 1
    return code[line:position].lstrip().startswith("#")


def brace_depths(code: str) -> list[int]:
    """How many braces are open in front of each character, and behind the last."""
    return [0, *accumulate({"{": 1, "}": -1}.get(character, 0) for character in code)]


def _directive(line: int, file: str) -> str:
    name = file.replace("\\", "\\\\").replace('"', '\\"')
    return f'#line {line} "{name}"\n'

"""The course's C files as a notebook shows them: with true line numbers, or two compared.

The files are those the compiler is given, read when they are shown, so what a chapter shows and
what it runs can't differ.
"""

from __future__ import annotations

import difflib
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Protocol, TypeAlias

from tracekit.capture.probe import PROGRAMS
from tracekit.capture.program import Program, read_program
from tracekit.errors import TracekitError

__all__ = ("Source", "SourceDifference", "show_diff", "show_source")

_WIDTH = 80  # columns of a line of plain text
_TAB = 8  # as the kernel's own sources are written (Documentation/process/coding-style.rst)

# JupyterLab's colours of its own editor, which follow its theme; elsewhere the page's text colour.
_TOKEN_STYLES = {
    # not its colour for these, which is hard to read on black
    "Comment.Preproc": "color:var(--jp-mirror-editor-keyword-color,inherit)",
    "Comment": "color:var(--jp-mirror-editor-comment-color,inherit);font-style:italic",
    "Keyword": "color:var(--jp-mirror-editor-keyword-color,inherit);font-weight:bold",
    "Literal.String": "color:var(--jp-mirror-editor-string-color,inherit)",
    "Literal.Number": "color:var(--jp-mirror-editor-number-color,inherit)",
}
_PRE = (
    "font-family:var(--jp-code-font-family,ui-monospace,monospace);line-height:1.4;margin:.3em 0;"
    f"overflow-x:auto;white-space:pre;background:transparent;color:inherit;tab-size:{_TAB}"
)
# As wide as a tab, with its margin, so that the tabs behind it end where they do in the file.
_NUMBER = (
    f"display:inline-block;width:{_TAB - 4}ch;margin-right:4ch;text-align:right;opacity:.7;"
    "user-select:none;-webkit-user-select:none"
)
# The sign in front of the line says the same as the colour.
_DIFFERENCE_STYLES = {
    "-": "background:rgba(229,72,77,.18)",
    "+": "background:rgba(48,164,108,.18)",
    "@": "opacity:.6",
}


class _HasProgram(Protocol):
    program: Program


#: A file's name (looked for here, then in ``bpf/``), a Program, or what holds one, as a Probe does.
Shown: TypeAlias = str | Path | Program | _HasProgram


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """A C program, or the lines ``first`` to ``last`` of it, counted from 1 as compilers count.

    >>> Source(Program("int a;\\nint b;\\n", "two.c"), 2, 2)
    two.c, line 2 of 2
    2  int b;
    """

    program: Program
    first: int
    last: int

    @property
    def lines(self) -> list[str]:
        """The lines shown."""
        return self.program.lines[self.first - 1 : self.last]

    @property
    def text(self) -> str:
        """The lines shown, as one text."""
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def title(self) -> str:
        """The file's name, and which of its lines these are."""
        total = len(self.program.lines)
        if (self.first, self.last) == (1, total):
            return self.program.file
        which = f"line {self.first}"
        if self.last > self.first:
            which = f"lines {self.first} to {self.last}"
        return f"{self.program.file}, {which} of {total}"

    def __repr__(self) -> str:
        width = len(str(self.last))
        shown = [self.title]
        for number, line in enumerate(self.lines, self.first):
            # What does not fit goes on in the next row, which has no number: it is no new line.
            rows = _wrap(line.expandtabs(_TAB), _WIDTH - width - 2)
            numbers = [str(number), *[""] * (len(rows) - 1)]
            shown += [f"{n:>{width}}  {row}".rstrip() for n, row in zip(numbers, rows, strict=True)]
        return "\n".join(shown)

    def _repr_html_(self) -> str:
        coloured = _coloured_lines(self.program.text)
        rows = "\n".join(
            f'<span style="{_NUMBER}">{number}</span>{coloured[number - 1]}'
            for number in range(self.first, self.last + 1)
        )
        return _figure(self.title, rows)


@dataclass(frozen=True, slots=True, repr=False)
class SourceDifference:
    """Two C programs compared line by line, in the form of ``diff -u``.

    ``-`` begins a line that only ``old`` has, ``+`` one that only ``new`` has, a blank one that
    both have; ``@@ -9,3 +7,4 @@`` says that 3 lines from line 9 and 4 lines from line 7 follow.

    >>> SourceDifference(Program("int a;\\nint b;\\n", "a.c"), Program("int a;\\n", "b.c"))
    --- a.c
    +++ b.c
    @@ -1,2 +1 @@
     int a;
    -int b;
    """

    old: Program
    new: Program

    @property
    def lines(self) -> list[str]:
        """The lines of the comparison; none where the programs are equal."""
        old, new = self.old, self.new
        return list(
            difflib.unified_diff(old.lines, new.lines, old.file, new.file, lineterm="", n=3)
        )

    @property
    def removed(self) -> list[str]:
        """The lines that only ``old`` has, without the sign."""
        return [line[1:] for line in self.lines[2:] if line.startswith("-")]

    @property
    def added(self) -> list[str]:
        """The lines that only ``new`` has, without the sign."""
        return [line[1:] for line in self.lines[2:] if line.startswith("+")]

    @property
    def _equal(self) -> str:
        return f"{self.old.file} and {self.new.file} are equal"

    def __repr__(self) -> str:
        # The sign takes a column, so a tab is expanded before it is put in front.
        return "\n".join(f"{line[:1]}{line[1:].expandtabs(_TAB)}" for line in self.lines) or (
            self._equal
        )

    def _repr_html_(self) -> str:
        lines = self.lines
        if not lines:
            return _figure(self._equal, "")
        rows = "\n".join(
            f'<span style="{_DIFFERENCE_STYLES.get(line[:1], "")}">{escape(line)}</span>'
            for line in lines[2:]
        )
        return _figure(f"- {self.old.file}   + {self.new.file}", rows)


def show_source(source: Shown, *, lines: tuple[int, int] | None = None) -> Source:
    """Show a C program, or ``lines=(first, last)`` of it, with the line numbers of its file.

    ``source`` is the name of a file (here, or in the course's ``bpf/``), or a probe, whose program
    is shown. The value knows its text and how a notebook shows it.

    Raises :class:`~tracekit.errors.CompileError` where there is no such file, and
    :class:`~tracekit.errors.TracekitError` where it has no such lines.

    >>> show_source("getrandom.c", lines=(4, 5))
    getrandom.c, lines 4 to 5 of 9
    4  TRACEPOINT_PROBE(syscalls, sys_enter_getrandom)
    5  {
    >>> show_source("getrandom.c", lines=(8, 12))
    Traceback (most recent call last):
    ...
    tracekit.errors.TracekitError: getrandom.c has no lines 8 to 12
      next: give lines=(first, last) from 1 to 9
    """
    program = _program(source)
    total = len(program.lines)
    first, last = lines or (1, total)
    if lines and not 1 <= first <= last <= total:
        raise TracekitError(
            f"{program.file} has no lines {first} to {last}",
            f"give lines=(first, last) from 1 to {total}",
        )
    return Source(program, first, last)


def show_diff(old: Shown, new: Shown) -> SourceDifference:
    """Show what must change in the program ``old`` to make it ``new``, as ``diff -u`` does.

    Both are given as to :func:`show_source`, which also says what is raised.

    >>> show_diff("getrandom.c", "getrandom.c")
    getrandom.c and getrandom.c are equal
    """
    return SourceDifference(_program(old), _program(new))


def _program(source: Shown) -> Program:
    if isinstance(source, Program):
        return source
    if isinstance(source, str | Path):
        return read_program(source, (PROGRAMS,))
    return source.program


def _wrap(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())] + "    "
    wrapped = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapped or [""]


def _coloured_lines(text: str) -> list[str]:
    """The HTML of each line; the whole text is read, because a comment may span lines."""
    # IPython depends on pygments, so it is there wherever HTML is shown.
    from pygments.lexers.c_cpp import CLexer  # type: ignore[import-untyped]

    lines = [""]
    for kind, value in CLexer(stripnl=False, ensurenl=False).get_tokens(text):
        name = str(kind).removeprefix("Token.")
        style = next((s for key, s in _TOKEN_STYLES.items() if name.startswith(key)), "")
        for number, part in enumerate(value.split("\n")):
            if number:
                lines.append("")
            if part:
                html = escape(part)
                lines[-1] += f'<span style="{style}">{html}</span>' if style else html
    return lines


def _figure(title: str, rows: str) -> str:
    return (
        f'<figure style="margin:0"><figcaption>{escape(title)}</figcaption>'
        f'<pre style="{_PRE}">{rows}</pre></figure>'
    )

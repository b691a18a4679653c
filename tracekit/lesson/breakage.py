"""The gallery of failures: each is made live in a child process, explained, and mended.

:func:`breakage` makes a failure and shows what was done and the message as it really looks;
:func:`mend` explains it, and runs the mended program. Both run bcc directly, without tracekit, and
whatever becomes of that child, nothing stays loaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracekit.capture.bare import ScriptRun, run_bare
from tracekit.errors import UnknownFailure
from tracekit.lesson.card import Card, excerpt, wrap
from tracekit.lesson.failure import Failure
from tracekit.lesson.failures import (
    attaching,
    compiler,
    machine,
    python_side,
    records,
    verifier,
)
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("FAILURES", "Broken", "Gallery", "Mended", "breakage", "breakages", "mend")

#: All failures, in the order in which a program meets them.
FAILURES: tuple[Failure, ...] = (
    *compiler.FAILURES,
    *verifier.FAILURES,
    *attaching.FAILURES,
    *records.FAILURES,
    *python_side.FAILURES,
    *machine.FAILURES,
)


@dataclass(frozen=True, slots=True, repr=False)
class Broken(Card):
    """A failure that was made, and how its child process ended.

    >>> failure = Failure("no-luck", "an example", "int a", "b = BPF(text=text)\\n",
    ...     message="expected ';'", means="")
    >>> Broken(failure, ScriptRun(1, "main.c:1:6: error: expected ';'\\n"))
    no-luck: an example
      1  int a
    in Python:
      b = BPF(text=text)
    the process ended with status 1, and this is what was printed:
      main.c:1:6: error: expected ';'
    """

    failure: Failure
    run: ScriptRun

    @property
    def failed(self) -> bool:
        """Whether it failed here as described."""
        return self.run.made and bool(_search(self.failure.message, self.run.output))

    @property
    def message(self) -> str:
        """What was printed, without what is far from the message itself."""
        return "\n".join(excerpt(self.run.output, self.failure.message))

    def _parts(self) -> Iterator[tuple[str, Sequence[str], str]]:
        failure = self.failure
        yield f"{failure.id}: {failure.title}", _numbered(failure.c), ""
        yield "in Python:", [r for line in failure.python.splitlines() for r in wrap(line)], ""
        if not self.run.made:
            yield f"this can't be made here: {self.run.output.strip()}", (), ""
            return
        lines = excerpt(self.run.output, failure.message)
        said = "this is what was printed:" if lines else "nothing was printed"
        yield f"the process {self.run.ended}, and {said}", lines, "broken"
        if not self.failed:
            yield "On other kernels or versions of bcc it fails; here it does not.", (), ""


@dataclass(frozen=True, slots=True, repr=False)
class Mended(Card):
    """What a failure means, the fix as a difference, and how the mended program ran."""

    failure: Failure
    run: ScriptRun

    @property
    def works(self) -> bool:
        """Whether the mended program did here what it shall."""
        return self.run.returncode == 0 and bool(_search(self.failure.works, self.run.output))

    def _parts(self) -> Iterator[tuple[str, Sequence[str], str]]:
        failure = self.failure
        meaning = wrap(failure.means, "", hanging=0)
        yield f"{failure.id}: what it means", meaning, "prose"
        if changes := _changes(failure):
            yield "the fix (- was there, + is there now):", changes, ""
        if not self.run.made:
            yield f"this can't be run here: {self.run.output.strip()}", (), ""
            return
        how = "" if self.works else " and does not do what it shall"
        lines = excerpt(self.run.output, failure.works)
        said = ", and this is what was printed:" if lines else ""
        yield f"mended, it {self.run.ended}{how}{said}", lines, "mended"


@dataclass(frozen=True, slots=True, repr=False)
class Gallery:
    """Failures as a table: the name to give to :func:`breakage`, and what was done."""

    failures: tuple[Failure, ...]

    def __len__(self) -> int:
        return len(self.failures)

    def __iter__(self) -> Iterator[str]:
        return (failure.id for failure in self.failures)

    @property
    def _rows(self) -> list[Row]:
        return [Row((failure.id, failure.title)) for failure in self.failures]

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows)

    def _repr_html_(self) -> str:
        return html_table(f"{len(self)} failures", _COLUMNS, self._rows)


_COLUMNS = ("name", "what was done")
_made: set[str] = set()


def breakages(message: str = "", *, unseen: bool = False) -> Gallery:
    """All failures of the gallery; given a message, those that print such a one.

    With ``unseen``, without those that :func:`breakage` has made in this process.

    >>> breakages("prog.c:9:1: fatal error: 'netinet/in.h' file not found")
    name            what was done
    missing-header  a header of the C library
    """
    found = [failure for failure in FAILURES if not (unseen and failure.id in _made)]
    if message:
        # a failure without any message is found by none
        found = [f for f in found if not re.search(f.message, "") and _search(f.message, message)]
    return Gallery(tuple(found))


def breakage(id: str) -> Broken:
    """Make a failure in a child process and show what becomes of it.

    Raises :class:`~tracekit.errors.UnknownFailure` for a name that none has, and
    :class:`~tracekit.errors.RequirementMissing` where no program can be loaded at all.
    """
    failure = _find(id)
    _made.add(id)
    script = failure.broken_script
    return Broken(failure, run_bare(script, missing=failure.missing, timeout=failure.timeout))


def mend(id: str) -> Mended:
    """Explain a failure, and run the mended program in a child process; raises as `breakage`."""
    failure = _find(id)
    return Mended(failure, run_bare(failure.mended_script))


def _find(id: str) -> Failure:
    for failure in FAILURES:
        if failure.id == id:
            return failure
    near = difflib.get_close_matches(id, [failure.id for failure in FAILURES], 3, 0.3)
    raise UnknownFailure(
        f"the gallery has no {id!r}",
        f"nearest names: {', '.join(near)}" if near else "breakages() lists them",
    )


def _search(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.MULTILINE)


def _numbered(c: str) -> list[str]:
    lines = c.splitlines()
    width = len(str(len(lines)))
    return [row for n, line in enumerate(lines, 1) for row in wrap(line, f"{n:>{width}}  ")]


def _changes(failure: Failure) -> list[str]:
    rows = []
    pairs = ((failure.c, failure.mended_c), (failure.python, failure.mended_python))
    for old, new in pairs:
        for line in difflib.ndiff(old.splitlines(), new.splitlines()):
            if line[0] in "-+":
                rows += wrap(line[2:], line[:2])
    return rows

"""Exercises: a check the learner runs, hints in three steps, and the progress of a chapter.

The checks are in :mod:`tracekit.lesson.checks`, one module for each chapter; the notebooks hold
the questions. Progress is kept (see :mod:`~tracekit.lesson.state`) across kernel restarts.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import import_module
from types import EllipsisType
from typing import Any, Literal, TypeAlias

from tracekit.errors import TracekitError, UnknownExercise
from tracekit.lesson import state
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = (
    "CheckResult",
    "Exercise",
    "Failed",
    "Hint",
    "Outcome",
    "Progress",
    "check",
    "exercises",
    "hint",
    "progress",
)

Outcome: TypeAlias = Literal["passed", "not yet", "check crashed"]

_CHECKS = "tracekit.lesson.checks.chapter_"


class Failed(TracekitError):
    """What a check raises: a fact about the learner's answer, and what may help."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """One exercise: its id ("03-2"), its title, its check, and three hints, each saying more.

    ``check`` takes the learner's answer and returns where it is right; otherwise it raises
    :class:`Failed`, or another :class:`~tracekit.errors.TracekitError` such as the compiler's.
    """

    id: str
    title: str
    check: Callable[[Any], None]
    hints: tuple[str, str, str]

    @property
    def chapter(self) -> str:
        """The number of its chapter, "03"."""
        return self.id.partition("-")[0]


class _Line:
    # A value that shows as one line, and as plain text goes on in the next after 80 columns.
    __slots__ = ()

    @property
    def line(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return textwrap.fill(self.line, 80, subsequent_indent="  ")

    def _repr_html_(self) -> str:
        return f"<div>{escape(self.line)}</div>"


@dataclass(frozen=True, slots=True, repr=False)
class CheckResult(_Line):
    """What a check says of an answer; ``passed`` is the short of it.

    >>> CheckResult("03-2", "not yet", "94 is another machine's number", "count those here")
    exercise 03-2 · not yet: 94 is another machine's number · count those here
    """

    id: str
    outcome: Outcome
    fact: str = ""
    next_step: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.outcome == "passed"

    @property
    def line(self) -> str:
        """The result in one line."""
        line = f"exercise {self.id} · {self.outcome}"
        line += f": {self.fact}" if self.fact else ""
        return line + (f" · {self.next_step}" if self.next_step else "")


@dataclass(frozen=True, slots=True, repr=False)
class Hint(_Line):
    """One hint of an exercise, the ``number``-th of ``total``.

    >>> Hint("03-2", 1, 3, "what stands in front of the colon?")
    exercise 03-2 · hint 1 of 3: what stands in front of the colon?
    """

    id: str
    number: int
    total: int
    text: str

    @property
    def line(self) -> str:
        """The hint in one line."""
        return f"exercise {self.id} · hint {self.number} of {self.total}: {self.text}"


@dataclass(frozen=True, slots=True, repr=False)
class Progress:
    """The exercises of a chapter, as rows of id, title, state and hints taken."""

    chapter: str
    rows: tuple[tuple[str, str, str, str], ...]

    @property
    def _title(self) -> str:
        solved = sum(row[2] == "solved" for row in self.rows)
        return f"chapter {self.chapter} · {solved} of {len(self.rows)} exercises solved"

    def __repr__(self) -> str:
        return f"{self._title}\n{text_table(_COLUMNS, map(Row, self.rows))}"

    def _repr_html_(self) -> str:
        return html_table(self._title, _COLUMNS, map(Row, self.rows))


_COLUMNS = ("id", "exercise", "state", "hints")


def exercises(chapter: str) -> tuple[Exercise, ...]:
    """The exercises of a chapter ("03"), in order.

    Raises :class:`~tracekit.errors.UnknownExercise` for a chapter that has none.
    """
    name = f"{_CHECKS}{chapter}"
    unknown = UnknownExercise(f"chapter {chapter!r} has no exercises", 'name it as in "03"')
    if not (isinstance(chapter, str) and re.fullmatch(r"\d\d", chapter)):
        raise unknown
    try:
        table = import_module(name).EXERCISES
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise unknown from None
    return tuple(table)


def check(id: str, answer: object) -> CheckResult:
    """Check the answer to an exercise and keep the progress; nothing is raised for a wrong one.

    A check that itself goes wrong gives "check crashed" for its exercise and harms no other.

    Raises :class:`~tracekit.errors.UnknownExercise` for an id that no exercise has.
    """
    exercise = _find(id)
    result = _run(exercise, answer)
    before = state.load("exercises", id) or {}
    solved = result.passed or before.get("solved", False)
    attempts = before.get("attempts", 0) + 1
    saved = {"outcome": result.outcome, "solved": solved, "attempts": attempts}
    state.save("exercises", id, saved)
    return result


def hint(id: str) -> Hint:
    """The next hint of an exercise; the last one again after that.

    Raises :class:`~tracekit.errors.UnknownExercise` for an id that no exercise has.
    """
    hints = _find(id).hints
    number = min(_hints_taken(id) + 1, len(hints))
    state.save("hints", id, {"taken": number})
    return Hint(id, number, len(hints), hints[number - 1])


def progress(chapter: str) -> Progress:
    """How far the learner is with the exercises of a chapter ("03").

    Raises :class:`~tracekit.errors.UnknownExercise` for a chapter that has none.
    """
    rows = []
    for exercise in exercises(chapter):
        saved = state.load("exercises", exercise.id) or {}
        word = "solved" if saved.get("solved") else saved.get("outcome", "not tried")
        hints = f"{_hints_taken(exercise.id)} of {len(exercise.hints)}"
        rows.append((exercise.id, exercise.title, word, hints))
    return Progress(chapter, tuple(rows))


def _find(id: str) -> Exercise:
    table = exercises(str(id).partition("-")[0])
    for exercise in table:
        if exercise.id == id:
            return exercise
    ids = ", ".join(exercise.id for exercise in table)
    raise UnknownExercise(f"there is no exercise {id!r}", f"the chapter has {ids}")


def _run(exercise: Exercise, answer: object) -> CheckResult:
    if isinstance(answer, EllipsisType):
        return CheckResult(exercise.id, "not yet", "nothing is in the place of ... yet")
    try:
        exercise.check(answer)
    except TracekitError as error:
        fact = " ".join(error.fact.split())
        return CheckResult(exercise.id, "not yet", fact, " ".join(error.next_step.split()))
    except (Exception, SystemExit) as error:
        return CheckResult(exercise.id, "check crashed", f"{type(error).__name__}: {error}")
    return CheckResult(exercise.id, "passed")


def _hints_taken(id: str) -> int:
    return int((state.load("hints", id) or {}).get("taken", 0))

import pkgutil
import re
import sys
from types import ModuleType

import pytest

from tracekit.errors import CompileError, UnknownExercise
from tracekit.lesson import checks
from tracekit.lesson.exercise import (
    Exercise,
    Failed,
    check,
    exercises,
    hint,
    progress,
)

HINTS = ("one", "two", "three")


def want_42(answer):
    if answer != 42:
        raise Failed(f"{answer} is not 42", "try\n42")


def crash(answer):
    return 1 // (answer - answer)


def leave(answer):
    sys.exit("bye")


def refuse(answer):
    raise CompileError("f.c does not compile", "mend line 1")


@pytest.fixture(autouse=True)
def _chapter(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))
    module = ModuleType("tracekit.lesson.checks.chapter_99")
    pairs = [("42", want_42), ("Crash", crash), ("Leave", leave), ("Compile", refuse)]
    module.EXERCISES = tuple(
        Exercise(f"99-{number}", title, function, HINTS)
        for number, (title, function) in enumerate(pairs, 1)
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_right_answer_passes():
    found = check("99-1", 42)
    assert found.passed
    assert repr(found) == "exercise 99-1 · passed"


def test_a_wrong_answer_raises_nothing_and_says_what_to_do():
    found = check("99-1", 41)
    assert not found.passed
    assert repr(found) == "exercise 99-1 · not yet: 41 is not 42 · try 42"
    assert "&lt;" in check("99-1", "<b>")._repr_html_()


def test_an_answer_that_is_not_filled_in_never_reaches_the_check():
    for number in range(1, 5):
        found = check(f"99-{number}", ...)
        assert (found.outcome, found.fact) == ("not yet", "nothing is in the place of ... yet")


def test_the_learners_program_may_be_refused():
    assert repr(check("99-4", "x")) == (
        "exercise 99-4 · not yet: f.c does not compile · mend line 1"
    )


def test_a_check_that_crashes_marks_its_exercise_and_no_other():
    assert check("99-1", 42).passed
    assert check("99-2", 1).line.startswith("exercise 99-2 · check crashed: ZeroDivisionError: ")
    assert repr(check("99-2", "text")).startswith("exercise 99-2 · check crashed: TypeError: ")
    assert repr(check("99-3", 1)) == "exercise 99-3 · check crashed: SystemExit: bye"
    assert [row[2] for row in progress("99").rows] == [
        "solved",
        "check crashed",
        "check crashed",
        "not tried",
    ]


def test_an_interrupt_is_not_swallowed(monkeypatch):
    def interrupted(answer):
        raise KeyboardInterrupt

    table = (Exercise("99-1", "Wait", interrupted, HINTS),)
    monkeypatch.setattr(sys.modules["tracekit.lesson.checks.chapter_99"], "EXERCISES", table)
    with pytest.raises(KeyboardInterrupt):
        check("99-1", 1)
    assert progress("99").rows[0][2] == "not tried"


def test_hints_come_one_after_the_other_and_the_last_stays():
    shown = [repr(hint("99-2")) for _ in range(4)]
    assert shown == [
        "exercise 99-2 · hint 1 of 3: one",
        "exercise 99-2 · hint 2 of 3: two",
        "exercise 99-2 · hint 3 of 3: three",
        "exercise 99-2 · hint 3 of 3: three",
    ]
    assert repr(hint("99-1")).endswith("hint 1 of 3: one")
    assert [row[3] for row in progress("99").rows] == ["1 of 3", "3 of 3", "0 of 3", "0 of 3"]


def test_what_is_solved_stays_solved():
    check("99-1", 41)
    assert progress("99").rows[0] == ("99-1", "42", "not yet", "0 of 3")
    check("99-1", 42)
    check("99-1", 41)
    assert progress("99").rows[0] == ("99-1", "42", "solved", "0 of 3")
    table = progress("99")
    assert repr(table).splitlines()[:2] == [
        "chapter 99 · 1 of 4 exercises solved",
        "id    exercise  state      hints",
    ]
    assert table._repr_html_().count("<tr ") == 4


@pytest.mark.parametrize("id", ["99-5", "98-1", "nothing", "", "../1-1", None])
def test_an_unknown_exercise_is_told_with_the_next_step(id):
    for function in (lambda: check(id, 1), lambda: hint(id)):
        with pytest.raises(UnknownExercise) as caught:
            function()
        assert caught.value.next_step


@pytest.mark.parametrize("chapter", ["98", "3", "", "errors", 99])
def test_an_unknown_chapter_is_told_with_the_next_step(chapter):
    with pytest.raises(UnknownExercise, match=r"no exercises\n"):
        progress(chapter)


CHAPTERS = sorted(
    module.name.removeprefix("chapter_")
    for module in pkgutil.iter_modules(checks.__path__)
    if module.name.startswith("chapter_")
)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_chapters_table_is_complete(chapter):
    table = exercises(chapter)
    assert 3 <= len(table) <= 5
    assert [exercise.id for exercise in table] == [
        f"{chapter}-{number}" for number in range(1, len(table) + 1)
    ]
    for exercise in table:
        assert exercise.chapter == chapter
        assert re.fullmatch(r"\w.{3,50}", exercise.title)
        assert len(set(exercise.hints)) == len(exercise.hints) == 3
        assert all(text == text.strip() and "\n" not in text for text in exercise.hints)

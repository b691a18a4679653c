"""The gallery as data and as pictures: nothing is compiled here."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.capture.bare import CANNOT_BE_MADE, ScriptRun
from tracekit.errors import UnknownFailure
from tracekit.lesson import breakage as gallery
from tracekit.lesson.breakage import FAILURES, Broken, Mended, breakage, breakages, mend
from tracekit.lesson.failure import Failure

CHAPTER = Path(__file__).resolve().parents[2] / "notebooks/11-breakage.ipynb"
WIDTH = 80
EXAMPLE = Failure(
    "no-semicolon",
    "a declaration without its end",
    "int a\n",
    'b = BPF(text=text)\nprint("works")\n',
    message="expected ';'",
    means="C ends a declaration with a semicolon.",
    fix=(("int a", "int a;"),),
    works="works",
)
every_failure = pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.id)


def test_there_are_enough_and_each_has_its_name():
    names = [failure.id for failure in FAILURES]
    assert len(names) >= 20
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


@every_failure
def test_the_fix_changes_what_is_there_once(failure):
    program = failure.c + failure.python
    for old, _ in failure.fix:
        assert program.count(old) == 1, old
    mended = failure.mended_c + failure.mended_python
    if failure.fix:
        assert mended != program
    else:
        # then it is the surroundings that are wrong
        assert failure.broken_setup or failure.missing


def test_the_chapter_shows_twenty_and_makes_the_rest():
    text = CHAPTER.read_text(encoding="utf-8").replace("\\", "")
    assert sum(f'tk.breakage("{failure.id}")' in text for failure in FAILURES) >= 20
    assert "tk.breakages(unseen=True)" in text


@every_failure
def test_both_scripts_are_python(failure):
    for script in (failure.broken_script, failure.mended_script):
        compile(script, failure.id, "exec")
        assert "import tracekit" not in script
        assert "from bcc import BPF" in script


@every_failure
def test_the_program_is_short_and_its_texts_are_whole(failure):
    assert len(failure.c.splitlines()) <= 11
    assert len(failure.python.splitlines()) <= 12
    assert failure.means.endswith((".", ".)"))
    assert not failure.title.endswith(".")
    for text in (failure.title, failure.means):
        assert not re.search(r"(?i)\b(simply|just|obviously|of course)\b", text)
    re.compile(failure.message)
    re.compile(failure.works)


@every_failure
def test_the_pictures_fit_a_page(failure):
    line = "x" * 300
    for run in (ScriptRun(1, ""), ScriptRun(-6, f"{line}\n" * 100), ScriptRun(77, "not here\n")):
        for card in (Broken(failure, run), Mended(failure, run)):
            rows = repr(card).splitlines()
            assert len(rows) <= 30
            assert max(map(len, rows)) <= WIDTH


@every_failure
def test_the_html_says_what_the_text_says(failure):
    run = ScriptRun(-11, "<it> printed & died\n")
    for card in (Broken(failure, run), Mended(failure, run)):
        html = card._repr_html_()
        assert "<it>" not in html
        plain = re.sub(r"<[^>]*>", " ", html)
        for sign, entity in (
            ("<", "&lt;"),
            (">", "&gt;"),
            ('"', "&quot;"),
            ("'", "&#x27;"),
            ("&", "&amp;"),
        ):
            plain = plain.replace(entity, sign)
        assert "".join(plain.split()) == "".join(repr(card).split())


def test_what_failed_is_told_from_what_did_not():
    assert Broken(EXAMPLE, ScriptRun(1, "main.c:1:6: error: expected ';'\n")).failed
    survived = Broken(EXAMPLE, ScriptRun(0, "works\n"))
    assert not survived.failed
    assert "here it does not" in repr(survived)
    impossible = Broken(EXAMPLE, ScriptRun(CANNOT_BE_MADE, "no instance can be made\n"))
    assert not impossible.failed
    assert "can't be made here: no instance can be made" in repr(impossible)


def test_what_works_is_told_from_what_does_not():
    assert Mended(EXAMPLE, ScriptRun(0, "works\n")).works
    for run in (ScriptRun(0, "nothing\n"), ScriptRun(1, "works\n")):
        assert not Mended(EXAMPLE, run).works
        assert "does not do what it shall" in repr(Mended(EXAMPLE, run))


def test_the_message_is_found_in_a_long_output():
    before = "".join(f"{n}: (b7) r1 = {n}\n" for n in range(1000))
    traceback = "Traceback (most recent call last):\n" + '  File "x", line 1\n    f()\n' * 9
    output = f"{before}the error: expected ';'\nprocessed 1000\n{traceback}Exception: no\n"
    message = Broken(EXAMPLE, ScriptRun(1, output)).message.splitlines()
    assert message == [
        "…",
        *(f"{n}: (b7) r1 = {n}" for n in range(996, 1000)),
        "the error: expected ';'",
        "processed 1000",
        "…",
        "Exception: no",
    ]


def test_a_long_message_is_wrapped_and_a_long_neighbour_is_cut():
    output = f"{'n' * 200}\nerror: {'word ' * 30}expected ';'\n"
    rows = Broken(EXAMPLE, ScriptRun(1, output)).message.splitlines()
    assert rows[0].endswith("n …")
    assert " ".join("".join(f"{row} " for row in rows[1:]).split()).endswith("word expected ';'")


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("/virtual/main.c:1:10: fatal error: 'netinet/in.h' file not found", ["missing-header"]),
        ("invalid bpf_context access off=4 size=4", ["offset-0"]),
        ("ioctl(PERF_EVENT_IOC_SET_BPF): Argument list too long", ["65th-program"]),
        ("OSError: [Errno 16] Device or resource busy: 'trace_pipe'", ["second-reader"]),
        ("a message that nobody knows", []),
    ],
)
def test_a_message_finds_its_failure(message, names):
    assert list(breakages(message)) == names
    assert len(breakages(message)) == len(names)


def test_without_a_message_all_are_listed():
    assert list(breakages()) == [failure.id for failure in FAILURES]
    rows = repr(breakages()).splitlines()
    assert len(rows) == len(FAILURES) + 1
    assert max(map(len, rows)) <= WIDTH


def test_what_was_made_is_no_longer_unseen(monkeypatch):
    monkeypatch.setattr(gallery, "run_bare", lambda script, **_: ScriptRun(0, ""))
    monkeypatch.setattr(gallery, "_made", set())
    assert list(breakages(unseen=True)) == list(breakages())
    breakage("missing-header")
    assert set(breakages()) - set(breakages(unseen=True)) == {"missing-header"}
    message = "fatal error: 'netinet/in.h' file not found"
    assert list(breakages(message, unseen=True)) == []


@pytest.mark.parametrize("function", [breakage, mend])
def test_an_unknown_name_gets_near_ones(function):
    with pytest.raises(UnknownFailure, match="missing-header"):
        function("mising-header")


def test_broken_and_mended_run_what_they_show(monkeypatch):
    ran = []

    def run(script, *, missing="", timeout=60.0):
        ran.append((script, missing, timeout))
        return ScriptRun(0, "")

    monkeypatch.setattr(gallery, "run_bare", run)
    for failure in FAILURES:
        breakage(failure.id)
        mend(failure.id)
        broken, mended = ran[-2:]
        assert broken == (failure.broken_script, failure.missing, failure.timeout)
        assert mended == (failure.mended_script, "", 60.0)


def test_line_1_of_the_program_is_line_1_for_the_compiler():
    namespace = {}
    script = EXAMPLE.broken_script.replace("from bcc import BPF", "BPF = dict")
    exec(script, namespace)
    assert namespace["text"] == "int a\n"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_signal_is_named(number):
    child = subprocess.run([sys.executable, "-c", f"import os; os.kill(os.getpid(), {number:d})"])
    assert ScriptRun(child.returncode, "").ended == f"was killed by {number.name}"

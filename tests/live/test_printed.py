"""A learner's program is judged by its own lines, whatever else is printed on this machine."""

import os
import threading

import pytest

from tracekit.capture.probe import Probe
from tracekit.errors import CompileError
from tracekit.lesson.exercise import Failed
from tracekit.lesson.printed import printed_by

pytestmark = pytest.mark.live

PROGRAM = """
TRACEPOINT_PROBE(syscalls, sys_enter_getrandom) {
    bpf_trace_printk("%lu", args->len);
    return 0;
}"""


def ask():
    os.getrandom(23)
    os.getrandom(29)
    return threading.get_native_id()


def test_the_same_program_of_somebody_else_adds_no_line():
    with Probe.from_text(PROGRAM, name="somebody_else") as other:
        assert printed_by(PROGRAM, ask) == ["23", "29"]
        assert other.read()["msg"].tolist().count(b"23") >= 1


def test_only_lines_of_the_thread_count_where_one_is_named():
    def ask_elsewhere():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return ask()

    assert printed_by(PROGRAM, ask_elsewhere) == ["23", "29"]


def test_without_a_thread_every_line_of_the_program_counts():
    printed = printed_by(PROGRAM, lambda: ask() and None)
    assert {"23", "29"} <= set(printed)


def test_the_compilers_line_numbers_are_the_learners():
    with pytest.raises(CompileError) as caught:
        printed_by(PROGRAM.replace("len", "length"), ask)
    assert caught.value.diagnostics[0].line == 3


@pytest.mark.parametrize("program", [None, 7, b"text"])
def test_what_is_no_text_is_refused(program):
    with pytest.raises(Failed, match="no program"):
        printed_by(program, ask)


def test_a_program_with_a_place_left_open_is_not_compiled():
    with pytest.raises(Failed, match="still there"):
        printed_by(PROGRAM.replace("args->len", "..."), ask)

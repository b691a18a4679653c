"""The rule for exercises: the starter fails its check, the solution passes, on this kernel."""

import pytest

from tracekit.lesson.exercise import check
from tracekit.tracepoints.tracefs import read_format

pytestmark = pytest.mark.live

GETRANDOM = """
TRACEPOINT_PROBE(syscalls, sys_enter_getrandom) {
    bpf_trace_printk("%%lu", args->%s);
    return 0;
}"""
GETPGID = """
%s {
    bpf_trace_printk("%%lu", args->%s);
    return 0;
}"""

NEW_NAME = """
TRACEPOINT_PROBE(task, task_rename) {
    bpf_trace_printk("%%s", args->%s);
    return 0;
}"""
INTS = [("int", "got_bits"), ("int", "pool_left"), ("int", "input_left")]

# exercise, the starter, wrong answers with a word of what is said of them, the solution
CASES = [
    ("01-1", ..., [("got_bits", "bytes 8 to 11"), ("nothing", "no field"), (12, "no name")]),
    (
        "01-2",
        GETRANDOM % "...",
        [(GETRANDOM % "len", "printed ['1', '1']"), (GETRANDOM % "flag", "flag"), (1, "program")],
    ),
    ("01-3", GETPGID % ("...", "..."), [(GETRANDOM % "len", "printed []")]),
    ("01-4", ..., [([], "missing"), (["linux_6.18"], "8 bytes"), ("debian", "no list")]),
    ("02-1", ..., [(0, "not begin"), ("12", "whole number")]),
    (
        "02-2",
        ...,
        [
            (INTS[:2], "expected"),
            ([("int", "got_bits"), ("short", "pool_left"), ("int", "input_left")], "expected"),
            (["got_bits"], "laid out"),
            ([("struct nobody", "got_bits")], "size"),
            ("int got_bits", "no list"),
        ],
    ),
    (
        "02-3",
        ...,
        [
            ("sched:sched_wakeup", "from the text"),
            ("sched:sched_switch", "a struct of its own"),
            ("tcp:tcp_probe", "no event of the category"),
            (3, "no name"),
        ],
    ),
    (
        "02-4",
        NEW_NAME % "...",
        [(NEW_NAME % "oldcomm", "became true"), (NEW_NAME % "name", "name"), (None, "no program")],
    ),
]
SOLUTIONS = {
    "01-1": "pool_left",
    "01-2": GETRANDOM % "flags",
    "01-3": GETPGID % ("TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)", "pid"),
    "01-4": ["debian-12_6.1-rt"],
    "02-2": INTS,
    "02-3": "sched:sched_wakeup_new",
    "02-4": NEW_NAME % "newcomm",
}


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


@pytest.mark.parametrize(("id", "starter", "wrong"), CASES, ids=[case[0] for case in CASES])
def test_the_starter_fails_and_wrong_answers_are_explained(id, starter, wrong):
    assert check(id, starter).outcome == "not yet"
    for answer, word in wrong:
        found = check(id, answer)
        assert found.outcome == "not yet"
        assert word in found.line


@pytest.mark.parametrize("id", SOLUTIONS)
def test_the_solution_passes(id):
    assert check(id, SOLUTIONS[id]).line == f"exercise {id} · passed"


def test_bits_are_told_from_bytes():
    offset = read_format("task:task_rename")["oldcomm"].offset
    assert "number of bits" in check("02-1", 8 * offset).line
    assert check("02-1", offset).passed

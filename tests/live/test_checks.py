"""The rule for exercises: the starter fails its check, the solution passes, on this kernel."""

import pytest

from tracekit.lesson.exercise import check
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

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

CHAIN = "cut -d: -f1 | "
PORT = """
#include <uapi/linux/in6.h>
TRACEPOINT_PROBE(tcp, tcp_probe) {
    bpf_trace_printk("%%d", %s);
    return 0;
}"""
STATES = """
%s {
    bpf_trace_printk("%%d %%d", %s);
    return 0;
}"""
STATE_PROBE = "TRACEPOINT_PROBE(sock, inet_sock_set_state)"


def nothing_yet(table, port):
    return ...


def all_rows(table, port):
    return table[:, 1].sum()


def crash(table, port):
    return table[:, 7]


def arrived(table, port):
    return table[table[:, 0] == port, 2].sum()


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
    (
        "03-1",
        ...,
        [("tcp:tcp_probe", "no field oldstate"), ("sock:state", "no tracepoint"), (1, "no name")],
    ),
    (
        "03-2",
        CHAIN + "...",
        [
            (CHAIN + "uniq -c | sort -rn", "wrong number"),
            (CHAIN + "sort | uniq -c", "does not come first"),
            (CHAIN + "sort", "not a number and a category"),
            (CHAIN + "nosuchcommand", "the shell says"),
            (7, "no command"),
        ],
    ),
    ("03-3", ..., [("tcp:tcp_probe", "another event has"), ("tcp", "no tracepoint")]),
    (
        "03-4",
        ...,
        [
            ("sys_enter_nanosleep", "happened 0 times"),
            ("sleep", "no tracepoint"),
            (None, "no name"),
        ],
    ),
    (
        "04-1",
        PORT % "...",
        [
            (PORT % "args->daddr[2]", "is missing"),
            (PORT % "args->daddr[2] + 256 * args->daddr[3]", "is missing"),
            (PORT % "args->dport", "reads dport"),
            (PORT % "args->port", "port"),
        ],
    ),
    (
        "04-2",
        nothing_yet,
        [(all_rows, "arrived at the server"), (crash, "IndexError"), (100_000, "no function")],
    ),
    ("04-3", ..., [({2}, "two sockets"), ({10}, "two sockets"), (2, "no set")]),
    (
        "04-4",
        STATES % ("...", "..."),
        [
            (STATES % (STATE_PROBE, "args->newstate, args->oldstate"), "is missing"),
            (GETRANDOM % "len", "nothing was printed"),
        ],
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
    "03-1": "sock:inet_sock_set_state",
    "03-2": CHAIN + "sort | uniq -c | sort -rn",
    "03-4": b"sys_enter_clock_nanosleep 4711",
    "04-1": PORT % "args->daddr[2] * 256 + args->daddr[3]",
    "04-2": arrived,
    "04-3": {2, 10},
    "04-4": STATES % (STATE_PROBE, "args->oldstate, args->newstate"),
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


def test_the_event_with_the_most_fields_is_asked_of_this_kernel():
    formats = [read_format(name) for name in find_tracepoints()]
    largest = max(formats, key=lambda fmt: len(fmt.fields))
    assert check("03-3", largest.full_name).passed

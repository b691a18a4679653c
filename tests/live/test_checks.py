"""The rule for exercises: the starter fails its check, the solution passes, on this kernel."""

import ipaddress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tracekit.capture.probe import PROGRAMS
from tracekit.lesson.exercise import check, exercises
from tracekit.tracepoints.sockaddr import decode_sockaddr
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

pytestmark = pytest.mark.live

CHAPTERS = ("01", "02", "03", "04", "05", "06", "07", "08", "10", "11")  # 09 needs no live kernel


@dataclass(frozen=True)
class Case:
    """An exercise: its starter, wrong answers with a word of what is said of them, right ones.

    A right answer that depends on this kernel is a function, to be called without arguments.
    """

    id: str
    starter: Any
    wrong: list[tuple[Any, str]]
    right: list[Any]


def nothing(*_):
    return ...


# 01 to 03 ----------------------------------------------------------------------------------------

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


def bytes_before_oldcomm():
    return read_format("task:task_rename")["oldcomm"].offset


def bits_before_oldcomm():
    return 8 * bytes_before_oldcomm()


def with_most_fields():
    formats = [read_format(name) for name in find_tracepoints()]
    return max(formats, key=lambda fmt: len(fmt.fields)).full_name


FORMATS_AND_NAMES = [
    Case(
        "01-1",
        ...,
        [("got_bits", "bytes 8 to 11"), ("nothing", "no field"), (12, "no name")],
        ["pool_left"],
    ),
    Case(
        "01-2",
        GETRANDOM % "...",
        [(GETRANDOM % "len", "printed ['1', '1']"), (GETRANDOM % "flag", "flag"), (1, "program")],
        [GETRANDOM % "flags"],
    ),
    Case(
        "01-3",
        GETPGID % ("...", "..."),
        [(GETRANDOM % "len", "printed []")],
        [GETPGID % ("TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)", "pid")],
    ),
    Case(
        "01-4",
        ...,
        [([], "missing"), (["linux_6.18"], "8 bytes"), ("debian", "no list")],
        [["debian-12_6.1-rt"]],
    ),
    Case(
        "02-1",
        ...,
        [(0, "not begin"), ("12", "whole number"), (bits_before_oldcomm, "number of bits")],
        [bytes_before_oldcomm],
    ),
    Case(
        "02-2",
        ...,
        [
            (INTS[:2], "expected"),
            ([("int", "got_bits"), ("short", "pool_left"), ("int", "input_left")], "expected"),
            (["got_bits"], "laid out"),
            ([("struct nobody", "got_bits")], "size"),
            ("int got_bits", "no list"),
        ],
        [INTS],
    ),
    Case(
        "02-3",
        ...,
        [
            ("sched:sched_wakeup", "from the text"),
            ("sched:sched_switch", "a struct of its own"),
            ("tcp:tcp_probe", "no event of the category"),
            (3, "no name"),
        ],
        ["sched:sched_wakeup_new"],
    ),
    Case(
        "02-4",
        NEW_NAME % "...",
        [(NEW_NAME % "oldcomm", "became true"), (NEW_NAME % "name", "name"), (None, "no program")],
        [NEW_NAME % "newcomm"],
    ),
    Case(
        "03-1",
        ...,
        [("tcp:tcp_probe", "no field oldstate"), ("sock:state", "no tracepoint"), (1, "no name")],
        ["sock:inet_sock_set_state"],
    ),
    Case(
        "03-2",
        CHAIN + "...",
        [
            (CHAIN + "uniq -c | sort -rn", "wrong number"),
            (CHAIN + "sort | uniq -c", "does not come first"),
            (CHAIN + "sort", "not a number and a category"),
            (CHAIN + "nosuchcommand", "the shell says"),
            (7, "no command"),
        ],
        [CHAIN + "sort | uniq -c | sort -rn"],
    ),
    Case(
        "03-3",
        ...,
        [("tcp:tcp_probe", "another event has"), ("tcp", "no tracepoint")],
        [with_most_fields],
    ),
    Case(
        "03-4",
        ...,
        [
            ("sys_enter_nanosleep", "happened 0 times"),
            ("sleep", "no tracepoint"),
            (None, "no name"),
        ],
        [b"sys_enter_clock_nanosleep 4711"],
    ),
]

# 04 to 06 ----------------------------------------------------------------------------------------

PORT = """
#include <uapi/linux/in6.h>
TRACEPOINT_PROBE(tcp, tcp_probe) {
    bpf_trace_printk("%%d", %s);
    return 0;
}"""
STATE_PROBE = "TRACEPOINT_PROBE(sock, inet_sock_set_state)"
STATES = """
%s {
    bpf_trace_printk("%%d %%d", %s);
    return 0;
}"""
PROTOCOL = (
    STATE_PROBE
    + """ {
    bpf_trace_printk("%%d", args->%s);
    return 0;
}"""
)
ESTABLISHED = """
#include "counters.h"
TRACEPOINT_PROBE(sock, inet_sock_set_state) {
    if (%s && (args->sport == PORT || args->dport == PORT))
        count(SEEN);
    return 0;
}"""
IPV4 = "args->daddr[0] == 2"
MAPPED = IPV4 + " || (args->daddr[0] == 10 && %s)"


def all_rows(table, port):
    return table[:, 1].sum()


def outside(table, port):
    return table[:, 7]


def arrived(table, port):
    return table[table[:, 0] == port, 2].sum()


def as_it_is(raw):
    return decode_sockaddr(raw).address


def readable(raw):
    address = ipaddress.ip_address(decode_sockaddr(raw).address)
    return str(getattr(address, "ipv4_mapped", None) or address)


def misspelt(value):
    return value.nothing


def all_events(events):
    return events


def column(events):
    return events["data_len"]


def choose(events):
    return events[events["data_len"] >= 1000]


CONNECTIONS = [
    Case(
        "04-1",
        PORT % "...",
        [
            (PORT % "args->daddr[2]", "is missing"),
            (PORT % "args->daddr[2] + 256 * args->daddr[3]", "is missing"),
            (PORT % "args->dport", "reads dport"),
            (PORT % "args->port", "port"),
        ],
        [PORT % "args->daddr[2] * 256 + args->daddr[3]"],
    ),
    Case(
        "04-2",
        nothing,
        [(all_rows, "arrived at the server"), (outside, "IndexError"), (100_000, "no function")],
        [arrived],
    ),
    Case("04-3", ..., [({2}, "two sockets"), ({10}, "two sockets"), (2, "no set")], [{2, 10}]),
    Case(
        "04-4",
        STATES % ("...", "..."),
        [
            (STATES % (STATE_PROBE, "args->newstate, args->oldstate"), "is missing"),
            (GETRANDOM % "len", "nothing was printed"),
        ],
        [STATES % (STATE_PROBE, "args->oldstate, args->newstate")],
    ),
    Case(
        "05-1",
        ...,
        [((144, 31), "order"), ((1, 2), "8080"), (8080, "pair")],
        [(31, 144)],
    ),
    Case("05-2", ..., [(256, "one too many"), (1, "number"), ("many", "whole")], [255]),
    Case(
        "05-3",
        nothing,
        [(as_it_is, "::ffff:"), (misspelt, "AttributeError"), ("x", "no function")],
        [readable],
    ),
    Case(
        "05-4",
        PROTOCOL % "...",
        [(PROTOCOL % "family", "['2']"), (6, "no program")],
        [PROTOCOL % "protocol"],
    ),
    Case(
        "06-1",
        "...",
        [("1", "no data"), ("args->data_len > 1000", "0 bytes"), (1, "condition")],
        ["args->data_len > 0"],
    ),
    Case(
        "06-2",
        MAPPED % "...",
        [(IPV4, "server"), (MAPPED % "1", "IPv6 passes"), ("args->daddr[0] == 10", "plain IPv4")],
        [MAPPED % "args->daddr[18] == 0xff && args->daddr[19] == 0xff"],
    ),
    Case(
        "06-3",
        nothing,
        [(all_events, "the kernel chose"), (column, "no events"), (misspelt, "raises")],
        [choose],
    ),
    Case(
        "06-4",
        ESTABLISHED % "...",
        [(ESTABLISHED % "1", "it counted"), (PROTOCOL % "protocol", "no counters"), (2, "text")],
        [ESTABLISHED % "args->newstate == 1"],
    ),
]

# 07, 08 and 11 -----------------------------------------------------------------------------------

FLIGHT = """#include <uapi/linux/in6.h>
struct flight_t {{ u64 sock_cookie; u32 snd_nxt, snd_una, in_flight; }};
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(tcp, tcp_probe) {{
    struct flight_t data = {{.sock_cookie = args->sock_cookie}};
    {}
    events.perf_submit(args, &data, sizeof(data));
    return 0;
}}"""
BOTH = "data.snd_nxt = args->snd_nxt; data.snd_una = args->snd_una;"
SENT_STATES = """
struct state_t {{ u32 dport, oldstate, newstate; }};
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(sock, inet_sock_set_state) {{
    struct state_t data = {{}};
    {}
    events.perf_submit(args, &data, sizeof(data));
    return 0;
}}"""
SENT_PORT = "data.dport = args->dport;"

DOCUMENTS_STRUCT = (
    (PROGRAMS / "tcp_probe_attach_tracepoint.c").read_text().partition("int print")[0]
)
STATE_ARGS = "struct state_args {{ {} s32 oldstate; s32 newstate; }};"

EVENT = "struct event_t { %s }%s;"
PACKED = " __attribute__((packed))"


def without_head(struct_size, pages):
    return pages * 4096 // struct_size


def fitting(struct_size, pages):
    return pages * 4096 // (8 + -(-(struct_size + 4) // 8) * 8)


def divide(struct_size, pages):
    return pages / 0


def with_family():
    fmt = read_format("tcp:tcp_probe")
    members = "u16 family; u32 mark;" if "family" in fmt else "u32 mark;"
    return DOCUMENTS_STRUCT.replace("u32 mark;", members)


RESENT = """
struct resent_t {{ u64 ts; u32 dport; }};
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(tcp, tcp_retransmit_skb) {{
    struct resent_t data = {{}};
    {}
    data.dport = args->dport;
    events.perf_submit(args, &data, sizeof(data));
    return 0;
}}"""


def by_what_is_left(own):
    at = np.flatnonzero(np.diff(own["ssthresh"].astype(int)) < 0)
    return "reno" if np.median(own["ssthresh"][at + 1] / own["snd_cwnd"][at]) < 0.6 else "cubic"


RECORDS = [
    Case(
        "07-1",
        "struct s_t { ... };",
        [
            ("struct s_t { u8 a; u64 b; u16 c; u32 d; };", "24 bytes"),
            ("struct s_t { u64 b; u32 d; };", "same four members"),
            (16, "no struct"),
        ],
        ["struct s_t { u64 b; u32 d; u16 c; u8 a; };"],
    ),
    Case(
        "07-2",
        FLIGHT.format("..."),
        [
            (FLIGHT.format(""), "is 0 in all events"),
            (FLIGHT.format(BOTH), "another number"),
            (FLIGHT.format(BOTH).replace("in_flight", "flying"), "no member in_flight"),
            (FLIGHT.format(BOTH).replace("= args->sock_cookie", "= 0"), "own connection"),
        ],
        [FLIGHT.format(BOTH + "data.in_flight = args->snd_nxt - args->snd_una;")],
    ),
    Case(
        "07-3",
        nothing,
        [(without_head, "26 of 136 bytes"), (divide, "ZeroDivisionError"), (26, "no function")],
        [fitting],
    ),
    Case(
        "07-4",
        SENT_STATES.format("...").replace(STATE_PROBE, "..."),
        [
            (SENT_STATES.format(""), "no event says so"),
            (SENT_STATES.format(SENT_PORT), "the state 1"),
            (4, "no program"),
        ],
        [
            SENT_STATES.format(
                SENT_PORT + "data.oldstate = args->oldstate; data.newstate = args->newstate;"
            )
        ],
    ),
    Case(
        "08-1",
        DOCUMENTS_STRUCT.replace("u32 mark;", "... u32 mark;"),
        [
            (DOCUMENTS_STRUCT.replace("u32 mark;", "u64 mark;"), "mark reads"),
            ("struct tcp_probe_args { u64 __unused__; };", "has no "),
            (1, "C text"),
        ],
        [with_family],
    ),
    Case(
        "08-2",
        ...,
        [("data_len", "no wrong member"), ("snd_una", "not the first"), (1, "no wrong member")],
        ["snd_nxt"],
    ),
    Case(
        "08-3",
        STATE_ARGS.format("u64 __unused__; ..."),
        [
            (STATE_ARGS.format("u64 __unused__;"), "oldstate reads"),
            ("struct state_args { u64 __unused__; u64 skaddr; };", "has no newstate"),
        ],
        [STATE_ARGS.format("u64 __unused__; u64 skaddr;")],
    ),
    Case(
        "10-1",
        nothing,
        [
            (lambda rate, seconds: rate * seconds, "take 0.8 s"),
            (lambda rate, seconds: 1 / 0, "ZeroDivisionError"),
            (125_000, "no function"),
        ],
        [lambda rate, seconds: rate * seconds / 8],
    ),
    Case(
        "10-2",
        nothing,
        [(lambda own: "cubic", "of a reno flow"), (lambda own: "reno", "of a cubic flow")],
        [by_what_is_left],
    ),
    Case(
        "10-3",
        nothing,
        [
            (lambda first, times: first * (2**times - 1), "after the last one"),
            (lambda first, times: first * (2 ** (times + 1) - 1), "longer than 120 s"),
            (lambda first, times: True, "no number"),
        ],
        [lambda first, times: sum(min(first * 2**n, 120) for n in range(times + 1))],
    ),
    Case(
        "10-4",
        RESENT.replace("TRACEPOINT_PROBE(tcp, tcp_retransmit_skb)", "..."),
        [
            (RESENT.format(""), "ran over IPv4"),
            (RESENT.format("return 0;"), "no event says so"),
            (RESENT.format("").replace("dport", "port").replace("args->", "args->d"), "no member"),
            (4, "no program"),
        ],
        [RESENT.format("if (args->family != 10) return 0;")],
    ),
    Case(
        "11-1",
        ...,
        [("a bug", "no failure of the gallery"), ("slash", "prints another message")],
        ["past-the-record"],
    ),
    Case(
        "11-2",
        ...,
        [
            (8, "no struct event_t"),
            (EVENT % ("...", ""), "error: "),
            (EVENT % ("bool ok; u64 time; u32 pid;", ""), "knows no"),
            (EVENT % ("u8 ok; u64 time; __u32 pid;", ""), "knows no __u32"),
            (EVENT % ("u8 ok; u64 time; u32 pid;", PACKED), "other numbers"),
            (EVENT % ("u8 ok; u32 pid;", ""), "no member named 'time'"),
        ],
        [EVENT % ("u8 ok; u64 time; u32 pid;", ""), EVENT % ("u64 time; u32 pid; u8 ok;", "")],
    ),
    Case(
        "11-3",
        ...,
        [
            (1, "no function"),
            (nothing, "has not the event's when"),
            (lambda event: event, "yours has changed"),
        ],
        [lambda event: type(event).from_buffer_copy(event)],
    ),
]

CASES = [*FORMATS_AND_NAMES, *CONNECTIONS, *RECORDS]
ASKED_HERE = {bits_before_oldcomm, bytes_before_oldcomm, with_most_fields, with_family}


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


def given(answer):
    asked = callable(answer) and answer in ASKED_HERE
    return answer() if asked else answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_starter_fails_and_wrong_answers_are_explained(case):
    assert check(case.id, case.starter).outcome == "not yet"
    for answer, word in case.wrong:
        found = check(case.id, given(answer))
        assert found.outcome == "not yet"
        assert word in found.line


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_solution_passes(case):
    for answer in case.right:
        assert check(case.id, given(answer)).line == f"exercise {case.id} · passed"


def test_every_exercise_has_its_case():
    ids = [exercise.id for chapter in CHAPTERS for exercise in exercises(chapter)]
    assert [case.id for case in CASES] == ids

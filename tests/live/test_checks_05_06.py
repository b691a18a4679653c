"""The rule for exercises: the starter fails its check, the solution passes, on this kernel."""

import ipaddress

import pytest

from tracekit.lesson.exercise import check
from tracekit.tracepoints.sockaddr import decode_sockaddr

pytestmark = pytest.mark.live

PROTOCOL = """
TRACEPOINT_PROBE(sock, inet_sock_set_state) {
    bpf_trace_printk("%%d", args->%s);
    return 0;
}"""
ESTABLISHED = """
#include "counters.h"
TRACEPOINT_PROBE(sock, inet_sock_set_state) {
    if (%s && (args->sport == PORT || args->dport == PORT))
        count(SEEN);
    return 0;
}"""
IPV4 = "args->daddr[0] == 2"
MAPPED = IPV4 + " || (args->daddr[0] == 10 && %s)"


def nothing(raw):
    return ...


def as_it_is(raw):
    return decode_sockaddr(raw).address


def readable(raw):
    address = ipaddress.ip_address(decode_sockaddr(raw).address)
    return str(getattr(address, "ipv4_mapped", None) or address)


def crash(raw):
    return raw.nothing


def all_events(events):
    return events


def column(events):
    return events["data_len"]


def choose(events):
    return events[events["data_len"] >= 1000]


# exercise, the starter, wrong answers with a word of what is said of them
CASES = [
    ("05-1", ..., [((144, 31), "order"), ((1, 2), "8080"), (8080, "pair")]),
    ("05-2", ..., [(256, "one too many"), (1, "number"), ("many", "whole")]),
    ("05-3", nothing, [(as_it_is, "::ffff:"), (crash, "AttributeError"), ("x", "no function")]),
    ("05-4", PROTOCOL % "...", [(PROTOCOL % "family", "['2']"), (6, "no program")]),
    ("06-1", "...", [("1", "no data"), ("args->data_len > 1000", "0 bytes"), (1, "condition")]),
    (
        "06-2",
        MAPPED % "...",
        [(IPV4, "server"), (MAPPED % "1", "IPv6 passes"), ("args->daddr[0] == 10", "plain IPv4")],
    ),
    ("06-3", nothing, [(all_events, "the kernel chose"), (column, "no events"), (crash, "raises")]),
    (
        "06-4",
        ESTABLISHED % "...",
        [(ESTABLISHED % "1", "it counted"), (PROTOCOL % "protocol", "no counters"), (2, "text")],
    ),
]
SOLUTIONS = {
    "05-1": (31, 144),
    "05-2": 255,
    "05-3": readable,
    "05-4": PROTOCOL % "protocol",
    "06-1": "args->data_len > 0",
    "06-2": MAPPED % "args->daddr[18] == 0xff && args->daddr[19] == 0xff",
    "06-3": choose,
    "06-4": ESTABLISHED % "args->newstate == 1",
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

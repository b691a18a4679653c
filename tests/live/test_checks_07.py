"""The exercises of 07-perf-submit: the starter fails its check, the solution passes."""

import pytest

from tracekit.lesson.exercise import check

pytestmark = pytest.mark.live

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
STATES = """
struct state_t {{ u32 dport, oldstate, newstate; }};
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(sock, inet_sock_set_state) {{
    struct state_t data = {{}};
    {}
    events.perf_submit(args, &data, sizeof(data));
    return 0;
}}"""
PORT = "data.dport = args->dport;"


def nothing(struct_size, pages):
    return ...


def without_head(struct_size, pages):
    return pages * 4096 // struct_size


def right(struct_size, pages):
    return pages * 4096 // (8 + -(-(struct_size + 4) // 8) * 8)


def crash(struct_size, pages):
    return pages / 0


# exercise, the starter, wrong answers with a word of what is said of them, the solution
CASES = [
    (
        "07-1",
        "struct s_t { ... };",
        [
            ("struct s_t { u8 a; u64 b; u16 c; u32 d; };", "24 bytes"),
            ("struct s_t { u64 b; u32 d; };", "same four members"),
            (16, "no struct"),
        ],
        "struct s_t { u64 b; u32 d; u16 c; u8 a; };",
    ),
    (
        "07-2",
        FLIGHT.format("..."),
        [
            (FLIGHT.format(""), "is 0 in all events"),
            (FLIGHT.format(BOTH), "another number"),
            (FLIGHT.format(BOTH).replace("in_flight", "flying"), "no member in_flight"),
            (FLIGHT.format(BOTH).replace("= args->sock_cookie", "= 0"), "own connection"),
        ],
        FLIGHT.format(BOTH + "data.in_flight = args->snd_nxt - args->snd_una;"),
    ),
    (
        "07-3",
        nothing,
        [(without_head, "26 of 136 bytes"), (crash, "ZeroDivisionError"), (26, "no function")],
        right,
    ),
    (
        "07-4",
        STATES.format("...").replace("TRACEPOINT_PROBE(sock, inet_sock_set_state)", "..."),
        [
            (STATES.format(""), "no event says so"),
            (STATES.format(PORT), "the state 1"),
            (4, "no program"),
        ],
        STATES.format(PORT + "data.oldstate = args->oldstate; data.newstate = args->newstate;"),
    ),
]


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


@pytest.mark.parametrize(("id", "starter", "wrong", "solution"), CASES, ids=[c[0] for c in CASES])
def test_starter_and_wrong_answers_fail_and_the_solution_passes(id, starter, wrong, solution):
    assert check(id, starter).outcome == "not yet"
    for answer, word in wrong:
        found = check(id, answer)
        assert found.outcome == "not yet"
        assert word in found.line
    assert check(id, solution).line == f"exercise {id} · passed"

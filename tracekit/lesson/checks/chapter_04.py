"""The exercises of ``04-tcp-probe-simple``: a port, all data, two families, and a change of state.

The checks print what they need through ``bpf_trace_printk``, as the chapter does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.printed import printed_by
from tracekit.traffic.tcp import Transfer, exchange, transfer

__all__ = ("EXERCISES",)

_SIZE = 100_000
_ARRIVALS = """#include <uapi/linux/in6.h>
TRACEPOINT_PROBE(tcp, tcp_probe) {
    bpf_trace_printk("%d %d %d", args->sport, args->dport, args->data_len);
    return 0;
}"""
# A socket goes from "asked for a connection", or from "was asked", to "established".
_ESTABLISHED = {("2", "1"), ("3", "1")}


def _with_traffic(program: object, make: Callable[[], Transfer]) -> tuple[Transfer, list[str]]:
    made: list[Transfer] = []
    # Segments are taken in by whoever is running: no thread can be asked for.
    printed = printed_by(program, lambda: made.append(make()))
    return made[0], printed


def _check_port(answer: object) -> None:
    if isinstance(answer, str) and "dport" in answer:
        raise Failed("the program reads dport", "put the port together from daddr[2] and daddr[3]")
    moved, printed = _with_traffic(answer, exchange)
    missing = [port for port in moved.ports if str(port) not in printed]
    if missing:
        raise Failed(
            f"port {missing[0]} is missing in {len(printed)} lines; {_some(printed)}",
            "the first of the two bytes counts 256 times",
        )


def _check_arrived(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    moved, printed = _with_traffic(_ARRIVALS, lambda: transfer(_SIZE))
    rows = [line.split() for line in printed]
    table = np.array(rows, dtype=int).reshape(-1, 3)
    table = table[(table[:, :2] == moved.server.port).any(axis=1)]
    found = _call(answer, table, moved.server.port)
    if isinstance(found, EllipsisType):
        raise Failed("it returns the ... that stands there", "choose rows, and add up a column")
    if isinstance(found, bool) or not isinstance(found, int | np.integer):
        raise Failed(f"it returns {found!r}, no whole number", "add up one column of some rows")
    if found != moved.received:
        raise Failed(
            f"it returns {found}, and {moved.received} bytes arrived at the server",
            "the server's rows have its port as their first number",
        )


def _call(
    function: Callable[[npt.NDArray[Any], int], object], table: npt.NDArray[Any], port: int
) -> object:
    try:
        return function(table, port)
    except Exception as error:
        raise Failed(
            f"the function raises {type(error).__name__}: {error}",
            "table[:, 0] is the column sport, table[:, 2] is data_len",
        ) from None


def _check_families(answer: object) -> None:
    if not isinstance(answer, set | frozenset):
        raise Failed(f"{answer!r} is no set", "write it as in {2}")
    moved = exchange(count=1, dual_stack=True)
    found = {int(moved.client.family), int(moved.server.family)}
    if answer != found:
        raise Failed(
            f"{set(answer)} is not what the two sockets have",
            "a record shows the family of its socket, not that of the packets",
        )


def _check_states(answer: object) -> None:
    _, printed = _with_traffic(answer, lambda: exchange(count=1))
    missing = _ESTABLISHED - {tuple(line.split()) for line in printed}
    if missing:
        pair = " ".join(min(missing))
        raise Failed(
            f"the line {pair} is missing; {_some(printed)}",
            "the old state first, then the new one, and nothing else",
        )


def _some(printed: list[str]) -> str:
    return f"the first line is {printed[0]!r}" if printed else "nothing was printed"


EXERCISES = (
    Exercise(
        "04-1",
        "The whole port, from two bytes",
        _check_port,
        (
            "the upper byte of a port comes first: daddr[2]",
            "a byte that stands for 256s has to be multiplied",
            "write args->daddr[2] * 256 + args->daddr[3]",
        ),
    ),
    Exercise(
        "04-2",
        "All data pass through data_len",
        _check_arrived,
        (
            "each row shows the receiving socket's own port first",
            "table[:, 0] == port chooses the rows of the server",
            "table[table[:, 0] == port, 2].sum()",
        ),
    ),
    Exercise(
        "04-3",
        "The families of a dual-stack server and its client",
        _check_families,
        (
            "the record shows the family of the socket, and there are two sockets",
            "the client's socket is IPv4; the server's is an IPv6 socket that takes IPv4 too",
            "IPv4 is 2 and IPv6 is 10",
        ),
    ),
    Exercise(
        "04-4",
        "States, from another tracepoint",
        _check_states,
        (
            "the first line names the category and the event",
            "TRACEPOINT_PROBE(sock, inet_sock_set_state)",
            "args->oldstate, args->newstate",
        ),
    ),
)

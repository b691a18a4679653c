"""The exercises of ``06-filter``: conditions in the kernel, masks in Python, and a count."""

from __future__ import annotations

import socket
from collections.abc import Callable

import numpy as np

from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.traffic.tcp import Transfer, exchange

__all__ = ("EXERCISES",)

_PROGRAM = "tcp_probe_counted.c"
_COUNT, _SIZE = 23, 1000


def _probe(wanted: object, name: str = "check") -> Probe:
    if not isinstance(wanted, str):
        raise Failed(f"{type(wanted).__name__} is no condition", "give the C condition as text")
    if "..." in wanted:
        raise Failed("... is still there", "write a condition in its place")
    return Probe.from_file(_PROGRAM, defines={"WANTED": wanted}, name=name)


def _own(events: Events, moved: Transfer) -> Events:
    return events[np.isin(events["sock_cookie"], moved.cookies)]


def _check_data_only(answer: object) -> None:
    with _probe(answer) as probe:
        moved = exchange(_COUNT, _SIZE)
        own = _own(probe.read(), moved)
    total = moved.received + moved.client.received
    arrived = int(own["data_len"].sum())
    if arrived != total:
        raise Failed(f"{arrived} bytes of {total} are in your events", "keep all with data")
    if not own["data_len"].all():
        empty = int((own["data_len"] == 0).sum())
        raise Failed(f"{empty} of your events carry no data", "ask for data_len")


def _check_mapped(answer: object) -> None:
    with _probe(answer) as probe:
        four, six, dual = exchange(), exchange(family=6), exchange(dual_stack=True)
        found = set(probe.read()["sock_cookie"].tolist())
    if not set(four.cookies) <= found:
        raise Failed("plain IPv4 is lost", "keep the document's test, and add another with ||")
    if dual.server.cookie not in found:
        raise Failed("the dual-stack server's events are lost", "daddr[18] and daddr[19] tell")
    if set(six.cookies) & found:
        raise Failed("IPv6 passes as well", "a mapped address has ff in bytes 18 and 19")


def _check_choose(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    with _probe("1", "check late") as late, _probe("args->data_len >= 1000") as early:
        moved = exchange(_COUNT, _SIZE)
        everything, expected = _own(late.read(), moved), _own(early.read(), moved)
    chosen = _call(answer, everything)
    if not isinstance(chosen, Events):
        raise Failed(f"it gives {type(chosen).__name__}, no events", "events[mask] gives events")
    if chosen["data_len"].tolist() != expected["data_len"].tolist():
        raise Failed(
            f"it chooses {len(chosen)} of {len(everything)} events, the kernel chose"
            f" {len(expected)}",
            "the same condition, on the column data_len",
        )


def _call(function: Callable[[Events], object], events: Events) -> object:
    try:
        return function(events)
    except Exception as error:
        raise Failed(
            f"the function raises {type(error).__name__}: {error}", "call it with everything"
        ) from None


def _check_established(answer: object) -> None:
    if not isinstance(answer, str):
        raise Failed(f"{type(answer).__name__} is no program", "give the C program as text")
    if "..." in answer:
        raise Failed("... is still there", "write a condition in its place")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Probe.from_text(answer, defines={"PORT": port}, name="check") as probe:
        exchange(port=port)
        counted = probe.counts.seen
    if counted is None:
        raise Failed("the program has no counters", '#include "counters.h"')
    if counted != 2:
        raise Failed(f"it counted {counted}, and two sockets became established", "newstate is 1")


EXERCISES = (
    Exercise(
        "06-1",
        "Only segments that carry data",
        _check_data_only,
        (
            "the condition is about one field of args",
            "a pure ACK has no data: its data_len is 0",
            '"args->data_len > 0"',
        ),
    ),
    Exercise(
        "06-2",
        "IPv4 also where it is mapped",
        _check_mapped,
        (
            "a mapped address is in an IPv6 socket address: daddr[0] is 10",
            "its bytes 18 and 19 are ff, in C 0xff",
            "write args->daddr[18] == 0xff && args->daddr[19] == 0xff in the place of ...",
        ),
    ),
    Exercise(
        "06-3",
        "The same choice in Python",
        _check_choose,
        (
            'events["data_len"] is the column, an array of numbers',
            'events["data_len"] >= 1000 is a mask: one True or False for each event',
            'return events[events["data_len"] >= 1000]',
        ),
    ),
    Exercise(
        "06-4",
        "Count, and send nothing",
        _check_established,
        (
            'tk.read_format("sock:inet_sock_set_state") shows the fields',
            "the field newstate is the state that the socket goes into",
            "write args->newstate == 1 in the place of ...",
        ),
    ),
)

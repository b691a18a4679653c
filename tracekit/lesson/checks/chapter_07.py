"""The exercises of ``07-perf-submit``: a struct's shape, what is sent, and what fits."""

from __future__ import annotations

import re
import socket

import numpy as np

from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.capture.struct_layout import lay_out_struct
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.traffic.tcp import exchange, transfer

__all__ = ("EXERCISES",)

_MEMBERS = {"u8 a", "u64 b", "u16 c", "u32 d"}
_PAGE = 4096
_ESTABLISHED = 1  # TCP_ESTABLISHED, include/net/tcp_states.h


def _text(answer: object, what: str) -> str:
    if not isinstance(answer, str):
        raise Failed(f"{type(answer).__name__} is no {what}", f"give the {what} as C text")
    return answer


def _check_order(answer: object) -> None:
    text = _text(answer, "struct")
    declared = set(re.findall(r"\b(u\d+\s+\w+)\s*;", text))
    if {" ".join(one.split()) for one in declared} != _MEMBERS:
        raise Failed("it must have the same four members", "each as type, name and semicolon")
    size = lay_out_struct(text).size
    if size != 16:
        raise Failed(f"it has {size} bytes", "put members where their multiple comes by itself")


def _columns(events: Events, *names: str) -> None:
    missing = [name for name in names if name not in (events.dtype.names or ())]
    if missing:
        raise Failed(f"the struct has no member {', '.join(missing)}", "keep the names as given")


def _check_in_flight(answer: object) -> None:
    with Probe.from_text(_text(answer, "program"), name="check") as probe:
        moved = transfer(size=1_000_000)
        events = probe.read()
    _columns(events, "sock_cookie", "snd_nxt", "snd_una", "in_flight")
    own = events[np.isin(events["sock_cookie"], moved.cookies)]
    if not len(own):
        raise Failed("no event of the check's own connection came", "send sock_cookie as well")
    if not own["snd_nxt"].any() or not own["snd_una"].any():
        raise Failed("snd_nxt or snd_una is 0 in all events", "send both numbers as well")
    # u32, as in the kernel: the difference goes round
    expected = own["snd_nxt"].astype(np.uint32) - own["snd_una"].astype(np.uint32)
    wrong = int((own["in_flight"] != expected).sum())
    if wrong:
        raise Failed(f"in_flight is another number in {wrong} of {len(own)} events", "nxt - una")


def _check_fits(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    for size, pages in ((136, 1), (136, 8), (8, 1), (12, 1), (13, 2), (100, 64)):
        expected = pages * _PAGE // (8 + (size + 4 + 7) // 8 * 8)
        try:
            found = answer(size, pages)
        except Exception as error:
            raise Failed(
                f"the function raises {type(error).__name__}: {error}", "call it with (136, 1)"
            ) from None
        if found != expected:
            raise Failed(
                f"{expected} of {size} bytes fit in {pages} pages, and it says {found}",
                "add 4 bytes, round up to a multiple of 8, add 8; then see how often that fits",
            )


def _check_states(answer: object) -> None:
    text = _text(answer, "program")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Probe.from_text(text, name="check") as probe:
        exchange(count=1, port=port)
        events = probe.read()
    _columns(events, "dport", "oldstate", "newstate")
    client = events[events["dport"] == port]
    if not len(client):
        raise Failed(f"a client connected to port {port}, and no event says so", "send args->dport")
    if _ESTABLISHED not in client["newstate"] or _ESTABLISHED not in client["oldstate"]:
        raise Failed(
            "no event goes to the state 1, and another from it", "newstate and oldstate, of args"
        )


EXERCISES = (
    Exercise(
        "07-1",
        "A struct of 16 bytes",
        _check_order,
        (
            "a member of 8 bytes begins at a multiple of 8",
            "begin with the largest member",
            "u64 b; u32 d; u16 c; u8 a;",
        ),
    ),
    Exercise(
        "07-2",
        "Bytes in flight",
        _check_in_flight,
        (
            "three members of data are still 0",
            "data.snd_nxt = args->snd_nxt; and the same for snd_una",
            "data.in_flight = args->snd_nxt - args->snd_una;",
        ),
    ),
    Exercise(
        "07-3",
        "Records that fit in a perf buffer",
        _check_fits,
        (
            "the chapter has calculated it for one page and its own struct",
            "put struct_size in the place of dtype.itemsize",
            "pages * 4096 // (8 + -(-(struct_size + 4) // 8) * 8)",
        ),
    ),
    Exercise(
        "07-4",
        "Send another event",
        _check_states,
        (
            "the first line names the category and the event",
            "make a struct state_t data = {}; and set its three members from args",
            "end with events.perf_submit(args, &data, sizeof(data));",
        ),
    ),
)

"""The exercises of ``10-watch-tcp``: a queue's length, a sender's rule, its patience, IPv6."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import numpy as np

from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.traffic.congestion import available_congestion_controls
from tracekit.traffic.link import Link, slow_link

__all__ = ("EXERCISES",)

_RULES = ("reno", "cubic")
_LONGEST_WAIT = 120.0  # TCP_RTO_MAX, include/net/tcp.h, in seconds


def _call(function: object, *arguments: Any) -> Any:
    if not callable(function):
        raise Failed(f"{type(function).__name__} is no function", "give the function, without ()")
    try:
        return function(*arguments)
    except Exception as error:
        raise Failed(
            f"the function raises {type(error).__name__}: {error}", "call it yourself first"
        ) from None


def _number(function: object, *arguments: Any) -> float:
    found = _call(function, *arguments)
    if isinstance(found, bool) or not isinstance(found, int | float | np.number):
        raise Failed(f"the function gives {found!r}, and no number", "end with return …")
    return float(found)


def _link(stack: ExitStack, rate: str, queue: int) -> Link:
    link = stack.enter_context(slow_link(rate, queue=queue))
    if link.kind != "namespaces":
        raise Failed(f"there is no link to try it on: {link.reason}", "python3 -m tracekit doctor")
    return link


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _check_queue(answer: object) -> None:
    for rate, seconds in ((10_000_000, 0.1), (8_000, 2.0), (50_000_000, 0.02)):
        found, expected = _number(answer, rate, seconds), rate * seconds / 8
        if not np.isclose(found, expected, rtol=0.01):
            raise Failed(
                f"at {rate:,} bits a second, {found:,.0f} bytes take {found * 8 / rate:g} s "
                f"to leave, and not {seconds:g}",
                "a rate is in bits, a queue in bytes",
            )
    seconds, port = 0.03, _free_port()
    with ExitStack() as stack:
        link = _link(stack, "20mbit", round(_number(answer, 20_000_000, seconds)))
        probe = stack.enter_context(_senders(port))
        moved = link.transfer(1.5, congestion="reno", port=port)
        events = probe.read()
    own = events[events["sock_cookie"] == moved.client.cookie]
    longest = own["srtt"].max() / 1e6
    if not 0.5 * seconds < longest < 2 * seconds:
        raise Failed(
            f"on a link of 20 Mbit/s with your queue, srtt rose to {longest * 1e3:.0f} ms, "
            f"and not to {seconds * 1e3:.0f}",
            "where the machine was busy, check once more",
        )


def _senders(port: int) -> Probe:
    # Another name than the chapter's probes have, or those would be closed.
    return Probe.from_file("tcp_probe_ring.c", defines={"DPORT": port}, name="check")


def _check_rule(answer: object) -> None:
    for name in _RULES:
        if name not in available_congestion_controls():
            continue
        found = _call(answer, _watched(name))
        if found != name:
            raise Failed(
                f"it says {found!r} of the events of a {name} flow",
                "what is left of a window: the new ssthresh by the window before",
            )


def _watched(name: str) -> Events:
    """The events of a flow with this rule that has lost at least three times."""
    port = _free_port()
    with ExitStack() as stack:
        link = _link(stack, "20mbit", 40_000)
        probe = stack.enter_context(_senders(port))
        flow = stack.enter_context(link.start(20, congestion=name, port=port))
        batches = []
        for events in probe.stream(seconds=15):
            batches.append(events[events["sport"] == flow.ports[0]])
            records = np.concatenate([batch.records for batch in batches])
            if np.count_nonzero(np.diff(records["ssthresh"].astype(np.int64)) < 0) > 4:
                break
    return Events(records, batches[-1].origin, batches[-1].counts)


def _check_patience(answer: object) -> None:
    for first, times in ((0.2, 1), (0.2, 3), (1.0, 6), (0.2, 15)):
        found, expected = _number(answer, first, times), _patience(first, times)
        if not np.isclose(found, expected, rtol=1e-6):
            more = times > 9 and np.isclose(found, first * (2 ** (times + 1) - 1))
            raise Failed(
                f"with {first:g} s at first and {times} retransmissions, TCP gives up after "
                f"{expected:g} s, and not {found:g}",
                "no wait is longer than 120 s" if more else "it waits after the last one, too",
            )


def _patience(first: float, times: int) -> float:
    waits = (first * 2.0**number for number in range(times + 1))
    return sum(min(wait, _LONGEST_WAIT) for wait in waits)


def _check_ipv6(answer: object) -> None:
    if not isinstance(answer, str):
        raise Failed(f"{type(answer).__name__} is no program", "give the program as C text")
    with ExitStack() as stack:
        probe = stack.enter_context(Probe.from_text(answer, name="check"))
        link = _link(stack, "20mbit", 30_000)
        ports = {family: _free_port() for family in (4, 6)}
        for family, port in ports.items():
            link.transfer(1, congestion="reno", family=family, port=port)
        events = probe.read()
    if "dport" not in (events.dtype.names or ()):
        raise Failed("the struct has no member dport", "keep its name as given")
    seen = {family: port in events["dport"] for family, port in ports.items()}
    if not seen[6]:
        raise Failed(
            f"a flow over IPv6 to port {ports[6]} sent segments again, and no event says so",
            "the event is tcp:tcp_retransmit_skb",
        )
    if seen[4]:
        raise Failed(
            f"port {ports[4]} is in your events, and its flow ran over IPv4",
            "end the program early where args->family is not AF_INET6, 10",
        )


EXERCISES = (
    Exercise(
        "10-1",
        "A queue for a given wait",
        _check_queue,
        (
            "the chapter has calculated the wait of a given queue",
            "bytes times 8, divided by the rate, is the wait; solve it for the bytes",
            "return rate * seconds / 8",
        ),
    ),
    Exercise(
        "10-2",
        "Whose rule?",
        _check_rule,
        (
            "find where ssthresh falls, as the chapter does",
            "the new ssthresh divided by the window before is 0.5 or 0.7: take the median",
            'at = falls(own); then compare np.median(own["ssthresh"][at + 1] / '
            'own["snd_cwnd"][at]) with 0.6',
        ),
    ),
    Exercise(
        "10-3",
        "When TCP gives up",
        _check_patience,
        (
            "the first wait, twice that, four times that: one wait more than retransmissions",
            "min(first * 2**number, 120) is one wait",
            "sum it for number in range(times + 1)",
        ),
    ),
    Exercise(
        "10-4",
        "Retransmissions over IPv6",
        _check_ipv6,
        (
            "the first line names the category and the event",
            "if (args->family != 10) return 0; (where the format file has no family: "
            "for IPv4, args->saddr_v6[10] is 255)",
            "then data.ts = bpf_ktime_get_ns(); data.dport = args->dport;",
        ),
    ),
)

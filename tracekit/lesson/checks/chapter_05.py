"""The exercises of ``05-addresses``: ports, mapped addresses, and where a protocol is told."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Callable

from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.printed import printed_by
from tracekit.traffic.tcp import exchange

__all__ = ("EXERCISES",)

_PORT = 8080
# Of TEST-NET-1, which is kept for examples (RFC 5737).
_ADDRESS = "192.0.2.7"


def _socket_address(family: int, *parts: bytes) -> bytes:
    raw = struct.pack("=H", family) + _PORT.to_bytes(2, "big") + b"".join(parts)
    return raw.ljust(28, b"\0")


def _check_port_bytes(answer: object) -> None:
    if not (isinstance(answer, tuple | list) and len(answer) == 2):
        raise Failed(f"{answer!r} is no pair of numbers", "give byte 2 and byte 3: (…, …)")
    high, low = divmod(_PORT, 256)
    if tuple(answer) == (low, high):
        raise Failed("these are the right bytes in the wrong order", "the high byte comes first")
    if tuple(answer) != (high, low):
        raise Failed(
            f"{answer[0]!r} * 256 + {answer[1]!r} is not {_PORT}", "how often does 256 go into it?"
        )


def _check_same_in_both_orders(answer: object) -> None:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise Failed(f"{answer!r} is no whole number", "count the ports")
    # On a big-endian machine its own order is the network's, and all are the same.
    same = sum(p.to_bytes(2, "big") == p.to_bytes(2, sys.byteorder) for p in range(1, 65536))
    if answer == same + 1:
        raise Failed(f"{answer} is one too many", "port 0 does not count")
    if answer != same:
        raise Failed(f"{answer} is not their number", "both bytes of such a port are equal")


def _check_readable(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    packed = socket.inet_aton(_ADDRESS)
    loopback6 = bytes(4) + socket.inet_pton(socket.AF_INET6, "::1")
    for kind, raw, expected in (
        ("an IPv4", _socket_address(socket.AF_INET, packed), _ADDRESS),
        ("an IPv6", _socket_address(socket.AF_INET6, loopback6), "::1"),
        ("a mapped", _socket_address(socket.AF_INET6, bytes(14), b"\xff\xff", packed), _ADDRESS),
    ):
        found = _call(answer, raw)
        if found != expected:
            raise Failed(f"{kind} address gives {found!r}, expected was {expected!r}", "")


def _call(function: Callable[[bytes], object], raw: bytes) -> object:
    try:
        return function(raw)
    except Exception as error:
        raise Failed(
            f"the function raises {type(error).__name__}: {error}", "call it with raw, raw6, raw46"
        ) from None


def _check_protocol(answer: object) -> None:
    def connect() -> int:
        exchange(count=1)
        # The client's first change of state happens in connect(), so this thread is running then.
        return threading.get_native_id()

    printed = set(printed_by(answer, connect))
    if printed != {str(int(socket.IPPROTO_TCP))}:
        raise Failed(
            f"for a TCP connection it printed {sorted(printed)}",
            f"it shall print TCP's number, {int(socket.IPPROTO_TCP)}, and nothing else",
        )


EXERCISES = (
    Exercise(
        "05-1",
        "The two bytes of port 8080",
        _check_port_bytes,
        (
            "the first of the two bytes counts 256 times",
            "divide 8080 by 256, and keep what is left",
            "divmod(8080, 256) gives both numbers",
        ),
    ),
    Exercise(
        "05-2",
        "Ports that are the same in both orders",
        _check_same_in_both_orders,
        (
            "which two bytes stay the same when they change places?",
            "socket.htons(port) turns a port from this machine's order to network order",
            "sum(socket.htons(port) == port for port in range(1, 65536))",
        ),
    ),
    Exercise(
        "05-3",
        "IPv4 addresses wherever they are",
        _check_readable,
        (
            "an IPv6 address of the module ipaddress knows whether it is mapped",
            ".ipv4_mapped is the IPv4 address, or None; an IPv4 address has no such attribute",
            'str(getattr(address, "ipv4_mapped", None) or address)',
        ),
    ),
    Exercise(
        "05-4",
        "An event that tells the protocol",
        _check_protocol,
        (
            'tk.read_format("sock:inet_sock_set_state") shows the fields',
            "look for a field of two bytes behind family",
            "write args->protocol",
        ),
    ),
)

"""TCP transfers over loopback whose bytes, ports and socket cookies are known exactly.

What ``tcp:tcp_probe`` fires on: once for each segment a socket receives in the state ESTABLISHED,
before the segment is processed (``tcp_rcv_established``, net/ipv4/tcp_input.c, Linux 5.4 and
later). So the handshake gives no event; a pure acknowledgement gives one at the sender; and one
message may arrive as several segments, several acknowledgements may come as one. This is why the
number of events is not the number of messages. What is exact: the socket each event names by its
``sock_cookie`` is one of the two of the transfer, and without retransmissions the ``data_len`` of
the events at the receiving socket sum up to the bytes it received, except for a multiple of 65536:
the field has 16 bits, and over loopback segments that wait for a busy receiver are joined into
longer ones (``tcp_add_to_backlog``, net/ipv4/tcp_ipv4.c, Linux 6.12).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tracekit.errors import TrafficError
from tracekit.traffic.congestion import congestion_of
from tracekit.traffic.connection import (
    LOOPBACK,
    Connection,
    join,
    listen,
    open_client,
    socket_cookie,
)
from tracekit.traffic.stream import pump

__all__ = ("Endpoint", "Transfer", "connected", "describe", "exchange", "transfer")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection, in the values its tracepoint events have.

    ``address`` (text) and ``port`` (host byte order); ``family``, the socket's own: 2 (AF_INET)
    or 10 (AF_INET6), as the field ``family`` of ``tcp:tcp_probe``; ``cookie``, the number the
    kernel gave this socket and never gives again until it restarts (``SO_COOKIE``, equal to the
    field ``sock_cookie``); ``sent`` and ``received``, bytes of data at this end.

    >>> Endpoint("::ffff:127.0.0.1", 5201, 10, 0x2a, 0, 1000)
    [::ffff:127.0.0.1]:5201
    """

    address: str
    port: int
    family: int
    cookie: int
    sent: int
    received: int

    def __repr__(self) -> str:
        """Address and port, written as ss writes them."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a finished transfer moved, and between which two sockets.

    ``family`` is the IP version on the wire, 4 or 6; ``client`` and ``server`` are the two ends;
    ``messages`` counts what the client handed over and waited for; ``seconds`` runs from before
    the first byte is sent until after the last is received, without the handshake; ``congestion``
    is the client's congestion control.

    >>> client = Endpoint("127.0.0.1", 40112, 2, 0x1001, 1_000_000, 0)
    >>> server = Endpoint("127.0.0.1", 5201, 2, 0x1002, 0, 1_000_000)
    >>> moved = Transfer(4, client, server, messages=1, seconds=0.4, congestion="cubic")
    >>> moved
    Transfer: 1,000,000 bytes in 0.400 s (20 Mbit/s), 127.0.0.1:40112 → 127.0.0.1:5201, cubic, \
cookies 4097 → 4098
    >>> moved.sent == moved.received, moved.ports, moved.cookies
    (True, (40112, 5201), (4097, 4098))
    """

    family: int
    client: Endpoint
    server: Endpoint
    messages: int
    seconds: float
    congestion: str

    @property
    def sent(self) -> int:
        """Bytes the client sent."""
        return self.client.sent

    @property
    def received(self) -> int:
        """Bytes the server received."""
        return self.server.received

    @property
    def ports(self) -> tuple[int, int]:
        """The client's port and the server's, in host byte order."""
        return self.client.port, self.server.port

    @property
    def cookies(self) -> tuple[int, int]:
        """The client's socket cookie and the server's."""
        return self.client.cookie, self.server.cookie

    @property
    def rate(self) -> float:
        """Bits of data a second, from client to server."""
        return self.received * 8 / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        """All of it in one line."""
        moved = f"{self.received:,} bytes"
        if self.server.sent:
            moved = f"{self.messages} messages, {moved} and {self.client.received:,} back"
        return (
            f"Transfer: {moved} in {self.seconds:.3f} s ({self.rate / 1e6:,.3g} Mbit/s), "
            f"{self.client!r} → {self.server!r}, {self.congestion}, "
            f"cookies {self.client.cookie} → {self.server.cookie}"
        )


def transfer(
    size: int = 1_000_000,
    *,
    family: int = 4,
    port: int | None = None,
    congestion: str | None = None,
    dual_stack: bool = False,
    timeout: float = 30.0,
) -> Transfer:
    """Send ``size`` bytes from a client to a server over loopback, and wait until all arrived.

    ``family`` is 4 or 6, the IP version; ``port`` the server's, or None for one that is free;
    ``congestion`` the congestion control of both sockets, or None for the system's;
    ``dual_stack=True`` lets the server listen on ``::`` for both versions, and then its socket is
    of family 10 with the address ``::ffff:127.0.0.1`` although the client's is of family 2. Both
    sockets are closed when the function returns, and it starts no thread.

    Raises :class:`~tracekit.errors.TrafficError` for a size below 1, where loopback has no IPv6,
    the port is in use, the congestion control can't be chosen, or ``timeout`` seconds pass.

    >>> moved = transfer(size=100_000)
    >>> moved.sent, moved.received
    (100000, 100000)
    """
    _require_positive(size=size)
    with connected(
        family=family, port=port, congestion=congestion, dual_stack=dual_stack, timeout=timeout
    ) as connection:
        begin = time.perf_counter()
        moved = pump(connection.client, connection.server, size=size, timeout=timeout)
        seconds = time.perf_counter() - begin
        return describe(connection, seconds=seconds, sent=moved.sent, received=moved.received)


def exchange(
    count: int = 23,
    size: int = 1000,
    *,
    family: int = 4,
    port: int | None = None,
    congestion: str | None = None,
    dual_stack: bool = False,
    timeout: float = 30.0,
) -> Transfer:
    """Make ``count`` round trips over loopback: ``size`` bytes there, then ``size`` bytes back.

    Each message has arrived whole before it is answered, and each answer before the next message
    is sent, so the numbers of messages and of bytes are known exactly. The number of
    ``tcp:tcp_probe`` events is near two for each round trip, not equal to it: see the module's
    text. Options and errors are those of :func:`transfer`.

    >>> moved = exchange(count=23, size=1000)
    >>> moved.messages, moved.sent, moved.received, moved.client.received
    (23, 23000, 23000, 23000)
    """
    _require_positive(count=count, size=size)
    with connected(
        family=family, port=port, congestion=congestion, dual_stack=dual_stack, timeout=timeout
    ) as connection:
        client, server = connection.client, connection.server
        begin = time.perf_counter()
        there = back = 0
        for _ in range(count):
            left = timeout - (time.perf_counter() - begin)
            there += pump(client, server, size=size, timeout=left).received
            left = timeout - (time.perf_counter() - begin)
            back += pump(server, client, size=size, timeout=left).received
        seconds = time.perf_counter() - begin
        return describe(
            connection, seconds=seconds, sent=there, received=there, back=back, messages=count
        )


@contextmanager
def connected(
    *,
    family: int = 4,
    port: int | None = None,
    congestion: str | None = None,
    dual_stack: bool = False,
    timeout: float = 30.0,
) -> Iterator[Connection]:
    """Lend a connection over loopback, both ends in this process, and close it afterwards.

    For traffic that :func:`transfer` and :func:`exchange` do not make, or to look at a connection
    while it is open. Options and errors are those of :func:`transfer`.

    >>> with connected() as connection:
    ...     connection.client.send(b"hello")
    5
    """
    with ExitStack() as stack:
        listener = stack.enter_context(
            listen(family, port=port, congestion=congestion, dual_stack=dual_stack)
        )
        client = stack.enter_context(open_client(family, congestion=congestion))
        connection = join(client, listener, LOOPBACK[family], timeout=timeout)
        stack.callback(connection.close)
        listener.close()
        yield connection


def describe(
    connection: Connection,
    *,
    seconds: float,
    sent: int,
    received: int,
    back: int = 0,
    messages: int = 1,
) -> Transfer:
    """Give the value that tells what a connection, still open, has moved."""
    client, server = connection.client, connection.server
    return Transfer(
        family=4 if client.family == socket.AF_INET else 6,
        client=_endpoint(client, sent=sent, received=back),
        server=_endpoint(server, sent=back, received=received),
        messages=messages,
        seconds=seconds,
        congestion=congestion_of(client),
    )


def _endpoint(sock: socket.socket, *, sent: int, received: int) -> Endpoint:
    address, port = sock.getsockname()[:2]
    return Endpoint(address, port, int(sock.family), socket_cookie(sock), sent, received)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise TrafficError(f"{name} is {number}", f"give {name}= of at least 1")

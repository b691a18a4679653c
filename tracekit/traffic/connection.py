"""The two sockets of one TCP connection, both in this process: opened and joined.

The sockets need not belong to this process's own network: hosts.py makes the same two in the
network namespaces of a link.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from tracekit.errors import TrafficError
from tracekit.traffic.congestion import set_congestion

__all__ = (
    "LOOPBACK",
    "Connection",
    "join",
    "listen",
    "open_client",
    "socket_cookie",
)

LOOPBACK = {4: "127.0.0.1", 6: "::1"}

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# include/uapi/asm-generic/socket.h, Linux 4.12 and later; Python has no name for it.
_SO_COOKIE = 57
_LOOK_AT_LINK = "look whether the network is up: ip link"


@dataclass(frozen=True, slots=True)
class Connection:
    """The two connected sockets of one TCP connection, both in this process, both non-blocking."""

    client: socket.socket
    server: socket.socket

    def close(self) -> None:
        """Close both sockets; closing twice does nothing more."""
        self.client.close()
        self.server.close()


def socket_cookie(sock: socket.socket) -> int:
    """Give the kernel's number of a socket (``SO_COOKIE``), the ``sock_cookie`` of its events."""
    return int(struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))[0])


def listen(
    family: int,
    *,
    address: str | None = None,
    port: int | None = None,
    congestion: str | None = None,
    dual_stack: bool = False,
    new_socket: Callable[[int], socket.socket] = socket.socket,
) -> socket.socket:
    """Give a listening socket, by default on loopback; ``new_socket`` makes it from its family."""
    address = address or _loopback(family)
    port = _checked_port(port)
    if dual_stack:
        family, address = 6, "::"
    listener = _open(family, new_socket)
    try:
        listener.setblocking(False)
        # A port of a connection that has just ended (TIME_WAIT) can be had again at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        if congestion is not None:
            set_congestion(listener, congestion)
        listener.bind((address, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise _bind_error(error, family, address, port) from None
    except BaseException:
        listener.close()
        raise
    return listener


def open_client(
    family: int,
    *,
    congestion: str | None = None,
    new_socket: Callable[[int], socket.socket] = socket.socket,
) -> socket.socket:
    """Give a client's socket, not yet connected; ``new_socket`` makes it from its family."""
    _loopback(family)
    client = _open(family, new_socket)
    try:
        client.setblocking(False)
        if congestion is not None:
            set_congestion(client, congestion)
    except BaseException:
        client.close()
        raise
    return client


def join(
    client: socket.socket, listener: socket.socket, address: str, *, timeout: float
) -> Connection:
    """Connect a client's socket to a listening one; the listener stays open.

    Someone else may connect to the listener too: only the connection whose other end is this
    client's is taken.
    """
    port = listener.getsockname()[1]
    fact = f"no connection to port {port} of {address}"
    deadline = time.monotonic() + timeout
    status = client.connect_ex((address, port))
    if status not in (0, errno.EINPROGRESS):
        raise TrafficError(f"{fact}: {os.strerror(status)}", _LOOK_AT_LINK)
    while True:
        _wait(listener, select.POLLIN, deadline, fact, client)
        try:
            server, peer = listener.accept()
        except BlockingIOError:
            continue
        if peer[1] == client.getsockname()[1]:
            break
        server.close()
    connection = Connection(client, server)
    try:
        server.setblocking(False)
        _wait(client, select.POLLOUT, deadline, fact)
        status = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise TrafficError(f"{fact}: {os.strerror(status)}", _LOOK_AT_LINK)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _open(family: int, new_socket: Callable[[int], socket.socket]) -> socket.socket:
    try:
        return new_socket(_FAMILY[family])
    except OSError as error:
        raise TrafficError(
            f"no IPv{family} socket can be opened here: {error.strerror}",
            "use family=4" if family == 6 else "use family=6",
        ) from None


def _loopback(family: int) -> str:
    if family not in LOOPBACK:
        raise TrafficError(f"family is {family!r}, not an IP version", "give family=4 or family=6")
    return LOOPBACK[family]


def _checked_port(port: int | None) -> int:
    if port is not None and not 1 <= port <= 65535:
        raise TrafficError(
            f"port {port} does not exist", "give one from 1 to 65535, or port=None for a free one"
        )
    return port or 0


def _wait(
    ready: socket.socket,
    event: int,
    deadline: float,
    fact: str,
    failing: socket.socket | None = None,
) -> None:
    poller = select.poll()
    poller.register(ready, event)
    if failing is not None:
        poller.register(failing, 0)  # errors are always reported
    while (left := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            if fd == ready.fileno():
                return
            if failing is not None and (
                status := failing.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            ):
                raise TrafficError(f"{fact}: {os.strerror(status)}", _LOOK_AT_LINK)
    raise TrafficError(f"{fact} in time", _LOOK_AT_LINK)


def _bind_error(error: OSError, family: int, address: str, port: int) -> TrafficError:
    where = f"[{address}]" if family == 6 else address
    if error.errno == errno.EADDRINUSE:
        return TrafficError(
            f"port {port} of {where} is in use by another program",
            "give another port=, or None for a free one; "
            f"to see who has it: ss -ltnp 'sport = {port}'",
        )
    if error.errno == errno.EADDRNOTAVAIL and family == 6:
        return TrafficError(
            f"this machine's loopback interface has no IPv6 address ({address})",
            "use family=4, or switch IPv6 on: sudo sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return TrafficError(
            f"this process may not listen on port {port}",
            "give a port from 1024 on, or None for a free one",
        )
    return TrafficError(f"can't listen on port {port} of {where}: {error.strerror}")

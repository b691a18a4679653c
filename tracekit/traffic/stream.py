"""Bytes sent at one socket and received at another, counted, in one thread and in bounded time."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from tracekit.errors import TrafficError

__all__ = ("Moved", "pump")

_CHUNK = 256 * 1024
# How long a wait lasts at most before it looks at the clock and at "stopped" again, in seconds.
_GLANCE = 0.05
# include/uapi/linux/tcp.h, Linux 3.12; Python has had a name for it since 3.12 only.
_TCP_NOTSENT_LOWAT = 25
_NOTSENT_AT_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes handed to one socket, and bytes taken from the other."""

    sent: int
    received: int


def pump(
    sender: socket.socket,
    receiver: socket.socket,
    *,
    size: int | None = None,
    seconds: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
    aborted: Callable[[], bool] = lambda: False,
    timeout: float = 30.0,
) -> Moved:
    """Send from one socket and receive at the other, in turns, until all that was sent arrived.

    Sending ends after ``size`` bytes, after ``seconds``, or when ``stopped()`` is true, whichever
    is first. Raises :class:`~tracekit.errors.TrafficError` when for ``timeout`` seconds of
    waiting after the end of sending, or of all where there is a ``size``, bytes are missing, and
    at once when ``aborted()`` is true.
    """
    now = time.monotonic()
    end_of_sending = now + seconds if seconds is not None else float("inf")
    deadline = now + timeout + (seconds or 0.0)
    sending = True
    sent = received = 0
    buffer = bytearray(_CHUNK if size is None else min(size, _CHUNK))
    chunk = memoryview(bytes(len(buffer)))
    if seconds is not None:
        # Otherwise megabytes wait in the send buffer when the time is over, and take seconds more
        # on a slow link. The congestion window does not feel it: there is always more to send.
        sender.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _NOTSENT_AT_MOST)
    poller = select.poll()
    poller.register(sender, select.POLLOUT)
    poller.register(receiver, select.POLLIN)
    try:
        while sending or received < sent:
            now = time.monotonic()
            if now >= deadline:
                raise TrafficError(
                    f"only {received:,} of {sent:,} bytes sent arrived in time",
                    "give a longer timeout=, or less to send",
                )
            if aborted():
                raise TrafficError(f"aborted after {received:,} of {sent:,} bytes sent arrived")
            if sending and (now >= end_of_sending or stopped() or sent == size):
                sending = False
                poller.unregister(sender)
                if seconds is not None:
                    deadline = now + timeout
                continue
            wait = min(deadline - now, end_of_sending - now if sending else _GLANCE, _GLANCE)
            for fd, _ in poller.poll(max(wait, 0.001) * 1000):
                try:
                    if fd == receiver.fileno():
                        received += _receive(receiver, buffer)
                    else:
                        sent += sender.send(chunk[: None if size is None else size - sent])
                except BlockingIOError:
                    continue  # ready when poll looked, no longer now: a memory limit, for one
    except OSError as error:
        raise TrafficError(
            f"the connection broke after {received:,} of {sent:,} bytes sent: {error.strerror}",
            "run the transfer again",
        ) from None
    return Moved(sent, received)


def _receive(receiver: socket.socket, buffer: bytearray) -> int:
    count = receiver.recv_into(buffer)
    if not count:
        raise ConnectionResetError(errno.ECONNRESET, "the other end closed it")
    return count

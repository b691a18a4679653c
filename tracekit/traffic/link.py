"""A slow link between two hosts of its own, to watch TCP at work without any privilege.

The two hosts, and a router between them whose queue is the slow place, are network namespaces
inside a user namespace of their own (user_namespaces(7)), held by a child process. Tracepoints are
global to the kernel, so a probe sees this traffic like any other.
"""

from __future__ import annotations

import socket
import threading
import warnings
from contextlib import ExitStack
from dataclasses import asdict

from tracekit.errors import TrafficError
from tracekit.traffic.connection import join, listen, open_client
from tracekit.traffic.control import HostsProcess, NamespacesUnavailableError
from tracekit.traffic.flow import Flow
from tracekit.traffic.hosts import run_command
from tracekit.traffic.shape import QueueStatistics, Shape, parse_shape
from tracekit.traffic.tcp import Transfer

__all__ = ("Link", "slow_link")

_CONNECT_SECONDS = 5.0
_ALLOW = (
    "allow user namespaces, as root: sysctl -w user.max_user_namespaces=10000; on Debian also "
    "kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0"
)


def slow_link(
    rate: str | int = "20mbit",
    *,
    queue: str | int | None = None,
    delay: str | float | None = None,
    loss: str | float | None = None,
) -> Link:
    """Make two hosts with a slow link between them; use it in a ``with``, or ``close`` it.

    ``rate`` (each way) is written as tc does, ``"20mbit"``, or in bits a second; ``queue`` is how
    much may wait in the router each way, ``"100kb"`` or in bytes, and by default what the rate
    sends in 40 ms; ``delay`` is the time on the way, each way, ``"10ms"`` or in seconds; ``loss``
    the part of the packets from client to server that is lost, ``"1%"`` or a fraction. Delay and
    loss need netem in the kernel; rate and queue need only tbf.
    Each packet carries one segment, as on a real wire; above some hundred Mbit/s the processor,
    not the queue, is therefore what slows the link.

    Where this machine forbids user namespaces, the link is loopback, which has no rate: a warning
    says so and why, and ``link.kind`` is ``"loopback"`` instead of ``"namespaces"``.

    Raises :class:`~tracekit.errors.TrafficError` for values that can't be set and where the kernel
    lacks netem.

    ::

        with tk.slow_link("20mbit") as link:
            moved = link.transfer(seconds=5, congestion="reno", port=5201)
    """
    shape = parse_shape(rate, queue, delay, loss)
    try:
        hosts = HostsProcess()
    except NamespacesUnavailableError as reason:
        if delay or loss:
            raise TrafficError(f"no link with delay or loss: {reason}", _ALLOW) from None
        warnings.warn(f"traffic runs over loopback, at no set rate: {reason}", stacklevel=2)
        return Link(None, shape, str(reason))
    try:
        hosts.ask("shape", **asdict(shape))
    except BaseException:
        hosts.close()
        raise
    return Link(hosts, shape)


class Link:
    """Two hosts, client and server, and the link between them; made by :func:`slow_link`.

    ``kind`` is ``"namespaces"``, or ``"loopback"`` with the ``reason``; ``shape`` holds rate,
    queue, delay and loss as they are now; ``is_up`` is false after :meth:`down`.
    """

    def __init__(self, hosts: HostsProcess | None, shape: Shape, reason: str = "") -> None:
        """Keep the hosts, None for loopback, and the shape they have."""
        self.kind = "namespaces" if hosts else "loopback"
        self.reason = reason
        self.shape = shape
        self.is_up = True
        self._hosts = hosts
        self._closed = False
        self._flows: list[Flow] = []
        self._lock = threading.Lock()

    def transfer(
        self,
        seconds: float | None = None,
        *,
        size: int | None = None,
        congestion: str | None = None,
        port: int | None = None,
        family: int = 4,
        timeout: float = 30.0,
    ) -> Transfer:
        """Send from client to server for ``seconds``, or ``size`` bytes; by default for 5 s.

        ``congestion`` is the congestion control of both ends, any that the kernel has; ``port``
        the server's, or None for a free one; ``family`` 4 or 6. It returns when all that was sent
        has arrived, and after at most ``seconds`` and ``timeout`` more.

        Raises :class:`~tracekit.errors.TrafficError` as
        :func:`~tracekit.traffic.tcp.transfer` does, and when the link is down.
        """
        return self.start(
            seconds, size=size, congestion=congestion, port=port, family=family, timeout=timeout
        ).wait()

    def transfers(
        self,
        *congestion: str | None,
        seconds: float = 5.0,
        port: int | None = None,
        family: int = 4,
        timeout: float = 30.0,
    ) -> tuple[Transfer, ...]:
        """Send over several connections at once, one for each congestion control named.

        ``link.transfers("reno", "cubic")`` lets two flows race for the same link. Options and
        errors are those of :meth:`transfer`; when one fails, the others are aborted.
        """
        with ExitStack() as flows:
            started = [
                flows.enter_context(
                    self.start(seconds, congestion=name, port=port, family=family, timeout=timeout)
                )
                for name in congestion
            ]
            return tuple([flow.wait() for flow in started])

    def start(
        self,
        seconds: float | None = None,
        *,
        size: int | None = None,
        congestion: str | None = None,
        port: int | None = None,
        family: int = 4,
        timeout: float = 30.0,
    ) -> Flow:
        """Begin what :meth:`transfer` does, and go on in the background.

        The flow's ports and cookies are known at once; ``flow.wait()`` or ``flow.stop()`` gives
        the Transfer. Closing the link aborts it.
        """
        if seconds is None and size is None:
            seconds = 5.0
        for name, number in (("seconds", seconds), ("size", size)):
            if number is not None and not 0 < number < float("inf"):
                raise TrafficError(f"{name} is {number}", f"give {name}= of more than 0")
        with self._lock, ExitStack() as stack:
            if self._closed:
                raise TrafficError("the link is closed", "make a new one with slow_link()")
            if not self.is_up:
                raise TrafficError("the link is down: nothing connects", "link.up()")
            client, listener = self._sockets(family, port, congestion)
            stack.callback(listener.close)
            address = listener.getsockname()[0]
            try:
                connection = join(client, listener, address, timeout=_CONNECT_SECONDS)
            except BaseException:
                client.close()
                raise
            flow = Flow(connection, size=size, seconds=seconds, timeout=timeout)
            self._flows = [*(other for other in self._flows if other.running), flow]
            return flow

    def set_rate(self, rate: str | int) -> None:
        """Set the rate, each way, while traffic runs; the queue keeps its size in bytes."""
        self.set(rate=rate)

    def set(
        self,
        *,
        rate: str | int | None = None,
        queue: str | int | None = None,
        delay: str | float | None = None,
        loss: str | float | None = None,
    ) -> None:
        """Set what is given and leave the rest, while traffic runs.

        Giving the first delay or loss, or taking the last away, empties the queues once. Raises
        :class:`~tracekit.errors.TrafficError` as :func:`slow_link` does, and on loopback.
        """
        now = self.shape
        shape = parse_shape(
            now.rate if rate is None else rate,
            now.queue if queue is None else queue,
            now.delay if delay is None else delay,
            now.loss if loss is None else loss,
        )
        self._require_hosts("set").ask("shape", **asdict(shape))
        self.shape = shape

    def down(self) -> None:
        """Switch the server's interface off: what is on its way is lost, connections stay."""
        self._require_hosts("switched off").ask("down")
        self.is_up = False

    def up(self) -> None:
        """Switch the server's interface on again; returns when packets can pass."""
        self._require_hosts("switched on").ask("up")
        self.is_up = True

    def statistics(self) -> QueueStatistics:
        """Count what the router's queue towards the server let pass, dropped, and holds now."""
        return QueueStatistics(**self._require_hosts("measured").ask("statistics"))

    def run(self, *command: str, host: str = "client") -> str:
        """Run a program in a host's network, ``"client"``, ``"router"`` or ``"server"``.

        It gives what the program prints, and ends it after 10 s: ``link.run("ss", "-tin")``,
        ``link.run("tc", "-s", "qdisc", host="router")``. Raises
        :class:`~tracekit.errors.TrafficError` where it is not installed or fails.
        """
        if host not in ("client", "router", "server"):
            raise TrafficError(f"no host {host!r}", 'choose "client", "router" or "server"')
        if self._hosts is None:
            return str(run_command(list(command))["output"])
        return str(self._hosts.ask("run", command=list(command), host=host)["output"])

    def close(self) -> None:
        """Abort what still runs, end the hosts; closing twice does nothing more."""
        self._closed = True
        with self._lock:
            for flow in self._flows:
                flow.abort()
            self._flows = []
            if self._hosts is not None:
                self._hosts.close()

    def __enter__(self) -> Link:
        """Give the link itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the link."""
        self.close()

    def __repr__(self) -> str:
        """One line: its kind, and what it does to packets or why it does nothing."""
        if self._hosts is None:
            return f"Link: loopback, at no set rate, because {self.reason}"
        state = "closed" if self._closed else "up" if self.is_up else "down"
        return f"Link: {self.shape}, with two hosts and a router of its own, {state}"

    def _sockets(
        self, family: int, port: int | None, congestion: str | None
    ) -> tuple[socket.socket, socket.socket]:
        if self._hosts is not None:
            return self._hosts.sockets(family, port, congestion)
        listener = listen(family, port=port, congestion=congestion)
        try:
            return open_client(family, congestion=congestion), listener
        except BaseException:
            listener.close()
            raise

    def _require_hosts(self, verb: str) -> HostsProcess:
        if self._hosts is None:
            raise TrafficError(f"loopback can't be {verb}: {self.reason}", _ALLOW)
        return self._hosts

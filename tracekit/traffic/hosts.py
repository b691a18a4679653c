"""The process that holds a link's two hosts and the router between them, in network namespaces.

Started by control.py as ``python -m tracekit.traffic.hosts DESCRIPTOR PARENT``; not for calling.
It answers requests, one JSON object in each message of a Unix socket, and ends when that socket
closes or when its parent ends, however that happens; the kernel then frees namespaces and wire.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracekit.errors import TrafficError
from tracekit.traffic.connection import listen, open_client
from tracekit.traffic.namespaces import enter_user_namespace, new_network, within
from tracekit.traffic.shape import Shape

if TYPE_CHECKING:
    from tracekit.traffic.wire import Wire

__all__ = ("main", "run_command")

# The kernel forbids it, its limit is reached, or it was built without it.
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS, errno.EINVAL, errno.ENOSYS)
_MESSAGE = 2**16
_OUTPUT = 20_000


class _UnavailableError(Exception):
    """There can be no namespaces here; the argument says why."""


class _Hosts:
    def __init__(self) -> None:
        # This process stays in the last network it made; what it opens for one is opened within.
        self.networks = dict(zip(("client", "router", "server"), _networks(), strict=True))
        for network in self.networks.values():
            with within(network):
                _forget_metrics()
        self.wire = _wire(**self.networks)

    def sockets(
        self, family: int, port: int | None, congestion: str | None
    ) -> tuple[socket.socket, socket.socket]:
        """Make the client's socket and a listening one, each in its own host's network."""
        from tracekit.traffic.wire import SERVER

        if family == 6 and not self.wire.has_ipv6:
            raise TrafficError("IPv6 is switched off on this machine", "use family=4")
        listener = listen(
            family,
            address=SERVER.get(family),
            port=port,
            congestion=congestion,
            new_socket=_socket_of(self.networks["server"]),
        )
        try:
            client = open_client(
                family, congestion=congestion, new_socket=_socket_of(self.networks["client"])
            )
        except BaseException:
            listener.close()
            raise
        return client, listener

    def run(self, command: list[str], host: str) -> dict[str, Any]:
        """Run a command inside one host's network, and give its output."""
        with within(self.networks[host]):
            return run_command(command)


def run_command(command: list[str]) -> dict[str, Any]:
    """Run a command for at most 10 s; its output is cut where no one would read it."""
    # tc is where Debian looks for root's commands only.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            env={**os.environ, "PATH": path},
        )
    except FileNotFoundError:
        raise TrafficError(f"no program named {command[0]!r} is installed") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrafficError(f"{command[0]!r} could not be run: {error}") from None
    output = (ended.stdout + ended.stderr).decode(errors="replace")[:_OUTPUT]
    if ended.returncode:
        raise TrafficError(f"{' '.join(command)} ended with {ended.returncode}: {output.strip()}")
    return {"output": output}


def _networks() -> tuple[int, int, int]:
    try:
        enter_user_namespace()
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        # Root needs no user namespace to make a network namespace.
        if os.geteuid() != 0:
            raise _forbidden("user", error) from None
    try:
        return new_network(), new_network(), new_network()
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        raise _forbidden("network", error) from None


def _forbidden(kind: str, error: OSError) -> _UnavailableError:
    return _UnavailableError(f"{kind} namespaces are forbidden here ({error.strerror})")


def _wire(client: int, router: int, server: int) -> Wire:
    try:
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError:
        raise TrafficError(
            "pyroute2, which sets up the link, is not installed", "pip install pyroute2"
        ) from None
    from tracekit.traffic.wire import Wire

    try:
        return Wire(client, router, server)
    except NetlinkError as error:
        if error.code in (*_FORBIDDEN, errno.EOPNOTSUPP):
            raise _UnavailableError(f"the kernel refuses a veth pair ({error})") from None
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = f"{error.filename} can't be written, and the router could not forward"
            raise _UnavailableError(reason) from None
        raise


def _forget_metrics() -> None:
    # The kernel remembers ssthresh for each destination; a lesson's second transfer is to begin
    # like its first. Where /proc is read-only (a container), the kernel goes on remembering.
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")


def _socket_of(network: int) -> Callable[[int], socket.socket]:
    def new_socket(family: int) -> socket.socket:
        with within(network):
            return socket.socket(family)

    return new_socket


def _answer(hosts: _Hosts, request: dict[str, Any]) -> tuple[dict[str, Any], list[socket.socket]]:
    match request.pop("do"):
        case "sockets":
            return {}, list(hosts.sockets(**request))
        case "shape":
            hosts.wire.shape(Shape(**request))
        case "up":
            hosts.wire.up()
        case "down":
            hosts.wire.down()
        case "run":
            return hosts.run(**request), []
        case "statistics":
            return hosts.wire.statistics(), []
    return {}, []


def _send(control: socket.socket, answer: dict[str, Any], sockets: list[socket.socket]) -> None:
    message = json.dumps(answer).encode()
    if sockets:
        socket.send_fds(control, [message], [sock.fileno() for sock in sockets])
    else:
        control.send(message)
    for sock in sockets:
        sock.close()


def _serve(control: socket.socket, parent: int) -> None:
    try:
        hosts = _Hosts()
    except _UnavailableError as reason:
        _send(control, {"unavailable": str(reason)}, [])
        return
    except TrafficError as error:
        _send(control, {"error": error.fact, "next_step": error.next_step}, [])
        return
    _send(control, {}, [])
    while _request_is_there(control, parent):
        message = control.recv(_MESSAGE)
        if not message:
            return
        sockets: list[socket.socket] = []
        try:
            answer, sockets = _answer(hosts, json.loads(message))
        except TrafficError as error:
            answer = {"error": error.fact, "next_step": error.next_step}
        except Exception as error:
            answer = {"error": f"the link refused: {error}", "next_step": ""}
        _send(control, answer, sockets)


def _request_is_there(control: socket.socket, parent: int) -> bool:
    """Wait for a request; false when the parent ended, whoever else still holds its socket.

    PR_SET_PDEATHSIG would be wrong here: it fires when the *thread* that started this process
    ends, and a notebook's callbacks run in threads that come and go.
    """
    ready, _, _ = select.select([control.fileno(), parent], [], [])
    return parent not in ready


def main(arguments: list[str]) -> None:
    """Serve requests on the descriptor given until it closes or the parent given ends."""
    descriptor, parent = map(int, arguments)
    watch = os.pidfd_open(parent)
    if os.getppid() != parent:  # it ended before we could watch it
        return
    # The parent may close the link while it is being answered.
    closed = suppress(BrokenPipeError, ConnectionResetError)
    with socket.socket(fileno=descriptor) as control, closed:
        _serve(control, watch)


if __name__ == "__main__":
    main(sys.argv[1:])

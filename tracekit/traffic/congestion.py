"""The congestion controls this kernel has, and choosing one for a socket."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from tracekit.errors import TrafficError

__all__ = ("available_congestion_controls", "congestion_of", "set_congestion")

_SYSCTL = Path("/proc/sys/net/ipv4")


def available_congestion_controls(sysctl: Path = _SYSCTL) -> tuple[str, ...]:
    """Give the names of the congestion controls the kernel has loaded, such as ``cubic``.

    They are the words of ``net.ipv4.tcp_available_congestion_control``
    (Documentation/networking/ip-sysctl.rst, Linux 6.12); ``sysctl`` is the folder that holds it.
    Others may exist as modules that are not loaded. Without that file, as on another operating
    system, the answer is empty.
    """
    return _words(sysctl / "tcp_available_congestion_control")


def congestion_of(sock: socket.socket) -> str:
    """Give the name of the congestion control a TCP socket uses (``TCP_CONGESTION``, tcp(7))."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()


def set_congestion(sock: socket.socket, name: str) -> None:
    """Choose the congestion control of a TCP socket.

    Raises :class:`~tracekit.errors.TrafficError` where the kernel has none of that name, with the
    names it has, or where this process may not choose it: outside a network namespace of its own,
    a process without ``CAP_NET_ADMIN`` has only those of
    ``net.ipv4.tcp_allowed_congestion_control``. The capability that counts is the one in the user
    namespace the socket's network belongs to (``tcp_set_congestion_control``,
    net/ipv4/tcp_cong.c, Linux 6.12), so inside a link made by ``slow_link`` every available one
    can be chosen without any privilege.
    """
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as error:
        raise _refused(name, error) from None


def _refused(name: str, error: OSError) -> TrafficError:
    if error.errno in (errno.ENOENT, errno.EINVAL):
        return TrafficError(
            f"this kernel has no congestion control named {name!r}",
            f"choose one of: {', '.join(available_congestion_controls())}; "
            f"or load it as root: modprobe tcp_{name}",
        )
    if error.errno == errno.EPERM:
        allowed = ", ".join(_words(_SYSCTL / "tcp_allowed_congestion_control"))
        return TrafficError(
            f"this process may not choose the congestion control {name!r} here",
            f"choose one that is allowed to all: {allowed}; or send over a link made by "
            "slow_link(): its hosts may choose any",
        )
    return TrafficError(f"the congestion control {name!r} could not be set: {error.strerror}")


def _words(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text().split())
    except OSError:
        return ()

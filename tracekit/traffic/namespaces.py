"""A user namespace with network namespaces in it: entered, left, and closed with the process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("enter_user_namespace", "new_network", "within")

# include/uapi/linux/sched.h. Python 3.12 has os.unshare and os.setns; 3.11 does not.
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def enter_user_namespace() -> None:
    """Move this process, which must have one thread, into a user namespace where it is root.

    Its user and group outside are the only ones that exist inside, as ``unshare -Ur`` makes it
    (user_namespaces(7)). Raises :class:`OSError` where the kernel or its settings forbid it.
    """
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER)
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"0 {user} 1")
    (own / "gid_map").write_text(f"0 {group} 1")


def new_network() -> int:
    """Make a network namespace, move this thread into it, and give a descriptor that keeps it.

    Raises :class:`OSError` where this process may not.
    """
    _unshare(_CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def within(network: int) -> Iterator[None]:
    """Move this thread into a network namespace for a while; sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(network)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _setns(network: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

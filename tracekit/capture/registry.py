"""Which probes are open in this process: running a cell again replaces what it made before."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tracekit.capture.probe import Probe

__all__ = ("close_all", "close_earlier_runs", "open_probes", "register", "running_cell")


class Closable(Protocol):
    """What a cell makes and can be closed; ``cell`` is :func:`running_cell` when it was made."""

    cell: tuple[str, int] | None

    def close(self) -> None:
        """Give back what it holds."""


_probes: weakref.WeakSet[Probe] = weakref.WeakSet()


def register(probe: Probe) -> None:
    """Remember an open probe."""
    _probes.add(probe)


def open_probes() -> tuple[Probe, ...]:
    """The probes that are open in this process, oldest first."""
    return tuple(sorted((p for p in _probes if not p.closed), key=lambda probe: probe.opened))


def close_all() -> None:
    """Close every probe of this process."""
    for probe in open_probes():
        probe.close()


def close_replaced(name: str, cell: tuple[str, int] | None) -> None:
    """Close what a new probe of this name, made in this cell, takes the place of.

    That is a probe of the same name, and every probe that an earlier run of the same cell made.
    """
    for probe in open_probes():
        if probe.name == name:
            probe.close()
    close_earlier_runs(open_probes(), cell)


def close_earlier_runs(made: Iterable[Closable], cell: tuple[str, int] | None) -> None:
    """Close those that an earlier run of this cell made."""
    for one in list(made):
        if cell and one.cell and one.cell[0] == cell[0] and one.cell[1] != cell[1]:
            one.close()


def running_cell() -> tuple[str, int] | None:
    """The notebook cell that runs now and the count of its execution; None outside a notebook.

    None as well in a thread: which cell runs now says nothing about what started the thread.
    JupyterLab and VS Code send the cell's id with each request to run it.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    parent: Any = getattr(shell, "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    return (cell, shell.execution_count) if cell else None


def _release_all() -> None:
    for probe in list(_probes):
        probe.release()


# A process that is forked without exec would otherwise keep what the probes have mapped.
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_all)

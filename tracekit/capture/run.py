"""`python3 -m tracekit run PROGRAM`: what the document's programs print, until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tracekit.capture.events import show_value
from tracekit.capture.probe import PROGRAMS, Probe
from tracekit.errors import TracekitError

__all__ = ("LISTINGS", "Listing", "main")


@dataclass(frozen=True, slots=True)
class Listing:
    """How a program's events are printed: a header, and a line for each record.

    ``attach`` is the tracepoint and the function of a program that does not name its tracepoint.
    """

    header: str
    line: Callable[[Any], str]
    attach: tuple[str, str] | None = None


def _printed(message: str, attach: tuple[str, str] | None = None) -> Listing:
    """The document's four columns: time, command, process id and what the program printed."""

    def line(record: Any) -> str:
        task, message = show_value(record["task"]), show_value(record["msg"])
        return f"{record['ts']:<18.9f} {task:<16} {record['pid']:<6} {message}"

    return Listing(f"{'TIME(s)':<18} {'COMM':<16} {'PID':<6} {message}", line, attach)


def _ports(record: Any) -> str:
    comm = show_value(record["comm"])
    return f"{comm:<16} {record['pid']:<6} {record['sport']:<6} {record['dport']:<6}"


#: The programs in ``bpf/`` and how the document prints their events.
LISTINGS: Mapping[str, Listing] = {
    "getrandom": _printed("LEN"),
    "urandomread": _printed("GOTBITS"),
    "urandomread_explicit": _printed("GOTBITS", ("random:urandom_read", "print_arg")),
    "tcp_probe_simple": _printed("MSG"),
    "tcp_probe": Listing(f"{'COMM':<16} {'PID':<6} {'sport':<6} {'dport':<6}", _ports),
}


def main(
    program: str,
    *,
    count: int | None = None,
    seconds: float | None = None,
    out: TextIO | None = None,
) -> int:
    """Run a program of the course, or a C file of your own, and print its events as they come.

    :param program: a name of :data:`LISTINGS`, with or without ``.c``, or the path of a C file.
    :param count: stop after so many events; None: at Ctrl-C only.
    :param seconds: stop after so long; None: at Ctrl-C only.
    :return: the exit status, 0 also after Ctrl-C.
    :raises TracekitError: what :meth:`tracekit.capture.probe.Probe.from_file` raises.
    """
    out = out or sys.stdout
    name = program.removesuffix(".c")
    listing = LISTINGS.get(name)
    if listing is None and not Path(program).is_file():
        raise TracekitError(
            f"no program {program!r}",
            f"the programs are {', '.join(sorted(LISTINGS))}, or the path of a C file",
        )
    path = PROGRAMS / f"{name}.c" if listing else Path(program).resolve()
    try:
        with Probe.from_file(path) as probe:
            if listing and listing.attach:
                probe.attach_tracepoint(*listing.attach)
            return _print_events(probe, listing, count, seconds, out)
    except KeyboardInterrupt:
        print(file=out)
        return 0
    except BrokenPipeError:
        # The reader of our output, such as head, has left; nothing is left to flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _print_events(
    probe: Probe, listing: Listing | None, count: int | None, seconds: float | None, out: TextIO
) -> int:
    end = None if seconds is None else time.monotonic() + seconds
    print(listing.header if listing else " ".join(probe.fields), file=out, flush=True)
    printed = 0
    while (count is None or printed < count) and (end is None or time.monotonic() < end):
        events = probe.read(seconds=0.1, count=None if count is None else count - printed)
        for record in events:
            values = (show_value(record[field]) for field in probe.fields)
            print(listing.line(record) if listing else " ".join(values), file=out)
        out.flush()
        printed += len(events)
        if events.dropped:
            print(f"{events.dropped} events were lost", file=sys.stderr, flush=True)
    return 0

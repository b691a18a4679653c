"""`python3 -m tracekit run PROGRAM`: what the document's programs print, until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TextIO

from tracekit.capture.listing import LISTINGS, Listing, plain_listing
from tracekit.capture.probe import PROGRAMS, Probe
from tracekit.errors import TracekitError

__all__ = ("main",)


def main(
    program: str,
    *,
    count: int | None = None,
    seconds: float | None = None,
    out: TextIO | None = None,
) -> int:
    """Run a program of the course, or a C file of your own, and print its events as they come.

    :param program: a name of :data:`~tracekit.capture.listing.LISTINGS`, with or without ``.c``, or
        the path of a C file.
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
            _print_events(probe, listing or plain_listing(probe.dtype), count, seconds, out)
            return 0
    except KeyboardInterrupt:
        print(file=out)
        return 0
    except BrokenPipeError:
        # The reader of our output, such as head, has left; nothing is left to flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _print_events(
    probe: Probe, listing: Listing, count: int | None, seconds: float | None, out: TextIO
) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    print(listing.header, file=out, flush=True)
    printed = 0
    while (count is None or printed < count) and (end is None or time.monotonic() < end):
        events = probe.read(seconds=0.1, count=None if count is None else count - printed)
        for record in events:
            print(listing.line(record), file=out)
        out.flush()
        printed += len(events)
        if events.dropped:
            print(f"{events.dropped} events were lost", file=sys.stderr, flush=True)

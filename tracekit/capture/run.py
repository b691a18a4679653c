"""`python3 -m tracekit run PROGRAM` and `script PROGRAM`: the course's programs in a terminal.

The one runs a program until Ctrl-C, the other writes it as a script for bcc alone.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TextIO

from tracekit.capture.listing import LISTINGS, Listing, plain_listing
from tracekit.capture.probe import PROGRAMS, Probe
from tracekit.capture.program import read_program
from tracekit.capture.script import stand_alone_script
from tracekit.errors import RequirementMissing, TracekitError
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python

__all__ = ("main", "print_script")


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


def print_script(program: str, *, out: TextIO | None = None, hints: TextIO | None = None) -> int:
    """Print a program of the course as a script that needs bcc and no tracekit.

    How it is started on this machine goes to ``hints``, the standard error: which Python has bcc,
    and where the kernel headers are if bcc does not find them by itself.

    :param program: a name of :data:`~tracekit.capture.listing.LISTINGS`, with or without ``.c``.
    :return: the exit status, 0.
    :raises TracekitError: there is no program of this name.

    >>> import io
    >>> written = io.StringIO()
    >>> print_script("getrandom", out=written, hints=io.StringIO())
    0
    >>> "b.trace_fields()" in written.getvalue()
    True
    """
    name = program.removesuffix(".c")
    if name not in LISTINGS:
        raise TracekitError(
            f"no program {program!r}",
            f"the programs are {', '.join(sorted(LISTINGS))}; of a program of your own, "
            "probe.script() gives the script",
        )
    script = stand_alone_script(read_program(f"{name}.c", (PROGRAMS,)), LISTINGS[name])
    print(script, end="", file=out or sys.stdout, flush=True)
    print(_how_to_start(f"{name}.py"), file=hints or sys.stderr)
    return 0


def _how_to_start(script: str) -> str:
    try:
        headers = find_headers()
        python = find_bcc_python()
    except RequirementMissing as missing:
        return f"{script} will not run here yet: {missing}"
    own = os.environ.get("BCC_KERNEL_SOURCE", "") if headers is None else str(headers.path)
    source = [f"BCC_KERNEL_SOURCE={own}"] if own else []
    command = shlex.join(["sudo", *source, str(python), script])
    return f"saved as {script}, it is started with: {command}"


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

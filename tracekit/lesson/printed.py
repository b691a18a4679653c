"""What a learner's program prints: its own lines, on a buffer that the whole machine shares."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable

from tracekit.capture.probe import Probe
from tracekit.lesson.exercise import Failed

__all__ = ("printed_by",)

_numbers = itertools.count(1)


def printed_by(program: object, act: Callable[[], int | None]) -> list[str]:
    """The lines that the C text ``program`` prints with ``bpf_trace_printk`` while ``act`` runs.

    ``act`` may return the number of a thread (0 to 4194304, Linux's ``PID_MAX_LIMIT``); then only
    lines printed in its context count. Lines of other programs never do: each text to be printed is
    marked before the program is loaded, on its own line, so that the compiler's line numbers stay.

    Raises :class:`~tracekit.lesson.exercise.Failed` for what is no finished program, and the
    compiler's and the verifier's errors.
    """
    if not isinstance(program, str):
        raise Failed(f"{type(program).__name__} is no program", "give the C program as text")
    if "..." in program:
        raise Failed("... is still there", "write what is missing in its place")
    mark = f"check-{os.getpid()}-{next(_numbers)}:"
    marked = re.sub(r'\b(bpf_trace_printk\s*\(\s*")', rf"\g<1>{mark}", program)
    with Probe.from_text(marked, name="check") as probe:
        thread = act()
        events = probe.read()
    rows = zip(events["pid"].tolist(), events["msg"].tolist(), strict=True)
    lines = [msg.decode(errors="replace") for pid, msg in rows if thread in (None, pid)]
    return [line.removeprefix(mark).strip() for line in lines if line.startswith(mark)]

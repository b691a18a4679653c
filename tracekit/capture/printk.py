"""The lines of ``bpf_trace_printk``: text from a ``trace_pipe`` into columns.

A line is what kernel/trace/trace_output.c (``trace_print_context``) writes, followed by the name of
the function and the message: ``bpf_trace_printk:`` since Linux 5.9 (commit ac5a72ea5c89, "bpf: Use
dedicated bpf_trace_printk event instead of trace_printk()"), an address before.

>>> line = b"  ping-4711    [002] ...21   758.636305: bpf_trace_printk: 2 0 1\\n"
>>> records, lost = parse_printk(line)
>>> records["task"].tolist(), records["pid"].tolist(), records["msg"].tolist(), lost
([b'ping'], [4711], [b'2 0 1'], 0)
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("join_printk", "parse_printk", "printk_dtype")

# The task's name may itself hold blanks, dashes, colons and brackets: it ends at the last "-pid"
# that is followed by the processor. With the option record-tgid there is a column "(tgid)" in
# between, and without irq-info there are no flags.
_LINE = re.compile(
    rb" *(?P<task>.{1,16}?)-(?P<pid>\d+) +(?:\(.{7}\) +)?\[(?P<cpu>\d+)\] +(?:(?P<flags>\S+) +)?"
    rb"(?P<ts>\d+\.\d+): \S*: ?(?P<msg>.*)",
    re.DOTALL,
)
_LOST = re.compile(rb"CPU:\d+ \[LOST (\d+) EVENTS\]")


def printk_dtype(message: int) -> np.dtype[Any]:
    """The dtype of printed events, whose messages have at most ``message`` bytes.

    The names are those bcc's ``trace_fields`` gives its six values; ``ts`` is in seconds, as
    printed, with microseconds.
    """
    return np.dtype(
        [
            ("task", "S16"),
            ("pid", "i4"),
            ("cpu", "i4"),
            ("flags", "S8"),
            ("ts", "f8"),
            ("msg", f"S{max(message, 1)}"),
        ]
    )


def parse_printk(text: bytes) -> tuple[NDArray[Any], int]:
    """The events in some whole lines of a trace_pipe, and how many the kernel says were lost.

    A message may itself have several lines. An empty line is passed over: a format that ends in a
    newline makes one.
    """
    rows: list[tuple[bytes, int, int, bytes, float, bytes]] = []
    lost = 0
    for line in text.split(b"\n"):
        if match := _LINE.fullmatch(line):
            task, pid, cpu, flags, ts, msg = match.groups()
            rows.append((task, int(pid), int(cpu), flags or b"", float(ts), msg))
        elif notice := _LOST.fullmatch(line):
            lost += int(notice[1])
        elif line and rows:
            rows[-1] = (*rows[-1][:-1], rows[-1][-1] + b"\n" + line)
    longest = max((len(row[-1]) for row in rows), default=1)
    return np.array(rows, printk_dtype(longest)), lost


def join_printk(batches: list[NDArray[Any]]) -> NDArray[Any]:
    """Several batches as one; the messages' column is as wide as the widest."""
    widest = printk_dtype(max(batch.dtype["msg"].itemsize for batch in batches))
    return np.concatenate([batch.astype(widest) for batch in batches])

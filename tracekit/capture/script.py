"""The same program as a stand-alone bcc script: what a learner takes home."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from tracekit.capture.listing import Listing
from tracekit.capture.program import Program
from tracekit.errors import RecordTypeError

__all__ = ("stand_alone_script",)

_HEAD = '''\
#!/usr/bin/python3
"""{title}

Needs bcc from the distribution (python3-bpfcc, python3-bcc), and root. Ctrl-C ends it.
"""

{imports}from bcc import BPF

PROGRAM = r"""
{text}"""

# Compiles the C text; functions made with TRACEPOINT_PROBE are loaded and attached at once.
b = BPF(text=PROGRAM{flags})
'''

_PRINTK = """
while True:
    try:
        # The next line of trace_pipe, taken apart; the texts are bytes.
        task, pid, cpu, flags, ts, msg = b.trace_fields()
    except ValueError:
        continue  # a line of another tracer
    except KeyboardInterrupt:
        break
    task, msg = task.decode(), msg.decode()
    print(f"{line}")
"""

_CALLBACK = """

def show({context}, data, size):
    # A view of the buffer: it is valid only until this function returns.
    event = b["{table}"].event(data)
    print(f"{line}"){result}

"""

_PERF = """
def lost(count):
    print(f"{{count}} events were lost")


b["{table}"].open_perf_buffer(show, page_cnt=64, lost_cb=lost)
while True:
    try:
        b.perf_buffer_poll()  # waits, and calls show() for each event
    except KeyboardInterrupt:
        break
"""

_RING = """
b["{table}"].open_ring_buffer(show)
while True:
    try:
        b.ring_buffer_poll()  # waits, and calls show() for each event
    except KeyboardInterrupt:
        break
"""

_FLOOD = """
# Printing can cause events as fast as they are printed. Then Python is nearly always in show(),
# which bcc calls from C, and KeyboardInterrupt gets lost there: so Ctrl-C ends the script itself.
signal.signal(signal.SIGINT, signal.SIG_DFL)
b["{table}"].open_ring_buffer(show)
while True:
    b.ring_buffer_poll()  # waits, and calls show() for each event
"""

_OUTPUT = re.compile(r"\b(BPF_PERF_OUTPUT|BPF_RINGBUF_OUTPUT)\s*\(\s*(\w+)")


def stand_alone_script(
    program: Program,
    listing: Listing,
    *,
    attach: Sequence[tuple[str, str]] = (),
    flood: bool = False,
) -> str:
    """A Python script that does the same with bcc alone, in today's idiom.

    :param listing: which columns it prints.
    :param attach: tracepoints and functions to attach by hand, for a program that names none.
    :param flood: whether events may come faster than they can be printed, or be caused by that:
        then Ctrl-C ends the script without ado. For programs with a ring buffer.
    :raises RecordTypeError: the program sends nothing a script could print.

    >>> from tracekit.capture.listing import LISTINGS
    >>> program = Program('TRACEPOINT_PROBE(a, b) { bpf_trace_printk("1"); return 0; }', "one.c")
    >>> script = stand_alone_script(program, LISTINGS["getrandom"])
    >>> compile(script, "one", "exec") and "b.trace_fields()" in script
    True
    """
    output = _OUTPUT.search(program.code)
    if not output and not program.prints:
        raise RecordTypeError(
            f"{program.file} sends nothing that a script could print",
            "use bpf_trace_printk, perf_submit or ringbuf_output in it",
        )
    parts = [
        _HEAD.format(
            title=f"{program.file.removesuffix('.c')}, made by tracekit.",
            text=program.self_contained_text.strip("\n") + "\n",
            flags=f", cflags={program.flags!r}" if program.flags else "",
            imports="import signal\n\n" if flood and output and "RINGBUF" in output[1] else "",
        )
    ]
    for tracepoint, function in attach or filter(None, [listing.attach]):
        parts.append(f'b.attach_tracepoint(tp="{tracepoint}", fn_name="{function}")\n')
    header = f"\nprint({listing.header!r})\n"
    if output is None:
        return "".join([*parts, header, _PRINTK.format(line=_line(listing, ""))])
    ring = output[1] == "BPF_RINGBUF_OUTPUT"
    callback = _CALLBACK.format(
        context="context" if ring else "cpu",
        table=output[2],
        line=_line(listing, "event."),
        result="\n    return 0  # go on" if ring else "",
    )
    loop = (_FLOOD if flood and ring else _RING if ring else _PERF).format(table=output[2])
    return "".join([*parts, header, callback, loop])


def _line(listing: Listing, prefix: str) -> str:
    """The inside of an f-string that prints one event; quotes in it are single ones."""
    cells = []
    for column in listing.columns:
        value = f"{prefix}{column.field}"
        if keyword.iskeyword(column.field):
            value = f"getattr({prefix.rstrip('.')}, '{column.field}')"
        if column.kind == "bytes":
            value = f"bytes({value}).hex(' ')"
        elif column.kind == "numbers":
            value = f"list({value})"
        elif column.kind == "text" and prefix:
            value = f"{value}.decode(errors='replace')"
        cells.append("{" + value + (f":{column.form}" if column.form else "") + "}")
    return " ".join(cells)

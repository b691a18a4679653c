"""The exercises of ``03-finding-tracepoints``: an event by its fields, sizes, and by trying."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter

from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.printed import printed_by
from tracekit.tracepoints.tplist import tplist
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

__all__ = ("EXERCISES",)

_COMMAND_SECONDS = 30
_SLEEPS = 7


def _known(answer: object) -> str:
    if not isinstance(answer, str):
        raise Failed(f"{answer!r} is no name", 'give it as text: "category:event"')
    if answer not in find_tracepoints():
        raise Failed(f"{answer} is no tracepoint of this kernel", "tk.find_tracepoints() has all")
    return answer


def _check_state(answer: object) -> None:
    name = _known(answer)
    lacking = [field for field in ("oldstate", "newstate") if field not in read_format(name)]
    if lacking:
        raise Failed(f"{name} has no field {lacking[0]}", "look at the formats of the others")


def _check_chain(answer: object) -> None:
    if not isinstance(answer, str):
        raise Failed(f"{answer!r} is no command", "give the chain as text")
    if "..." in answer:
        raise Failed("... is still there", "write the other commands in its place")
    # In no order of categories: tplist's own order depends on the file system.
    names = sorted(tplist("*", verbose=False).text.split(), key=lambda name: name.split(":")[::-1])
    try:
        done = subprocess.run(
            ["sh", "-c", answer],
            input="".join(f"{name}\n" for name in names),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Failed(
            "the chain does not come to an end", "does each command read a list?"
        ) from None
    if done.returncode:
        raise Failed(f"the shell says: {done.stderr.strip()}", "check the commands one by one")
    rows = [line.split() for line in done.stdout.splitlines()]
    if not rows or any(len(row) != 2 or not row[0].isdigit() for row in rows):
        first = done.stdout.partition("\n")[0]
        raise Failed(f"its first line is {first!r}, not a number and a category", "uniq -c counts")
    counts = [int(count) for count, _ in rows]
    if counts != sorted(counts, reverse=True):
        raise Failed("the largest category does not come first", "sort -rn, at the end")
    if {name: int(count) for count, name in rows} != Counter(
        name.partition(":")[0] for name in names
    ):
        raise Failed(
            "a category has the wrong number, where the events come in another order",
            "uniq sees only lines that stand together",
        )


def _check_most_fields(answer: object) -> None:
    name = _known(answer)
    sizes = {other: len(read_format(other).fields) for other in find_tracepoints()}
    if sizes[name] < max(sizes.values()):
        raise Failed(
            f"{name} has {sizes[name]} fields, another event has {max(sizes.values())}",
            "ask each format for the length of its .fields",
        )


def _check_sleep(answer: object) -> None:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    if not isinstance(text, str):
        raise Failed(f"{text!r} is no name", "give the name that the program printed")
    # The chapter's program prints its process's number behind the name.
    event = text.removeprefix("syscalls:").partition(" ")[0]
    _known(f"syscalls:{event}")

    def sleep() -> int:
        for _ in range(_SLEEPS):
            time.sleep(0.001)
        return threading.get_native_id()

    program = f'TRACEPOINT_PROBE(syscalls, {event}) {{ bpf_trace_printk("slept"); return 0; }}'
    count = len(printed_by(program, sleep))
    if count != _SLEEPS:
        raise Failed(
            f"{event} happened {count} times while process {os.getpid()} slept {_SLEEPS} times",
            "attach to all that have nanosleep in their name",
        )


EXERCISES = (
    Exercise(
        "03-1",
        "The event of a change of state",
        _check_state,
        (
            "the word state is in many names: which are about sockets?",
            'tk.explore() finds "sock state" and shows the fields; so do'
            ' tk.find_tracepoints("sock:*state*") and tk.read_format',
            "sock:inet_sock_set_state has both fields",
        ),
    ),
    Exercise(
        "03-2",
        "The sizes of the categories, in the shell",
        _check_chain,
        (
            "uniq only sees equal lines that stand together, so something must come before it",
            "sort, then uniq -c, and then the numbers have to be put in order",
            '"cut -d: -f1 | sort | uniq -c | sort -rn"',
        ),
    ),
    Exercise(
        "03-3",
        "The event with the most fields",
        _check_most_fields,
        (
            "all_formats has the format of each event",
            "len(fmt.fields) is the number of its own fields; max takes a key",
            "max(all_formats, key=lambda fmt: len(fmt.fields)).full_name",
        ),
    ),
    Exercise(
        "03-4",
        "How Python sleeps",
        _check_sleep,
        (
            'the candidates are tk.find_tracepoints("syscalls:sys_enter_*nanosleep*")',
            "load program_for(candidates), call time.sleep(0.001), read, and choose our own lines",
            "there are two candidates; since Python 3.11 it is the one with clock in its name",
        ),
    ),
)

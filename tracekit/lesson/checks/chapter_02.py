"""The exercises of ``02-three-sources``: bits and bytes, C's placement, shared structs, a text."""

from __future__ import annotations

import subprocess

from tracekit.errors import UnknownTracepoint
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.printed import printed_by
from tracekit.tracepoints.btf import event_struct
from tracekit.tracepoints.layout import layout_of
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

__all__ = ("EXERCISES",)

_SHOWN = "sched:sched_wakeup"  # the one that the chapter looks at


def _check_bytes_before_oldcomm(answer: object) -> None:
    offset = read_format("task:task_rename")["oldcomm"].offset
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise Failed(f"{answer!r} is no whole number", "count the bytes")
    if answer == offset * 8:
        raise Failed(f"{answer} is the number of bits", "a byte has 8 of them")
    if answer != offset:
        raise Failed(f"oldcomm does not begin after {answer} bytes", "look for its bits_offset")


def _check_members(answer: object) -> None:
    old = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    if not isinstance(answer, list | tuple):
        raise Failed(f"{answer!r} is no list", 'each member is a pair: [("int", "got_bits"), …]')
    try:
        placed = layout_of([("u8", "common", 8), *answer])[1:]
    except (TypeError, ValueError) as error:
        raise Failed(
            f"this can't be laid out: {error}", 'each member is a pair: ("int", "got_bits")'
        ) from None
    expected = [(field.name, field.offset, field.size) for field in old.fields]
    found = [(member.name, member.offset, member.size) for member in placed]
    if found != expected:
        raise Failed(
            f"the members lie at {found}, expected was {expected}", "read the lines 116 to 118"
        )


def _check_shared(answer: object) -> None:
    if not isinstance(answer, str):
        raise Failed(f"{answer!r} is no name", 'give it as text: "sched:…"')
    if answer not in find_tracepoints("sched:*"):
        raise Failed(
            f"{answer} is no event of the category sched", 'tk.find_tracepoints("sched:*")'
        )
    if answer == _SHOWN:
        raise Failed(f"{answer} is the one from the text", "which others are about waking up?")
    try:
        struct = event_struct(answer)
    except UnknownTracepoint:
        return
    raise Failed(f"{answer} has a struct of its own, {struct.name}", "try another")


def _check_new_name(answer: object) -> None:
    def become_true() -> int:
        child = subprocess.Popen(["true"])
        child.wait()
        return child.pid

    printed = printed_by(answer, become_true)
    if printed != ["true"]:
        raise Failed(
            f"when a process became true the program printed {printed}",
            "it shall print the new name, and nothing else",
        )


EXERCISES = (
    Exercise(
        "02-1",
        "Where oldcomm begins",
        _check_bytes_before_oldcomm,
        (
            "struct_text has a line for each member",
            "the line of oldcomm ends in bits_offset=, and a byte has 8 bits",
            "divide that number by 8",
        ),
    ),
    Exercise(
        "02-2",
        "Three members",
        _check_members,
        (
            "each member is a pair of its type and its name, both as text",
            'the first is ("int", "got_bits")',
            "two others of the same type follow: pool_left and input_left",
        ),
    ),
    Exercise(
        "02-3",
        "Another event without a struct of its own",
        _check_shared,
        (
            "events with the same fields share a struct: which other one tells of a wake-up?",
            'tk.find_tracepoints("sched:*wak*") lists them',
            "a process that wakes up for the first time has sched:sched_wakeup_new",
        ),
    ),
    Exercise(
        "02-4",
        "Print the new name",
        _check_new_name,
        (
            "args has one member for each field of the format file",
            'tk.read_format("task:task_rename") shows two names, the old and the new one',
            "write args->newcomm",
        ),
    ),
)

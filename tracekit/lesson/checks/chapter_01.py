"""The checks of the first chapter, about format files and the first program."""

from __future__ import annotations

import os
import threading

from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.printed import printed_by
from tracekit.tracepoints.catalogue import kernels
from tracekit.tracepoints.tracefs import read_format

__all__ = ("EXERCISES",)


def _check_bytes_12_to_15(answer: object) -> None:
    fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    if not isinstance(answer, str):
        raise Failed(f"{answer!r} is no name", 'give the field\'s name as text: "common_pid"')
    if answer not in fmt:
        raise Failed(f"the format file has no field {answer}", "take its name from the text")
    field = fmt[answer]
    if field.offset != 12:
        last = field.offset + field.size - 1
        raise Failed(
            f"{answer} lies in the bytes {field.offset} to {last}", "look at the column offset"
        )


def _check_flags(answer: object) -> None:
    def ask() -> int:
        os.getrandom(1)
        os.getrandom(1, os.GRND_NONBLOCK)
        return threading.get_native_id()

    expected = ["0", str(int(os.GRND_NONBLOCK))]
    _check_printed(printed_by(answer, ask), expected, "it shall print the flags, and nothing else")


def _check_getpgid(answer: object) -> None:
    def ask() -> int:
        os.getpgid(os.getpid())
        return threading.get_native_id()

    expected = [str(os.getpid())]
    _check_printed(printed_by(answer, ask), expected, "getpgid has one argument: whose group?")


def _check_printed(printed: list[str], expected: list[str], next_step: str) -> None:
    if printed != expected:
        raise Failed(
            f"for these calls the program printed {printed}, expected was {expected}", next_step
        )


def _check_wrong_kernels(answer: object) -> None:
    wrong = {
        name for name in kernels() if read_format("tcp:tcp_probe", kernel=name)["saddr"].offset != 8
    }
    if not isinstance(answer, list | tuple | set):
        raise Failed(f"{answer!r} is no list", "give the kernels' names in a list")
    given = set(answer)
    if given - wrong:
        raise Failed(
            f"{', '.join(map(str, given - wrong))}: there the common fields have 8 bytes",
            "the first of the event's own fields begins where they end",
        )
    if wrong - given:
        raise Failed("a kernel is missing", "ask all of tk.kernels()")


EXERCISES = (
    Exercise(
        "01-1",
        "The field in the bytes 12 to 15",
        _check_bytes_12_to_15,
        (
            "each line of the format file says where its field begins",
            "the field begins at byte 12 and has 4 bytes",
            "look for offset:12 below the empty line",
        ),
    ),
    Exercise(
        "01-2",
        "Print the flags in place of the length",
        _check_flags,
        (
            "args has one member for each field of the format file",
            "the format of syscalls:sys_enter_getrandom has three fields after __syscall_nr",
            "write args->flags",
        ),
    ),
    Exercise(
        "01-3",
        "Another system call, getpgid",
        _check_getpgid,
        (
            "the first line names the category and the event",
            "the category is syscalls, and the event begins with sys_enter_",
            "TRACEPOINT_PROBE(syscalls, sys_enter_getpgid), and its one field is pid",
        ),
    ),
    Exercise(
        "01-4",
        "Where 8 bytes of common fields are wrong",
        _check_wrong_kernels,
        (
            "tk.read_format takes the name of a kernel",
            "the offset of saddr tells how long the common fields are",
            "keep the kernels whose saddr is not at offset 8",
        ),
    ),
)

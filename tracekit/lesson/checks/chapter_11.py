"""The exercises of ``11-breakage``: a message, a struct that bcc can read, and a copy."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

from tracekit.capture.bare import run_bare
from tracekit.lesson.breakage import FAILURES
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.lesson.failure import GETPGID

__all__ = ("EXERCISES",)

_PROGRAM = """\
from bcc import BPF
import os

me, found = os.getpid(), []
b = BPF(text=r'''%s
BPF_PERF_OUTPUT(events);
PROBE {
    struct event_t e = {};
    e.ok = 1; e.time = 7; e.pid = args->pid;
    events.perf_submit(args, &e, sizeof(e));
    return 0;
}''')
def receive(cpu, data, size):
    e = b["events"].event(data)
    found.append((e.ok, e.time, e.pid))
b["events"].open_perf_buffer(receive)
os.getpgid(me)
b.perf_buffer_poll(1000)
print("right" if (1, 7, me) in found else f"read: {found}")
""".replace("PROBE", GETPGID)


def _check_message(answer: object) -> None:
    if answer not in [failure.id for failure in FAILURES]:
        raise Failed(f"{answer!r} is no failure of the gallery", "give its name as text")
    if answer != "past-the-record":
        raise Failed(f"{answer} prints another message", "ask tk.breakages with the message")


def _check_struct(answer: object) -> None:
    if not isinstance(answer, str) or "struct event_t" not in answer:
        raise Failed("this is no struct event_t", "give the whole C text, from struct to };")
    run = run_bare(_PROGRAM % answer)
    if type_name := re.search(r"Type: '(.*)' not recognized", run.output):
        raise Failed(f"bcc's Python half knows no {type_name[1]}", "u8 to u64 are known to it")
    if run.returncode:
        lines = [line for line in run.output.splitlines() if "error: " in line]
        raise Failed(lines[0] if lines else f"it {run.ended}", "the members are ok, time and pid")
    if run.output.strip() != "right":
        raise Failed("bcc's Python half reads other numbers", "let the compiler leave the holes")


class _Event(ctypes.Structure):
    _fields_ = (("when", ctypes.c_uint64), ("pid", ctypes.c_uint32))


def _check_copy(answer: Callable[[Any], Any] | object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    ring = bytearray(_Event(23, 42))
    kept = answer(_Event.from_buffer(ring))
    if getattr(kept, "when", None) != 23:
        raise Failed("what it gives has not the event's when", "give the event, or a copy of it")
    ring[:] = bytes(len(ring))
    if (kept.when, getattr(kept, "pid", None)) != (23, 42):
        raise Failed("the kernel wrote the next event, and yours has changed", "take a copy")


EXERCISES = (
    Exercise(
        "11-1",
        "Permission denied, as root",
        _check_message,
        (
            "tk.breakages(message) looks for failures that print it",
            "the message was printed when a program was attached, not when it was loaded",
            "its name says where the program read: past-the-…",
        ),
    ),
    Exercise(
        "11-2",
        "A struct that bcc can read",
        _check_struct,
        (
            "three things are wrong with it: two types, and one attribute",
            "bool and __u32 are types that bcc's Python half does not know",
            "write u8, u64 and u32, and no __attribute__",
        ),
    ),
    Exercise(
        "11-3",
        "A copy of an event",
        _check_copy,
        (
            "the event is an object of ctypes, and so is its type",
            "a ctypes type can make an object from the bytes of another, as a copy",
            "return type(event).from_buffer_copy(event)",
        ),
    ),
)

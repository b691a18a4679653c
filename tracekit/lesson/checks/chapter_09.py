"""The exercises of ``09-ledger``: verdicts of two kernels, and a field read on every kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tracekit.lesson.document import all_claims
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.tracepoints.catalogue import kernels, kernels_with
from tracekit.tracepoints.comparison import compare
from tracekit.tracepoints.tracefs import read_format

__all__ = ("EXERCISES",)

_PROBE, _RETRANSMIT = "tcp:tcp_probe", "tcp:tcp_retransmit_skb"
_WRITTEN_FOR = "debian-12_6.1"
_SEGMENTS = 0x0A0B0C0D  # four different bytes, so that no part and no other order gives it


def _require_set(answer: object, expected: set[Any], kind: type, what: str) -> None:
    if isinstance(answer, str) or not isinstance(answer, list | tuple | set | frozenset):
        raise Failed(f"{answer!r} is no list", f"give a list of {what}")
    for each in answer:
        if not isinstance(each, kind) or each not in expected:
            raise Failed(f"{each!r} does not belong there", "look at it once more")
    missing = len(expected - set(answer))
    if missing:
        raise Failed(f"{missing} of them missing", f"there are {len(expected)}")


def _real_time_only(answer: object) -> None:
    expected = {
        claim.id
        for claim in all_claims().values()
        if claim.verdicts.get("6.1") is True and claim.verdicts.get("6.1-rt") is False
    }
    _require_set(answer, expected, int, "the claims' numbers")


def _reads_cwnd(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    for kernel in kernels():
        fmt = read_format(_PROBE, kernel=kernel)
        field, record = fmt["snd_cwnd"], bytearray(range(1, fmt.size + 1))
        record[field.offset : field.end] = _SEGMENTS.to_bytes(field.size, sys.byteorder)
        found = _call(answer, bytes(record), fmt)
        if found != _SEGMENTS:
            raise Failed(
                f"on the record of {kernel} it gives {found!r}, expected was {_SEGMENTS}",
                f"there snd_cwnd is in the bytes {field.offset} to {field.end - 1}; ask fmt",
            )


def _finds_changes(answer: object) -> None:
    if not callable(answer):
        raise Failed(f"{type(answer).__name__} is no function", "give the function, without ()")
    before = _ledger([True, True, False, "not run", False, True, "not checkable"])
    after = _ledger([True, False, True, True, False, "not judged", "not run"])
    for first, second, expected in (
        (before, after, [2, 3]),
        (before, after[::-1], [2, 3]),
        (before, before, []),
    ):
        found = _call(answer, first, second)
        if isinstance(found, str) or not isinstance(found, list | tuple | set | frozenset):
            raise Failed(f"it returns {found!r}", "return a list of the claims' numbers")
        if sorted(found) != expected:
            shown = _verdicts(first), _verdicts(second)
            raise Failed(
                f"from {shown[0]} to {shown[1]} it finds {sorted(found)}, expected was {expected}",
                "the keys are id and verdict_here; only True and False count",
            )


def _ledger(verdicts: list[bool | str]) -> list[dict[str, Any]]:
    return [{"id": number, "verdict_here": holds} for number, holds in enumerate(verdicts, 1)]


def _verdicts(ledger: list[dict[str, Any]]) -> dict[int, bool | str]:
    return {entry["id"]: entry["verdict_here"] for entry in ledger}


def _call(function: Callable[..., object], *arguments: object) -> object:
    try:
        return function(*arguments)
    except Exception as error:
        raise Failed(
            f"the function raises {type(error).__name__}: {error}", "try it on something small"
        ) from None


def _right_elsewhere(answer: object) -> None:
    ours = read_format(_RETRANSMIT, kernel=_WRITTEN_FOR)
    expected = {
        kernel
        for kernel in kernels_with(_RETRANSMIT)
        if compare(ours, read_format(_RETRANSMIT, kernel=kernel)).agrees
    }
    _require_set(answer, expected, str, "the kernels' names")


EXERCISES = (
    Exercise(
        "09-1",
        "what a real-time kernel changes",
        _real_time_only,
        (
            'Each record is a dictionary; record["verdicts"] is one too, by the kernel\'s name.',
            '.get("6.1") is True, False, or None where nobody has looked.',
            'Keep record["id"] where .get("6.1") is True and .get("6.1-rt") is False.',
        ),
    ),
    Exercise(
        "09-2",
        "snd_cwnd on every kernel",
        _reads_cwnd,
        (
            "Which of the two arguments knows where the field lies?",
            'fmt["snd_cwnd"] has .offset, .size and .end.',
            'In place of ... write fmt["snd_cwnd"].offset : fmt["snd_cwnd"].end',
        ),
    ),
    Exercise(
        "09-3",
        "two ledgers",
        _finds_changes,
        (
            'Make a dictionary of each list: entry["id"] gives entry["verdict_here"].',
            "A change is from True to False or from False to True; words take no part.",
            "{old[n], new.get(n)} == {True, False} asks for both at once.",
        ),
    ),
    Exercise(
        "09-4",
        "a struct for another event",
        _right_elsewhere,
        (
            f"tk.read_format({_RETRANSMIT!r}, kernel=…) reads the file of one kernel.",
            "tk.compare(ours, theirs).agrees says whether no field is wrong.",
            "Do it for each name in tk.kernels()[1:]; the first has no such file.",
        ),
    ),
)

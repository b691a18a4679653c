"""The exercises of ``08-attach-tracepoint``: structs that lie where the record's fields lie."""

from __future__ import annotations

from collections.abc import Iterable

from tracekit.capture.probe import PROGRAMS
from tracekit.capture.struct_layout import lay_out_struct
from tracekit.lesson.exercise import Exercise, Failed
from tracekit.tracepoints.comparison import Comparison, compare
from tracekit.tracepoints.tracefs import read_format

__all__ = ("EXERCISES",)

_TRACEPOINT = "tcp:tcp_probe"
_DOCUMENT_KERNEL = "ubuntu-20.04_5.4"
_STATE = "sock:inet_sock_set_state"


def _document_struct() -> str:
    text = (PROGRAMS / "tcp_probe_attach_tracepoint.c").read_text()
    return text[text.index("#include") : text.index("};") + 3]


def _compare_text(answer: object, tracepoint: str) -> Comparison:
    if not isinstance(answer, str):
        raise Failed(f"a C text is expected, not {answer!r}", "write the struct between quotes")
    if "..." in answer:
        raise Failed("there is still a ... in the text", "write what belongs in its place")
    return compare(lay_out_struct(answer), read_format(tracepoint))


def _require_right(comparison: Comparison, needed: Iterable[str]) -> None:
    for name in comparison.wrong:
        raise Failed(f"{name} reads {comparison[name].reads}", "tk.compare shows every member")
    missing = sorted(set(needed) - {reading.field.name for reading in comparison})
    if missing:
        raise Failed(f"the struct has no {missing[0]}", "keep every member it must have")


def _mended(answer: object) -> None:
    comparison = _compare_text(answer, _TRACEPOINT)
    _require_right(comparison, (f.name for f in lay_out_struct(_document_struct()).fields))


def _first_wrong(answer: object) -> None:
    packed = _document_struct().replace("};", "} __attribute__((packed));")
    old = read_format(_TRACEPOINT, kernel=_DOCUMENT_KERNEL)
    wrong = compare(lay_out_struct(packed), old).wrong
    if answer not in wrong:
        raise Failed(f"{answer!r} is no wrong member", "give one name, as text")
    if answer != wrong[0]:
        raise Failed(f"{answer} is wrong, but not the first", "holes come before it")


def _state_args(answer: object) -> None:
    fields = read_format(_STATE).fields
    names = [field.name for field in fields]
    needed = names[: names.index("newstate") + 1]
    _require_right(_compare_text(answer, _STATE), needed)


EXERCISES = (
    Exercise(
        "08-1",
        "mend the document's struct",
        _mended,
        (
            "Compare the document's struct with fmt: which field of the kernel does it lack?",
            "The format file gives that field's type and where it stands: behind dport.",
            "In place of 'u32 mark;' write 'u16 family; u32 mark;' where the kernel has family.",
        ),
    ),
    Exercise(
        "08-2",
        "the first wrong member of a packed struct",
        _first_wrong,
        (
            "Where does the record of Linux 5.4 have a hole? Its format has .holes.",
            "A packed struct has no hole, so the member behind it comes too early.",
            "The hole is behind data_len. What stands behind data_len?",
        ),
    ),
    Exercise(
        "08-3",
        "a struct for another event",
        _state_args,
        (
            f"tk.read_format({_STATE!r}) shows the fields; you need the first three.",
            "A pointer is a u64 in a struct of ours; an int is an s32.",
            "After u64 __unused__: u64 skaddr, then oldstate and newstate as s32.",
        ),
    ),
)

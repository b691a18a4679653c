"""The machine a chapter runs on, in the three facts its statements depend on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tracekit.capture.toolchain import bcc_version
from tracekit.errors import RequirementMissing, TracefsUnavailable
from tracekit.tracepoints.table import Row, html_table, text_table
from tracekit.tracepoints.tracefs import find_tracefs

__all__ = ("Machine", "describe_machine")


@dataclass(frozen=True, slots=True, repr=False)
class Machine:
    """The running kernel's release, bcc's version, and the folder where tracefs is readable.

    ``bcc`` and ``tracefs`` are None where they are missing; ``missing`` then holds one error each,
    which says the next step.

    >>> Machine("6.18.44", "0.26.0", Path("/sys/kernel/tracing"))
    kernel   6.18.44
    bcc      0.26.0
    tracefs  /sys/kernel/tracing
    """

    kernel: str
    bcc: str | None
    tracefs: Path | None
    missing: tuple[RequirementMissing | TracefsUnavailable, ...] = ()

    @property
    def _rows(self) -> list[Row]:
        facts = (("kernel", self.kernel), ("bcc", self.bcc), ("tracefs", self.tracefs))
        rows = [
            Row((name, str(value or "missing")), "" if value else "wrong") for name, value in facts
        ]
        for error in self.missing:
            rows += [Row(("", error.fact)), Row(("next", error.next_step))]
        return rows

    def __repr__(self) -> str:
        return text_table(("", ""), self._rows).lstrip("\n")

    def _repr_html_(self) -> str:
        return html_table("this machine", ("", ""), self._rows)


def describe_machine() -> Machine:
    """The machine this process runs on; what is missing is part of the answer, not an error.

    >>> describe_machine().kernel == os.uname().release
    True
    """
    missing: list[RequirementMissing | TracefsUnavailable] = []
    bcc, tracefs = None, None
    try:
        bcc = bcc_version()
    except RequirementMissing as error:
        missing.append(error)
    try:
        tracefs = find_tracefs()
    except TracefsUnavailable as error:
        missing.append(error)
    return Machine(os.uname().release, bcc, tracefs, tuple(missing))

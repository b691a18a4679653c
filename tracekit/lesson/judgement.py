"""What a chapter's cell finds about one of the document's claims on the running kernel.

A cell says ``tk.claim(117, holds)`` with what it computed; the verdict is kept for this kernel (see
:mod:`~tracekit.lesson.state`), so that the table of all claims outlives the notebook.
"""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np

from tracekit.errors import VerdictError
from tracekit.lesson import state
from tracekit.lesson.document import Claim, all_claims, find_claim, kernel_family

__all__ = ("Judgement", "claim", "judgements", "word")

_DOCUMENT_KERNEL = "5.4"  # the one the document was written on


@dataclass(frozen=True, slots=True, repr=False)
class Judgement:
    """What a cell found about a claim on one kernel; ``holds`` None is "can't be judged here".

    Its repr is one line; as plain text it goes on in the next where it is longer than 80 columns.

    >>> Judgement(find_claim(117), False, "", "6.18.44")
    claim 117 · line 459 · true on 5.4, false here: family came in between
    """

    claim: Claim
    holds: bool | None
    because: str
    kernel: str

    @property
    def _verdict(self) -> str:
        here = word(self.holds) + " here"
        then = self.claim.verdicts.get(_DOCUMENT_KERNEL)
        if then is None or kernel_family(self.kernel) == _DOCUMENT_KERNEL:
            return here
        if then is self.holds:
            return f"{word(then)} on {_DOCUMENT_KERNEL} and here"
        return f"{word(then)} on {_DOCUMENT_KERNEL}, {here}"

    @property
    def _reason(self) -> str:
        if self.because or self.holds is None:
            return self.because
        return self.claim.limit if self.holds else self.claim.note

    @property
    def line(self) -> str:
        """The claim, the verdicts and the reason, in one line."""
        line = f"claim {self.claim.id} · line {self.claim.line} · {self._verdict}"
        if self._reason:
            line += f": {self._reason}"
        expected = self.claim.expected(self.kernel)
        if None not in (self.holds, expected) and self.holds is not expected:
            line += f" · the course has seen it {word(expected)} on {kernel_family(self.kernel)}"
        return line

    def __repr__(self) -> str:
        return textwrap.fill(self.line, 80, subsequent_indent="  ")

    def _repr_html_(self) -> str:
        title = escape(f"{self.claim.en} {self.claim.ja}", quote=True)
        return f'<div title="{title}">{escape(self.line)}</div>'


def claim(number: int, holds: bool | np.bool_ | None, because: str = "") -> Judgement:
    """Say whether the document's claim holds on this kernel, and keep the verdict.

    ``holds`` is what the cell computed; None says that it can't be judged here, and ``because``
    why. The value's repr is one line. A second verdict for the same kernel replaces the first.

    Raises :class:`~tracekit.errors.UnknownClaim` for a number that no claim has, and
    :class:`~tracekit.errors.VerdictError` for a verdict that is neither true nor false nor None.
    """
    stated = find_claim(number)
    if holds is not None and not isinstance(holds, bool | np.bool_):
        raise VerdictError(
            f"claim({number}, …) was given {type(holds).__name__}, not a truth value",
            "compare something, as in claim(62, fmt['snd_cwnd'].offset == 84); "
            "of an array say .all(); None says that it can't be judged here",
        )
    verdict = None if holds is None else bool(holds)
    kernel = os.uname().release
    state.save(f"claims/{kernel}", str(stated.id), {"holds": verdict, "because": because})
    return Judgement(stated, verdict, because, kernel)


def judgements(kernel: str) -> dict[int, Judgement]:
    """All that cells have found on a kernel of this release, by the claim's id."""
    saved = state.load_all(f"claims/{kernel}")
    return {
        number: Judgement(stated, entry.get("holds"), entry.get("because", ""), kernel)
        for number, stated in all_claims().items()
        if (entry := saved.get(str(number))) is not None
    }


def word(holds: bool | None) -> Literal["true", "false", "not judged"]:
    """A verdict as one word.

    >>> word(None)
    'not judged'
    """
    if holds is None:
        return "not judged"
    return "true" if holds else "false"

"""What a chapter's cell finds about one of the document's claims on the running kernel.

A cell says ``tk.claim(117, holds)`` with what it computed; the verdict is kept for this kernel (see
:mod:`~tracekit.lesson.state`), so that the table of all claims outlives the notebook.
"""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

import numpy as np

from tracekit.errors import VerdictError
from tracekit.lesson import state
from tracekit.lesson.document import Claim, all_claims, find_claim, kernel_family
from tracekit.tracepoints.catalogue import catalogue_root

__all__ = ("NOT_CHECKABLE", "Judgement", "Verdict", "claim", "judgements", "word")

NOT_CHECKABLE: Literal["not checkable"] = "not checkable"
Verdict: TypeAlias = bool | Literal["not checkable"] | None

_DOCUMENT_KERNEL = "5.4"  # the one the document was written on


@dataclass(frozen=True, slots=True, repr=False)
class Judgement:
    """What a cell found about a claim: a verdict, why, and of which kernel it speaks.

    ``holds`` is True or False as this kernel answered, or, where ``catalogued`` names another one
    of the catalogue, as that kernel's format file did. It is "not checkable" where nothing on a
    machine like this one could decide the claim, and None, "not judged", where this machine lacks
    what the cell would ask. ``kernel`` is the release of the kernel that runs.

    Its repr is one line; as plain text it goes on in the next where it is longer than 80 columns.

    >>> Judgement(find_claim(117), False, "", "6.18.44")
    claim 117 · line 459 · true on 5.4, false here: family came in between
    """

    claim: Claim
    holds: Verdict
    because: str
    kernel: str
    catalogued: str = ""

    @property
    def here(self) -> bool | None:
        """Whether the claim holds on the running kernel; None where that did not say so itself."""
        return self.holds if isinstance(self.holds, bool) and not self.catalogued else None

    @property
    def word(self) -> str:
        """The verdict in a word: "true", or "true on 5.4" from that kernel's file.

        >>> Judgement(find_claim(7), True, "", "6.18.44", "ubuntu-20.04_5.4").word
        'true on 5.4'
        """
        return f"{word(self.holds)} on {self._family}" if self.catalogued else word(self.holds)

    @property
    def contradicts(self) -> bool | None:
        """What the course has seen on such a kernel, if it is another verdict; None otherwise.

        A claim that could not be judged, or on whose kernel nobody looked, contradicts nothing.
        """
        seen = self.claim.expected(self._family)
        return None if not isinstance(self.holds, bool) or seen is self.holds else seen

    @property
    def _family(self) -> str:
        return self.catalogued.rpartition("_")[2] or kernel_family(self.kernel)

    @property
    def _verdict(self) -> str:
        if self.catalogued:
            return f"{self.word} (format file in the catalogue)"
        here = word(self.holds) + " here"
        then = self.claim.verdicts.get(_DOCUMENT_KERNEL)
        if then is None or self._family == _DOCUMENT_KERNEL:
            return here
        if then is self.holds:
            return f"{word(then)} on {_DOCUMENT_KERNEL} and here"
        return f"{word(then)} on {_DOCUMENT_KERNEL}, {here}"

    @property
    def _reason(self) -> str:
        if self.because or not isinstance(self.holds, bool):
            return self.because
        return self.claim.limit if self.holds else self.claim.note

    @property
    def line(self) -> str:
        """The claim, the verdicts and the reason, in one line."""
        line = f"claim {self.claim.id} · line {self.claim.line} · {self._verdict}"
        if self._reason:
            line += f": {self._reason}"
        if self.contradicts is not None:
            line += f" · the course has seen it {word(self.contradicts)} on {self._family}"
        return line

    def __repr__(self) -> str:
        return textwrap.fill(self.line, 80, subsequent_indent="  ")

    def _repr_html_(self) -> str:
        title = escape(f"{self.claim.en} {self.claim.ja}", quote=True)
        return f'<div title="{title}">{escape(self.line)}</div>'


def claim(
    number: int, holds: Verdict | np.bool_, because: str = "", *, catalogued: str = ""
) -> Judgement:
    """Say whether the document's claim holds on this kernel, and keep the verdict.

    ``holds`` is what the cell computed, and ``because`` why it is so. What this kernel can't answer
    a format file of the ``catalogued`` kernel may ("ubuntu-20.04_5.4"): then the verdict is that
    kernel's. "not checkable" says that nothing on a machine could decide the claim; None, that this
    machine lacks what the cell would ask. A second verdict for the same kernel replaces the first.

    Raises :class:`~tracekit.errors.UnknownClaim` for a number that no claim has,
    :class:`~tracekit.errors.VerdictError` for what is no verdict, and
    :class:`~tracekit.errors.UnknownKernel` for a kernel that the catalogue does not have.
    """
    stated = find_claim(number)
    if not (holds is None or isinstance(holds, bool | np.bool_) or _is_not_checkable(holds)):
        raise VerdictError(
            f"claim({number}, …) was given {type(holds).__name__}, not a truth value",
            "compare something, as in claim(62, fmt['snd_cwnd'].offset == 84); "
            "of an array say .all(); None says that it can't be judged here",
        )
    if catalogued:
        catalogue_root(catalogued)  # raises for a kernel that it does not have
    verdict = bool(holds) if isinstance(holds, np.bool_) else holds
    kernel = os.uname().release
    found = Judgement(stated, verdict, because, kernel, catalogued)
    saved = {"holds": verdict, "because": because, "catalogued": catalogued}
    state.save(f"claims/{kernel}", str(stated.id), saved)
    return found


def judgements(kernel: str) -> dict[int, Judgement]:
    """All that cells have found on a kernel of this release, by the claim's id."""
    saved = state.load_all(f"claims/{kernel}")
    return {
        number: Judgement(
            stated,
            entry.get("holds"),
            entry.get("because", ""),
            kernel,
            entry.get("catalogued", ""),
        )
        for number, stated in all_claims().items()
        if (entry := saved.get(str(number))) is not None
    }


def word(holds: Verdict) -> Literal["true", "false", "not checkable", "not judged"]:
    """A verdict as one word, or two.

    >>> word(None)
    'not judged'
    """
    if holds is None:
        return "not judged"
    if isinstance(holds, str):
        return NOT_CHECKABLE
    return "true" if holds else "false"


def _is_not_checkable(holds: object) -> bool:
    return isinstance(holds, str) and holds == NOT_CHECKABLE

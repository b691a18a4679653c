"""All claims of the document in one table: the verdict on this kernel, and those on others."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any, Literal, TypeAlias, get_args

from tracekit.lesson.document import Claim, all_claims, find_claim
from tracekit.lesson.judgement import Judgement, judgements, word
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = (
    "Claims",
    "Disagreement",
    "claims",
    "disagreements",
    "recorded_claims",
)

VerdictWord: TypeAlias = Literal["true", "false", "not judged", "not run"]

_WORDS: tuple[VerdictWord, ...] = get_args(VerdictWord)
_WIDTH, _ROWS = 80, 30  # of a notebook's plain text


@dataclass(frozen=True, slots=True, repr=False)
class Claims:
    """A table of claims: the verdict on this kernel, and those on others.

    ``found`` has the judgements of this kernel by the claim's id; a claim without one was not run.
    """

    claims: tuple[Claim, ...]
    found: Mapping[int, Judgement]
    kernel: str

    def verdict(self, number: int) -> VerdictWord:
        """The verdict on this kernel, in a word."""
        return word(self.found[number].holds) if number in self.found else "not run"

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary a claim, as JSON shows it; ``verdict_here`` is True, False or None."""
        return [
            {
                "id": claim.id,
                "line": claim.line,
                "chapter": claim.chapter,
                "en": claim.en,
                "ja": claim.ja,
                "verdict_here": self.found[claim.id].holds if claim.id in self.found else None,
                "run_here": claim.id in self.found,
                "because": self.found[claim.id].because if claim.id in self.found else "",
                "verdicts": dict(claim.verdicts),
                "how": dict(claim.how),
                "erratum": claim.erratum,
                "note": claim.note,
                "limit": claim.limit,
            }
            for claim in self.claims
        ]

    @property
    def _title(self) -> str:
        here = Counter(self.verdict(claim.id) for claim in self.claims)
        counts = [f"{here[verdict]} {verdict}" for verdict in _WORDS if here[verdict]]
        noun = "claim" if len(self.claims) == 1 else "claims"
        parts = [f"{len(self.claims)} {noun}", f"Linux {self.kernel}", ", ".join(counts)]
        return " · ".join(part for part in parts if part)

    def __len__(self) -> int:
        return len(self.claims)

    @property
    def text(self) -> str:
        """The whole table as plain text, no wider than 80 columns."""
        return self._text(self.claims)

    def __repr__(self) -> str:
        shown = len(self.claims)
        while shown and self._text(self.claims[:shown]).count("\n") + 2 > _ROWS:
            shown -= 1
        if shown == len(self.claims):
            return self.text
        more = f"… {len(self.claims) - shown} more; .text has all, claims(chapter=…) has fewer"
        return f"{self._text(self.claims[:shown])}\n{more}"

    def _text(self, some: tuple[Claim, ...]) -> str:
        rows = []
        for claim in some:
            head = (str(claim.id), str(claim.line), self.verdict(claim.id))
            width = _WIDTH - len("121  line  not judged  ")
            lines = textwrap.wrap(claim.en, width) + textwrap.wrap(_elsewhere(claim), width)
            rows += [Row((*head, lines[0])), *(Row(("", "", "", line)) for line in lines[1:])]
        columns = ("id", "line", "here", "statement, and where it was seen")
        return f"{self._title}\n{text_table(columns, rows, right=(0, 1))}"

    def _repr_html_(self) -> str:
        rows = []
        for claim in self.claims:
            here = self.verdict(claim.id)
            reason = self.found[claim.id]._reason if claim.id in self.found else ""
            seen = " · ".join(text for text in (reason, _elsewhere(claim)) if text)
            cells = (str(claim.id), str(claim.line), claim.en, here, seen)
            rows.append(Row(cells, "wrong" if here == "false" else ""))
        columns = ("id", "line", "statement", "here", "why · where it was seen")
        return html_table(self._title, columns, rows, right=(0, 1))


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A claim that a cell found to be other than the course's data say of such a kernel."""

    claim: int
    recorded: bool
    expected: bool


def claims(*, chapter: str | None = None, verdict: VerdictWord | None = None) -> Claims:
    """The table of all claims, or of one ``chapter`` ("04"), or those with one ``verdict`` here.

    The verdicts are "true", "false", "not judged" (a cell ran and could not say) and "not run".
    """
    kernel = os.uname().release
    found = judgements(kernel)
    table = Claims(tuple(all_claims().values()), found, kernel)
    chosen = (
        claim
        for claim in table.claims
        if (chapter is None or claim.chapter == chapter)
        and (verdict is None or table.verdict(claim.id) == verdict)
    )
    return Claims(tuple(chosen), found, kernel)


def recorded_claims(kernel_release: str | None = None) -> dict[int, bool | None]:
    """The verdicts that cells have recorded on a kernel, the running one by default."""
    found = judgements(kernel_release or os.uname().release)
    return {number: judgement.holds for number, judgement in found.items()}


def disagreements(
    recorded: Mapping[int, bool | None], kernel_release: str
) -> tuple[Disagreement, ...]:
    """Where recorded verdicts contradict what the data say of kernels of that family.

    A claim that could not be judged, or on whose kernel nobody has looked, contradicts nothing.

    >>> disagreements({117: True, 120: True, 5: None}, "6.18.44")
    (Disagreement(claim=117, recorded=True, expected=False),)
    """
    pairs = ((n, holds, find_claim(n).expected(kernel_release)) for n, holds in recorded.items())
    return tuple(
        Disagreement(number, holds, expected)
        for number, holds, expected in pairs
        if holds is not None and expected is not None and holds is not expected
    )


def main(json: bool) -> int:
    """Print the table of all claims, or with ``json`` the list of their records."""
    table = claims()
    print(dumps(table.records, ensure_ascii=False, indent=1) if json else table.text)
    return 0


def _elsewhere(claim: Claim) -> str:
    parts = []
    for holds in (True, False):
        kernels = [kernel for kernel, seen in claim.verdicts.items() if seen is holds]
        if "any" in kernels:
            return f"{word(holds)} on any kernel"
        if kernels:
            parts.append(f"{word(holds)} on {', '.join(sorted(kernels, key=_by_age))}")
    return "; ".join(parts)


def _by_age(kernel: str) -> tuple[int, ...]:
    version, _, suffix = kernel.partition("-")
    return (*map(int, version.split(".")), len(suffix))

"""All claims of the document in one table: the verdict on this kernel, and those on others."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from tracekit.lesson.document import Claim, all_claims
from tracekit.lesson.judgement import NOT_CHECKABLE, Judgement, judgements, word
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("Claims", "claims")

_NOT_RUN = "not run"
# The others are "true on 5.4" and the like, and stand between these.
_FIRST, _LAST = ("true", "false"), (NOT_CHECKABLE, "not judged", _NOT_RUN)
_WIDTH, _ROWS = 80, 30  # of a notebook's plain text


@dataclass(frozen=True, slots=True, repr=False)
class Claims:
    """A table of claims: the verdict on this kernel, and those on others.

    ``found`` has the judgements of this kernel by the claim's id; a claim without one was not run.
    """

    claims: tuple[Claim, ...]
    found: Mapping[int, Judgement]
    kernel: str

    def verdict(self, number: int) -> str:
        """The verdict in a word; :func:`claims` names them."""
        return self.found[number].word if number in self.found else _NOT_RUN

    @property
    def records(self) -> list[dict[str, Any]]:
        """One dictionary a claim, as JSON shows it.

        ``verdict_here`` is True or False where this kernel was asked and answered. Otherwise it is
        the word that says why not: "true on 5.4", "not checkable", "not judged" or "not run".
        """
        return [
            {
                "id": claim.id,
                "line": claim.line,
                "chapter": claim.chapter,
                "en": claim.en,
                "ja": claim.ja,
                "verdict_here": self._verdict_here(claim.id),
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

    def _verdict_here(self, number: int) -> bool | str:
        here = self.found[number].here if number in self.found else None
        return self.verdict(number) if here is None else here

    @property
    def _title(self) -> str:
        here = Counter(self.verdict(claim.id) for claim in self.claims)
        between = sorted(here.keys() - {*_FIRST, *_LAST}, reverse=True)
        counts = [f"{here[verdict]} {verdict}" for verdict in (*_FIRST, *between, *_LAST)]
        noun = "claim" if len(self.claims) == 1 else "claims"
        found = ", ".join(count for count in counts if not count.startswith("0 "))
        parts = [f"{len(self.claims)} {noun}", found, f"Linux {self.kernel}"]
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
            width = _WIDTH - len(f"121  line  {NOT_CHECKABLE}  ")
            lines = textwrap.wrap(claim.en, width) + textwrap.wrap(_elsewhere(claim), width)
            rows += [Row((*head, lines[0])), *(Row(("", "", "", line)) for line in lines[1:])]
        columns = ("id", "line", "here", "statement, and where it was seen")
        title = textwrap.fill(self._title, _WIDTH, subsequent_indent="  ")
        return f"{title}\n{text_table(columns, rows, right=(0, 1))}"

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


def claims(*, chapter: str | None = None, verdict: str | None = None) -> Claims:
    """The table of all claims, or of one ``chapter`` ("04"), or those with one ``verdict``.

    The verdicts are "true" and "false" (this kernel was asked), "true on 5.4" and the like (the
    format file of that kernel was, from the catalogue), "not checkable" (nothing on a machine could
    decide it), "not judged" (this machine lacks what the cell would ask) and "not run".
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

"""The document's claims: what it states on which line, and on which kernels that was seen to hold.

The claims are in ``claims.toml`` beside this file, in the document's order, with ids from 1 to 121.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from tracekit.errors import UnknownClaim

__all__ = ("Claim", "all_claims", "find_claim", "kernel_family")

# The first line of the document that a chapter treats, and the chapter.
_FIRST_LINES = (1, 95, 136, 193, 293, 360, 366, 379)
_CHAPTERS = ("01", "02", "03", "04", "05", "06", "07", "08")


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of the document, from its line ``line`` on, in English and in Japanese.

    ``verdicts`` says of each kernel where somebody looked whether the claim is true there, and
    ``how`` whether that was "measured" on such a kernel or "read" in its source or format file.
    The kernel "any" stands for a claim in which no kernel takes part. ``erratum`` holds the
    numbers of the course's list of errors, as in "E1 E2". ``note`` says why the claim does not
    hold, ``limit`` what must be added where it does; either may be empty.
    """

    id: int
    line: int
    en: str
    ja: str
    erratum: str
    verdicts: Mapping[str, bool]
    how: Mapping[str, str]
    note: str
    limit: str

    @property
    def chapter(self) -> str:
        """The number of the chapter that treats this line of the document, "01" to "08"."""
        return _CHAPTERS[bisect_right(_FIRST_LINES, self.line) - 1]

    def expected(self, kernel_release: str) -> bool | None:
        """What was seen on kernels of this one's family; None where nobody looked.

        >>> find_claim(117).expected("6.18.44"), find_claim(117).expected("2.6.32")
        (False, None)
        """
        return self.verdicts.get(kernel_family(kernel_release), self.verdicts.get("any"))


def kernel_family(release: str) -> str:
    """The name under which the data know a kernel: its first two numbers, and whether it is RT.

    It only looks a name up. What a kernel can do is never concluded from it.

    >>> kernel_family("6.18.44"), kernel_family("6.1.0-56-rt-amd64"), kernel_family("5.10.0-rt17")
    ('6.18', '6.1-rt', '5.10-rt')
    """
    numbers = re.match(r"\d+\.\d+", release)
    real_time = re.search(r"-rt(?=\d|-|$)", release)
    return (numbers[0] if numbers else release) + ("-rt" if real_time else "")


@cache
def all_claims() -> Mapping[int, Claim]:
    """All claims by their id, in the document's order.

    >>> len(all_claims()), all_claims()[62].en
    (121, 'snd_cwnd is at offset 84, 4 bytes.')
    """
    text = files("tracekit.lesson").joinpath("claims.toml").read_text(encoding="utf-8")
    claims = [_claim(entry) for entry in tomllib.loads(text)["claim"]]
    return MappingProxyType({claim.id: claim for claim in claims})


def find_claim(number: int) -> Claim:
    """The claim with this id; raises :class:`~tracekit.errors.UnknownClaim` where there is none."""
    claim = all_claims().get(number)
    if claim is None:
        raise UnknownClaim(
            f"the document has no claim {number!r}",
            f"give a number from 1 to {len(all_claims())}; claims() lists them",
        )
    return claim


def _claim(entry: dict[str, Any]) -> Claim:
    ways = {way: entry.pop(way, {}) for way in ("measured", "read")}
    how = {kernel: way for way, verdicts in ways.items() for kernel in verdicts}
    return Claim(
        verdicts=MappingProxyType({**ways["read"], **ways["measured"]}),
        how=MappingProxyType(how),
        **{"erratum": "", "note": "", "limit": "", **entry},
    )

"""A card: titled parts of text, such as a program and what it printed, one below the other.

Plain text and HTML say the same. What a program printed may be long; :func:`excerpt` takes the
lines around the one that matters.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

__all__ = ("Card", "excerpt", "wrap")

_WIDTH = 80
_PRE = (
    "font-family:var(--jp-code-font-family,ui-monospace,monospace);margin:.2em 0 .6em;"
    "padding:.2em .8em;white-space:pre-wrap;background:transparent;color:inherit"
)
_PROSE = "margin:.2em 0 .6em;padding:0 .8em;max-width:42em"
_EDGES = {"broken": "#e5484d", "mended": "#30a46c", "": "rgba(128,128,128,.5)"}


class Card:
    """What shows its parts: each a title, its lines, and its kind.

    A kind is "" (a program), "broken" or "mended" (what it printed), or "prose".
    """

    __slots__ = ()

    def _parts(self) -> Iterator[tuple[str, Sequence[str], str]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        lines: list[str] = []
        for title, body, _ in self._parts():
            lines += textwrap.wrap(title, _WIDTH, subsequent_indent="  ")
            lines += [f"  {line}".rstrip() for line in body]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        html = []
        for title, body, kind in self._parts():
            html.append(f"<div>{escape(title)}</div>")
            if kind == "prose":
                html.append(f'<p style="{_PROSE}">{escape(" ".join(body))}</p>')
            elif body:
                edge = f"border-left:4px solid {_EDGES[kind]}"
                text = escape("\n".join(body))
                html.append(f'<pre style="{_PRE};{edge}">{text}</pre>')
        return f'<figure style="margin:0">{"".join(html)}</figure>'


def wrap(line: str, before: str = "", *, hanging: int = 4) -> list[str]:
    """One line as rows that fit a card; ``before`` is put in front of the first.

    >>> wrap("int a;", "1  ")
    ['1  int a;']
    """
    indent = len(line) - len(line.lstrip()) + hanging
    return textwrap.wrap(
        line,
        _WIDTH - 2,
        initial_indent=before,
        subsequent_indent=" " * (len(before) + indent),
        break_on_hyphens=False,
    ) or [before.rstrip()]


def excerpt(output: str, pattern: str) -> list[str]:
    """The lines around the first that matches, and the last one, which names the exception.

    "…" stands for what is left out, such as the lines of Python's traceback.
    """
    lines = [line.expandtabs(4) for line in output.splitlines() if line.strip()]
    if not lines:
        return []
    hit = next((n for n, line in enumerate(lines) if re.search(pattern, line)), 0)
    shown = {n for n in range(hit - 4, hit + 4) if 0 <= n < len(lines)}
    ignored = {n for n, line in enumerate(lines[: hit + 1]) if line.startswith("Exception ignored")}
    shown = (shown - _frames(lines)) | {hit, len(lines) - 1, *ignored}
    rows: list[str] = []
    for number in sorted(shown):
        if number and number - 1 not in shown:
            rows.append("…")
        if number == hit:
            rows += wrap(lines[number], "")
        else:
            rows.append(_cut(lines[number]))
    return rows


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH - 2 else f"{line[: _WIDTH - 4]} …"


def _frames(lines: Sequence[str]) -> set[int]:
    found: set[int] = set()
    for number, line in enumerate(lines):
        if line.startswith("Traceback (most recent") or (
            number - 1 in found and line.startswith("  ")
        ):
            found.add(number)
    return found

"""Tables as plain text and as HTML that reads the same in a light and in a dark notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ("Row", "html_table", "text_table")

# Nothing but transparent backgrounds and the page's own text colour, so that both themes work;
# each kind of row also has a word in one of its cells, because colour alone tells nobody anything.
_ROW_STYLES = {
    "": "background:transparent",
    "common": "background:transparent;opacity:.6",
    "hole": "background:repeating-linear-gradient(45deg,transparent 0 6px,"
    "rgba(128,128,128,.35) 6px 8px)",
    "wrong": "background:rgba(229,72,77,.12);box-shadow:inset 4px 0 0 #e5484d",
}


class Row(NamedTuple):
    """One line of a table: its cells, and its kind ("", "common", "hole" or "wrong")."""

    cells: tuple[str, ...]
    kind: str = ""


def text_table(columns: Sequence[str], rows: Iterable[Row], *, right: Iterable[int] = ()) -> str:
    """The rows under their column heads; columns whose index is in ``right`` are right-aligned.

    >>> rows = [Row(("8", "saddr")), Row(("36", "daddr"))]
    >>> print(text_table(("offset", "field"), rows, right=[0]))
    offset  field
         8  saddr
        36  daddr
    """
    lines = [tuple(columns), *(row.cells for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    right_columns = frozenset(right)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right_columns else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(
    caption: str, columns: Sequence[str], rows: Iterable[Row], *, right: Iterable[int] = ()
) -> str:
    """The same table as HTML: a caption, column heads with their scope, no style sheet needed.

    >>> html_table("two", ("a",), [Row(("<b>",))]).count("&lt;b&gt;")
    1
    """
    right_columns = frozenset(right)

    def align(index: int) -> str:
        return f"text-align:{'right' if index in right_columns else 'left'}"

    heads = "".join(
        f'<th scope="col" style="{align(i)}">{escape(name)}</th>' for i, name in enumerate(columns)
    )
    body = "\n".join(
        f'<tr style="{_ROW_STYLES[row.kind]}">'
        + "".join(f'<td style="{align(i)}">{escape(cell)}</td>' for i, cell in enumerate(row.cells))
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;color:inherit;font-variant-numeric:tabular-nums">\n'
        '<caption style="text-align:left;caption-side:top;white-space:nowrap">'
        f"{escape(caption)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    )

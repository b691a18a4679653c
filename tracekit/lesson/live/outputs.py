"""A widget on the page and, below it, what stands for it where no widget can be drawn."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ("Outputs", "folded")


class Outputs:
    """Where a widget is shown: once for each cell that shows it.

    What an export has is an output of its own, which :meth:`update` replaces: to replace the
    widget's own output would take the reader's focus away.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def show(self, widget: Any, plain: str, still: Mapping[str, str]) -> None:
        """Show the widget, or ``plain`` text, and below it ``still``, by its MIME types."""
        from IPython.display import display

        display({**widget._repr_mimebundle_(), "text/plain": plain}, raw=True)
        self._names.append(f"tracekit-{uuid.uuid4()}")
        display(dict(still), raw=True, display_id=self._names[-1])

    def update(self, still: Mapping[str, str]) -> None:
        """Put ``still`` in the place of what stands below each."""
        from IPython.display import update_display

        for name in self._names:
            update_display(dict(still), raw=True, display_id=name)


def folded(summary: str, html: str) -> str:
    """HTML to be opened by the reader."""
    return f"<details><summary>{summary}</summary>{html}</details>"

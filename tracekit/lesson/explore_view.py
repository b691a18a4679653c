"""The explorer's widgets: a search and a list, four views of what is chosen, a run and its events.

Everything is reached by keyboard. JupyterLab takes the arrow keys to itself, also in a list: so
Enter in the search, and two buttons, go through what was found. Colours are the page's, and on a
narrow window what stands side by side goes one below the other.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from tracekit.errors import TracekitError
from tracekit.lesson.explore_shown import events_table, fields_table
from tracekit.lesson.live.controls import answer_at_once, close_widgets
from tracekit.lesson.source import show_source

if TYPE_CHECKING:
    from tracekit.lesson.explore import Explorer

__all__ = ("ExplorerView",)

_LISTED = 400  # names: a longer list is slow to send at each letter that is typed
_LINES = 16  # of the list
_ALL = "calc(100% - 4px)"  # of the width, without the margins that widgets have
_VIEWS = ("fields", "layout", "C program", "script")
_STYLE = """<style>
.tracekit-explore-list select, .tracekit-explore-script textarea {
  font-family: var(--jp-code-font-family, monospace);
}
.tracekit-explore-script textarea { white-space: pre; overflow-x: auto; tab-size: 8; }
.tracekit-explore-fields, .tracekit-explore-layout, .tracekit-explore-program,
.tracekit-explore-events { overflow-x: auto; }
.tracekit-explore td, .tracekit-explore th { padding: 0 0.6em; line-height: 1.6; }
.tracekit-explore-events td { white-space: nowrap; }
</style>"""


class ExplorerView:
    """The widgets of one explorer; ``widget`` holds them all."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._filling = False
        total = len(explorer.tracepoints.names)
        counts = explorer.tracepoints.categories
        self._category = ipywidgets.Dropdown(
            options=[
                (f"all {len(counts)} categories", ""),
                *((f"{name} ({count})", name) for name, count in counts.items()),
            ],
            description="category",
            **_fitting("19em"),
        )
        self._text = ipywidgets.Text(
            placeholder=f"words, in {total:,} names", description="search", **_fitting("20em")
        )
        self._in_fields = ipywidgets.Checkbox(
            description="in names of fields, too", indent=False, layout={"width": "auto"}
        )
        self._found = ipywidgets.HTML()
        self._list = ipywidgets.Select(
            rows=_LINES, layout={"width": "22em", "max_width": _ALL}, description=""
        )
        self._list.tooltip = "tracepoints found"
        self._previous, self._next = (
            ipywidgets.Button(description=word, layout={"width": "auto"})
            for word in ("previous", "next")
        )
        self._views = ipywidgets.ToggleButtons(
            options=_VIEWS, style={"button_width": "auto"}, layout={"width": "auto"}
        )
        self._fields, self._layout, self._program = (ipywidgets.HTML() for _ in range(3))
        self._script = ipywidgets.Textarea(rows=_LINES, layout={"width": _ALL})
        self._file = ipywidgets.Text(description="file", **_fitting("20em"))
        self._save = ipywidgets.Button(description="Save the script", icon="save")
        self._saved, self._events = ipywidgets.HTML(), ipywidgets.HTML()
        row = {"flex_flow": "row wrap", "align_items": "center"}
        save = ipywidgets.Box([self._file, self._save, self._saved], layout=row)
        self._pages = {
            "fields": self._fields,
            "layout": self._layout,
            "C program": self._program,
            "script": ipywidgets.VBox([self._script, save]),
        }
        shown = ipywidgets.VBox(
            [self._views, *self._pages.values()],
            layout={"flex": "1 1 26em", "min_width": "0", "max_width": "100%"},
        )
        steps = ipywidgets.Box([self._previous, self._next], layout=row)
        found = ipywidgets.VBox([self._list, steps], layout={"max_width": "100%"})
        side_by_side = {"flex_flow": "row wrap", "align_items": "flex-start", "width": "100%"}
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HTML(_STYLE),
                ipywidgets.Box([self._category, self._text, self._in_fields], layout=row),
                self._found,
                ipywidgets.Box([found, shown], layout=side_by_side),
                explorer.plot.widget,
                self._events,
            ],
            layout={"width": "100%"},
        )
        self._name_the_parts(shown)
        self._connect()
        self.show_tracepoint()
        self._search()
        self._turn_to(_VIEWS[0])

    # what the explorer tells it -----------------------------------------------------------

    def show_tracepoint(self) -> None:
        """Show the tracepoint that is chosen now."""
        explorer = self._explorer
        self._filling = True
        try:
            options = self._list.options
            self._list.value = explorer.name if explorer.name in options else None
        finally:
            self._filling = False
        self._fields.value = fields_table(explorer.format)
        self._program.value = show_source(explorer.program.program)._repr_html_()
        self._script.value = explorer.script()
        self._file.value = f"{explorer.format.name}.py"
        self._saved.value = ""
        self.show_events()

    def show_events(self) -> None:
        """Show the last events, and the last one's bytes."""
        self._events.value = events_table(self._explorer.last_events(), self._explorer.format)
        if self._views.value == "layout":
            self._show_layout()

    def close(self) -> None:
        """Take the widgets away."""
        close_widgets(self.widget)

    def _show_layout(self) -> None:
        record = self._explorer.record
        words = (
            "Where each field lies in the record. Start fills in the last event's bytes."
            if record is None
            else "The record of the last event; a program can't read its first 8 bytes."
        )
        self._layout.value = f"<p>{words}</p>{self._explorer.lens._repr_html_()}"

    # what the reader does -----------------------------------------------------------------

    def _connect(self) -> None:
        for widget in (self._category, self._text, self._in_fields):
            widget.observe(lambda _change: self._search(), names="value")
        self._text.on_msg(lambda _text, content, _buffers: self._answer(content))
        self._previous.on_click(lambda _button: self._step(-1))
        self._next.on_click(lambda _button: self._step(1))
        self._list.observe(lambda change: self._choose(change["new"]), names="value")
        self._views.observe(lambda change: self._turn_to(change["new"]), names="value")
        self._save.on_click(lambda _button: self._save_script())
        for widget in (
            *(self._category, self._text, self._in_fields, self._list, self._previous, self._next),
            *(self._views, self._script, self._file, self._save),
        ):
            answer_at_once(widget)

    def _name_the_parts(self, shown: Any) -> None:
        for widget, name in (
            (self.widget, ""),
            (self._category, "-category"),
            (self._text, "-search"),
            (self._in_fields, "-in-fields"),
            (self._found, "-found"),
            (self._list, "-list"),
            (self._previous, "-previous"),
            (self._next, "-next"),
            (shown, "-shown"),
            (self._views, "-views"),
            (self._fields, "-fields"),
            (self._layout, "-layout"),
            (self._program, "-program"),
            (self._script, "-script"),
            (self._file, "-file"),
            (self._save, "-save"),
            (self._saved, "-saved"),
            (self._events, "-events"),
        ):
            widget.add_class(f"tracekit-explore{name}")

    def _search(self) -> None:
        found = self._explorer.search(
            self._text.value, category=self._category.value, fields=self._in_fields.value
        )
        chosen = self._explorer.name
        # those around the chosen one, where not all can be listed
        middle = found.index(chosen) if chosen in found else 0
        begin = max(0, min(middle - _LISTED // 2, len(found) - _LISTED))
        listed = found[begin : begin + _LISTED]
        self._filling = True
        try:
            self._list.options = listed
            self._list.value = chosen if chosen in listed else None
        finally:
            self._filling = False
        count = f"{len(found):,} tracepoint{'' if len(found) == 1 else 's'}"
        more = f", {len(listed)} of them are listed" if len(found) > len(listed) else ""
        self._found.value = f'<div role="status">{count} found{more}</div>'

    def _choose(self, name: str | None) -> None:
        if name is None or self._filling:
            return
        try:
            self._explorer.select(name)
        except TracekitError as error:
            self._fields.value = f"<p>{escape(str(error))}</p>"

    def _answer(self, content: dict[str, Any]) -> None:
        # Enter, in the field of the search
        if content.get("event") == "submit":
            self._step(1)

    def _step(self, by: int) -> None:
        """Choose the one before or behind the chosen one; the first, if that is not listed."""
        listed = self._list.options
        chosen = self._explorer.name
        at = listed.index(chosen) + by if chosen in listed else 0
        if 0 <= at < len(listed):
            self._choose(listed[at])

    def _turn_to(self, view: str) -> None:
        for name, page in self._pages.items():
            page.layout.display = None if name == view else "none"
        if view == "layout":
            self._show_layout()

    def _save_script(self) -> None:
        try:
            file = self._explorer.save_script(self._file.value)
        except TracekitError as error:
            self._saved.value = f'<div role="alert">{escape(str(error))}</div>'
        else:
            self._saved.value = f'<div role="status">saved: {escape(str(file.resolve()))}</div>'


def _fitting(width: str) -> dict[str, Any]:
    return {
        "style": {"description_width": "initial"},
        "layout": {"width": width, "max_width": _ALL},
    }

"""The widgets of a live plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets

from tracekit.lesson.live.controls import Applier, Slider, Switch, answer_at_once, close_widgets
from tracekit.lesson.live.drawing import Drawing
from tracekit.lesson.live.figures import PanelFigure
from tracekit.lesson.live.outputs import folded
from tracekit.lesson.live.picture import Picture
from tracekit.lesson.live.status import Status

__all__ = ("View",)

# JupyterLab marks each widget so whose kernel has been restarted or has ended.
_STYLE = """<style>
.tracekit-disconnected { display: none; }
.jupyter-widgets-disconnected .tracekit-disconnected { display: block; }
.jupyter-widgets-disconnected .tracekit-status,
.tracekit-live .jupyter-widgets-disconnected::before,
.tracekit-live.jupyter-widgets-disconnected::before { display: none; }
.tracekit-live td, .tracekit-live th { padding: 0.15em 0.6em; }
.tracekit-figure .axislabel { fill: var(--jp-ui-font-color1, currentColor) !important; }
.tracekit-figure path.line[style*="10, 10"],
.tracekit-figure path.line[style*="10px, 10px"] { stroke-dasharray: 7 3 !important; }
.tracekit-live button.jupyter-widgets-disconnected { opacity: 0.4; pointer-events: none; }
</style>
<div class="tracekit-disconnected"><b>The notebook's kernel was restarted or has ended.</b> What was
attached is detached, and this picture stands still. Run the cell again.</div>"""


class View:
    """The widgets of one plot: its controls, its status, its figures, the same in numbers.

    ``start`` is called with the seconds and ``stop`` without anything when the buttons are pressed.
    """

    def __init__(
        self,
        drawings: Sequence[Drawing],
        controls: Sequence[Slider | Switch],
        *,
        seconds: float,
        start: Callable[[float], object],
        stop: Callable[[], object],
    ) -> None:
        """Make the widgets; needs bqplot and ipywidgets."""
        self._start = ipywidgets.Button(description="Start", icon="play")
        self._stop = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self._seconds = ipywidgets.BoundedFloatText(
            value=seconds,
            min=1,
            max=600,
            step=1,
            description="seconds",
            style={"description_width": "initial"},
            layout={"width": "130px"},
        )
        self._state, self._numbers, self._refused, self._twin = (
            ipywidgets.HTML() for _ in range(4)
        )
        self._refused.add_class("tracekit-refused")
        self._start.on_click(lambda _button: start(self._seconds.value))
        self._stop.on_click(lambda _button: stop())
        for button, name in ((self._start, "start"), (self._stop, "stop")):
            button.add_class(f"tracekit-{name}")
        moved = [self._control(control) for control in controls]
        for widget in (self._start, self._stop, self._seconds, *moved):
            answer_at_once(widget)
        self._figures = [PanelFigure(drawing) for drawing in drawings]
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HTML(_STYLE),
                ipywidgets.Box([self._start, self._stop, self._seconds], layout=row),
                ipywidgets.Box([*moved, self._refused], layout=row),
                ipywidgets.Box([self._state, self._numbers], layout=row),
                ipywidgets.Box(
                    [figure.box for figure in self._figures], layout={"flex_flow": "row wrap"}
                ),
                self._twin,
            ],
            layout={"width": "100%"},
        )
        self.widget.add_class("tracekit-live")
        self._show_status(Status())

    def show(self, drawings: Sequence[Drawing], status: Status, *, words: bool) -> None:
        """Draw what is there now, and say it in words where wanted."""
        for figure, drawing in zip(self._figures, drawings, strict=True):
            figure.show(drawing, words=words)
        if words:
            self._show_status(status)

    def end(self, picture: Picture) -> None:
        """The same in words and numbers, for those who don't see the figures."""
        self._twin.value = folded("the same in numbers", picture.table())

    def close(self) -> None:
        """Take the widgets away."""
        close_widgets(self.widget)

    def _control(self, control: Slider | Switch) -> Any:
        widget = control.widget()
        widget.add_class("tracekit-slider" if isinstance(control, Slider) else "tracekit-switch")
        apply = Applier(control.set, self._say)
        widget.observe(lambda change: apply(change["new"]), names="value")
        return widget

    def _say(self, error: BaseException | None) -> None:
        self._refused.value = "" if error is None else escape(str(error))

    def _show_status(self, status: Status) -> None:
        words = status.words
        if status.error is not None:
            words += f": {status.error}"
        # A reader of the screen hears the state when it changes, and not each number.
        state = (
            f'<div class="tracekit-status" data-state="{status.state}" role="status">'
            f"{escape(words)}</div>"
        )
        if self._state.value != state:
            self._state.value = state
            running = status.state in ("starting", "running")
            if status.state == "starting":
                self._twin.value = ""
            self._start.disabled, self._stop.disabled = running, not running
        if status.state != "ready":
            self._numbers.value = f'<div style="margin-left:1em">{escape(status.numbers)}</div>'

"""LivePlot: an experiment with Start, Stop and seconds, drawn while it runs.

Reading (:mod:`~tracekit.lesson.live.run`) and drawing are apart. The browser gets at most ten
updates a second, each of the present: it has no way to say that it is late, and what it can't draw
in time would pile up.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Sequence
from html import escape
from typing import Any

from tracekit.capture import registry
from tracekit.capture.events import Events
from tracekit.errors import TracekitError
from tracekit.lesson.live.controls import Applier, Slider, Switch, answer_at_once
from tracekit.lesson.live.panel import Panel
from tracekit.lesson.live.picture import Drawing, Picture
from tracekit.lesson.live.run import Experiment, Run, Status

__all__ = ("LivePlot",)

_DRAW_EVERY = 0.1  # seconds
_WORDS_EVERY = 5  # drawings: text that changes faster can't be read
_WORDS = {
    "ready": "ready",
    "starting": "starting: compiling and attaching",
    "running": "running",
    "ended": "ended, nothing is attached",
    "failed": "failed, nothing is attached",
}
# JupyterLab marks each widget so whose kernel has been restarted or has ended.
_STYLE = """<style>
.tracekit-disconnected { display: none; }
.jupyter-widgets-disconnected .tracekit-disconnected { display: block; }
.jupyter-widgets-disconnected .tracekit-status,
.tracekit-live .jupyter-widgets-disconnected::before,
.tracekit-live.jupyter-widgets-disconnected::before { display: none; }
.tracekit-live button.jupyter-widgets-disconnected { opacity: 0.4; pointer-events: none; }
</style>
<div class="tracekit-disconnected"><b>The notebook's kernel was restarted or has ended.</b> What was
attached is detached, and this picture stands still. Run the cell again.</div>"""

_plots: weakref.WeakSet[LivePlot] = weakref.WeakSet()


class LivePlot:
    """Figures that follow an experiment while it runs; stops by itself after ``seconds``.

    ``experiment`` is a function without arguments; it gives a context manager that yields an open
    :class:`~tracekit.capture.probe.Probe` or a sequence of them (a probe is such a context manager
    itself). Start enters it, on a thread of its own, and Stop or the end of the seconds leaves it.
    Shown in a notebook, the plot has its controls; :meth:`start` and :meth:`wait` do the same from
    code. Running the cell again closes what it made before.

    :param panels: the figures.
    :param seconds: how long a run takes.
    :param controls: sliders and switches, which act whether the plot runs or not.
    :param keep: how many of each probe's last events :meth:`events` gives.
    """

    def __init__(
        self,
        experiment: Experiment,
        panels: Sequence[Panel],
        *,
        seconds: float = 10.0,
        controls: Sequence[Slider | Switch] = (),
        keep: int = 20_000,
    ) -> None:
        self.seconds = seconds
        self.cell = registry.running_cell()
        self._experiment = experiment
        self._panels = tuple(panels)
        self._controls = tuple(controls)
        self._keep = keep
        self._run: Run | None = None
        self._view: _View | None = None
        self._painted = threading.Event()  # nobody draws
        self._painted.set()
        self._displays: list[str] = []
        self._lock = threading.Lock()
        registry.close_earlier_runs(_plots, self.cell)
        _plots.add(self)

    # the run ------------------------------------------------------------------------------

    def start(self, seconds: float | None = None) -> LivePlot:
        """Begin a run and return at once; a run that is under way is stopped first."""
        with self._lock:
            if seconds is not None:
                self.seconds = seconds
            if self._run is not None:
                self._run.stop()
                self._run.join()
            self._painted.wait()
            self._run = Run(self._experiment, self._panels, seconds=self.seconds, keep=self._keep)
            self._paint()
        return self

    def stop(self) -> None:
        """Ask the run to end, and return at once; nothing happens where there is none."""
        if self._run is not None:
            self._run.stop()

    def wait(self) -> Picture:
        """Wait for the end of the run, and give its figures standing still.

        An interrupt stops the run. Raises what the run raised, and
        :class:`~tracekit.errors.TracekitError` where none was started.
        """
        run = self._run
        if run is None:
            raise TracekitError("no run was started", "call start(), or press Start")
        try:
            # in short steps: without a timeout some Pythons wait deaf to an interrupt
            while not run.join(0.2):
                pass
            while not self._painted.wait(0.2):
                pass
        except BaseException:
            run.stop()
            raise
        error = run.status.error
        if error is not None:
            raise error
        return run.picture()

    def close(self) -> None:
        """Stop, wait until nothing is attached, take the figures away; may be called again."""
        self.stop()
        if self._run is not None:
            self._run.join()
        self._painted.wait()
        if self._view is not None:
            self._view.close()
            self._view = None

    def __enter__(self) -> LivePlot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what it found ------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None and self._run.running

    @property
    def status(self) -> Status:
        """How the run is doing, or did."""
        return Status() if self._run is None else self._run.status

    @property
    def picture(self) -> Picture:
        """The figures as they are now, standing still."""
        if self._run is None:
            return Picture(self._empty(), "no run yet")
        return self._run.picture()

    def events(self, probe: str | None = None) -> Events:
        """The last events of a probe (the first, unless named), at most ``keep``.

        Raises :class:`~tracekit.errors.TracekitError` where there are none.
        """
        if self._run is None:
            raise TracekitError("no run was started", "call start(), or press Start")
        return self._run.events(probe)

    def __repr__(self) -> str:
        status = self.status
        if status.state == "ready":
            return f"LivePlot: ready, {self.seconds:g} s; start() begins, wait() gives the picture"
        if status.error is not None:
            return f"LivePlot: {_WORDS['failed']}\n{status.error}"
        if status.state == "starting":
            return f"LivePlot: {_WORDS['starting']}"
        if self.running:
            return f"LivePlot: {_WORDS[status.state]} · {status.numbers}"
        return repr(self.picture)

    # showing ------------------------------------------------------------------------------

    def _ipython_display_(self) -> None:
        from IPython.display import display

        with self._lock:
            if self._view is None:
                self._view = _View(self)
            # With an id of its own, the output can be changed when the run has ended.
            self._displays.append(f"tracekit-{uuid.uuid4()}")
            display(self._bundle(), raw=True, display_id=self._displays[-1])
            self._paint()

    @property
    def widget(self) -> Any:
        """The figures and controls as one widget, to be put into another."""
        with self._lock:
            if self._view is None:
                self._view = _View(self)
            self._paint()
            return self._view.widget

    def _bundle(self) -> dict[str, Any]:
        """The widgets, and what stands in their place where none can be drawn."""
        view = dict(self._view.widget._repr_mimebundle_()) if self._view else {}
        html = self.picture._repr_html_() if self._run else f"<p>{escape(repr(self))}</p>"
        return {**view, "text/plain": repr(self), "text/html": html}

    def _empty(self) -> tuple[Drawing, ...]:
        return tuple(Drawing(panel.title, self.seconds, ()) for panel in self._panels)

    def _paint(self) -> None:
        """Draw the run, on a thread of its own, if there is one, a place to draw, and no thread."""
        if self._run is None or self._view is None or not self._painted.is_set():
            return
        self._painted.clear()
        threading.Thread(
            target=self._follow, args=(self._run, self._view), name="tracekit drawing", daemon=True
        ).start()

    def _follow(self, run: Run, view: _View) -> None:
        try:
            self._draw(run, view)
        finally:
            self._painted.set()

    def _draw(self, run: Run, view: _View) -> None:
        count, due = 0, time.monotonic()
        over = False
        while not over:
            due = max(due + _DRAW_EVERY, time.monotonic())
            over = not run.running
            view.show(run.drawings(), run.status, words=over or count % _WORDS_EVERY == 0)
            count += 1
            if not over:
                run.join(max(due - time.monotonic(), 0))
        view.end(run.picture())
        self._update_displays()

    def _update_displays(self) -> None:
        from IPython.display import update_display

        for name in self._displays:
            update_display(self._bundle(), raw=True, display_id=name)


class _View:
    """The widgets of one plot."""

    def __init__(self, plot: LivePlot) -> None:
        import ipywidgets

        from tracekit.lesson.live.figures import PanelFigure

        self._start = ipywidgets.Button(description="Start", icon="play")
        self._stop = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self._seconds = ipywidgets.BoundedFloatText(
            value=plot.seconds,
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
        self._start.on_click(lambda _button: plot.start(self._seconds.value))
        self._stop.on_click(lambda _button: plot.stop())
        for button, name in ((self._start, "start"), (self._stop, "stop")):
            button.add_class(f"tracekit-{name}")
        controls = [self._control(control) for control in plot._controls]
        for widget in (self._start, self._stop, self._seconds, *controls):
            answer_at_once(widget)
        self._figures = [PanelFigure(drawing) for drawing in plot._empty()]
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.widget = ipywidgets.VBox(
            [
                ipywidgets.HTML(_STYLE),
                ipywidgets.Box([self._start, self._stop, self._seconds], layout=row),
                ipywidgets.Box([*controls, self._refused], layout=row),
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
        self._twin.value = (
            f"<details><summary>the same in numbers</summary>{picture.table()}</details>"
        )

    def close(self) -> None:
        """Take the widgets away, those inside others too."""
        from ipywidgets import Widget

        inside = [self.widget]
        while inside:
            widget: Widget = inside.pop()
            inside += getattr(widget, "children", ())
            widget.close()

    def _control(self, control: Slider | Switch) -> Any:
        widget = control.widget()
        widget.add_class("tracekit-slider" if isinstance(control, Slider) else "tracekit-switch")
        apply = Applier(control.set, self._say)
        widget.observe(lambda change: apply(change["new"]), names="value")
        return widget

    def _say(self, error: BaseException | None) -> None:
        self._refused.value = "" if error is None else escape(str(error))

    def _show_status(self, status: Status) -> None:
        words = _WORDS[status.state]
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

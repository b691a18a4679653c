"""LivePlot: an experiment with Start, Stop and seconds, drawn while it runs.

Reading (:mod:`~tracekit.lesson.live.run`) and drawing are apart. The browser gets at most ten
updates a second, each of the present: it has no way to say that it is late, and what it can't draw
in time would pile up.
"""

from __future__ import annotations

import textwrap
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracekit.capture import registry
from tracekit.capture.events import Events
from tracekit.errors import TracekitError
from tracekit.lesson.live.controls import Slider, Switch
from tracekit.lesson.live.drawing import Drawing
from tracekit.lesson.live.outputs import Outputs, folded
from tracekit.lesson.live.panel import Panel
from tracekit.lesson.live.picture import Picture
from tracekit.lesson.live.run import Experiment, Run
from tracekit.lesson.live.status import Status

if TYPE_CHECKING:
    from tracekit.lesson.live.view import View

__all__ = ("LivePlot",)

_DRAW_EVERY = 0.1  # seconds
_WORDS_EVERY = 5  # drawings: text that changes faster can't be read
_plots: weakref.WeakSet[LivePlot] = weakref.WeakSet()


class LivePlot:
    """Figures that follow an experiment while it runs; stops by itself after ``seconds``.

    ``experiment`` is a function without arguments; it gives a context manager that yields an open
    :class:`~tracekit.capture.probe.Probe` or a sequence of them (a probe is such a context manager
    itself). Start enters it, on a thread of its own, and Stop or the end of the seconds leaves it.
    Shown in a notebook, the plot has its controls; :meth:`start` and :meth:`wait` do the same from
    code. In JupyterLab the controls act also while a cell runs; where they do not, interrupt the
    cell. Running the cell again closes what it made before.

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
        self._view: View | None = None
        self._painted = threading.Event()  # nobody draws
        self._painted.set()
        self._outputs = Outputs()
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
            return f"LivePlot: {status.words}\n{status.error}"
        if status.state == "starting":
            return f"LivePlot: {status.words}"
        if self.running:
            return f"LivePlot: {status.words} · {status.numbers}"
        return repr(self.picture)

    # showing ------------------------------------------------------------------------------

    def _ipython_display_(self) -> None:
        with self._lock:
            titles = ", ".join(panel.title for panel in self._panels)
            widget = self._make_view().widget
            plain = textwrap.fill(f"live figures: {titles}", 80)
            self._outputs.show(widget, plain, self._still())
            self._paint()

    @property
    def widget(self) -> Any:
        """The figures and controls as one widget, to be put into another."""
        with self._lock:
            view = self._make_view()
            self._paint()
            return view.widget

    def _make_view(self) -> View:
        from tracekit.lesson.live.view import View

        if self._view is None:
            self._view = View(
                self._empty(),
                self._controls,
                seconds=self.seconds,
                start=self.start,
                stop=self.stop,
            )
        return self._view

    def _still(self) -> dict[str, str]:
        if self._run is None or self._run.running:
            return {"text/plain": "", "text/html": ""}
        html = self.picture._repr_html_()
        return {
            "text/plain": repr(self),
            "text/html": folded("the picture of this run, for exports", html),
        }

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

    def _follow(self, run: Run, view: View) -> None:
        try:
            self._draw(run, view)
        finally:
            self._painted.set()

    def _draw(self, run: Run, view: View) -> None:
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
        self._outputs.update(self._still())

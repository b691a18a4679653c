"""The explorer: look for a tracepoint, read its fields, watch it live, take its program home."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit.capture import registry
from tracekit.capture.equivalent import EquivalentProgram, equivalent_program
from tracekit.capture.events import Events
from tracekit.capture.probe import Probe
from tracekit.capture.watch import decode_watched, open_watch
from tracekit.errors import TracekitError
from tracekit.lesson.explore_file import write_new
from tracekit.lesson.explore_search import Tracepoints
from tracekit.lesson.explore_shown import ROWS, events_table, fields_table, layout
from tracekit.lesson.lens import Lens
from tracekit.lesson.live.outputs import Outputs, folded
from tracekit.lesson.live.panel import Panel
from tracekit.lesson.live.plot import LivePlot
from tracekit.tracepoints.format import Format

if TYPE_CHECKING:
    from tracekit.lesson.explore_view import ExplorerView

__all__ = ("Explorer", "explore")

_FIRST = "sched:sched_switch"  # fires on every machine, all the time
_SHOW_EVERY = 0.2  # seconds

_explorers: weakref.WeakSet[Explorer] = weakref.WeakSet()


class Explorer:
    """One tracepoint out of all, and what can be done with it; made by :func:`explore`.

    ``name``, ``format``, ``program`` and :meth:`script` are those of the tracepoint that is chosen,
    ``events`` those of the last run. What the buttons do, :meth:`select`, :meth:`start`,
    :meth:`stop`, :meth:`wait` and :meth:`save_script` do from code.
    """

    def __init__(self, name: str | None, *, kernel: str | None, seconds: float) -> None:
        self.tracepoints = Tracepoints(kernel)
        first = _FIRST if _FIRST in self.tracepoints.names else self.tracepoints.names[0]
        self.format: Format = self.tracepoints.format(name or first)
        self.cell = registry.running_cell()
        self._watched: Format | None = None
        self._followed = threading.Event()  # nobody follows a run
        self._followed.set()
        self._view: ExplorerView | None = None
        self._outputs = Outputs()
        registry.close_earlier_runs(_explorers, self.cell)
        _explorers.add(self)
        self.plot = LivePlot(self._experiment, [Panel("events a second")], seconds=seconds)

    # the tracepoint -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """``category:event`` of the tracepoint that is chosen."""
        return self.format.full_name

    @property
    def program(self) -> EquivalentProgram:
        """The C program that sends what is shown here."""
        return equivalent_program(self.format)

    def script(self) -> str:
        """The program as a stand-alone bcc script."""
        return self.program.script()

    def search(
        self, text: str = "", *, category: str = "", fields: bool = False
    ) -> tuple[str, ...]:
        """The names that hold every word; with ``fields``, a field's name may hold it as well."""
        return self.tracepoints.search(text, category=category, fields=fields)

    def select(self, name: str) -> Explorer:
        """Choose another tracepoint; a run is stopped. Raises what ``read_format`` does."""
        if name != self.name:
            self.format = self.tracepoints.format(name)
            self.stop()
        if self._view is not None:
            self._view.show_tracepoint()
        return self

    def save_script(self, path: str | Path = "") -> Path:
        """Write the script into a new file, ``<event>.py`` here unless given; gives its path.

        :raises TracekitError: the file is there already, or can't be written.
        """
        return write_new(Path(path or f"{self.format.name}.py"), self.script())

    # the run ------------------------------------------------------------------------------

    def start(self, seconds: float | None = None) -> Explorer:
        """Watch the tracepoint, and return at once; a run that is under way is stopped first."""
        self.plot.start(seconds)
        return self

    def stop(self) -> None:
        """Ask the run to end, and return at once."""
        self.plot.stop()

    def wait(self) -> Events:
        """Wait for the end of the run, and give its events; raises what the run raised."""
        self.plot.wait()
        self._followed.wait()
        return self.events

    def close(self) -> None:
        """Stop, and wait until nothing is attached."""
        self.plot.close()
        self._followed.wait()
        if self._view is not None:
            self._view.close()
            self._view = None

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether something may be attached."""
        return self.plot.running

    @property
    def events(self) -> Events:
        """The last events of the run, as ``watch`` gives them.

        :raises TracekitError: there was no run, or nothing was attached in it.
        """
        if self._watched is None:
            raise TracekitError(
                "nothing was watched yet", "press Start, or call start() and wait()"
            )
        return decode_watched(self._watched, self.plot.events())

    @property
    def record(self) -> bytes | None:
        """The bytes of the last event of the chosen tracepoint, the first 8 unread; or None."""
        watched = self._latest()
        return None if watched is None else bytes(watched["record"][-1])[: self.format.size]

    @property
    def lens(self) -> Lens:
        """The layout lens on :attr:`record`; without one, on the places of the fields alone."""
        return layout(self.format, self.record)

    @contextmanager
    def _experiment(self) -> Iterator[Probe]:
        fmt = self.format
        if self.tracepoints.kernel is not None:
            raise TracekitError(
                f"{self.tracepoints.kernel} is a kernel of the catalogue: nothing runs on it here",
                "explore() without a kernel shows the one that runs",
            )
        ended = threading.Event()
        with open_watch(fmt.full_name) as probe:
            self._watched = fmt
            self._followed.clear()
            threading.Thread(
                target=self._follow, args=(ended,), name="tracekit explorer", daemon=True
            ).start()
            try:
                yield probe
            finally:
                ended.set()

    def _follow(self, ended: threading.Event) -> None:
        try:
            over = False
            while not over:
                over = ended.wait(_SHOW_EVERY)
                if self._view is not None:
                    self._view.show_events()
            self._outputs.update(self._still())
        finally:
            self._followed.set()

    # showing ------------------------------------------------------------------------------

    def last_events(self) -> Events | None:
        """The last few events of the chosen tracepoint; None where there are none."""
        watched = self._latest()
        return None if watched is None else decode_watched(self.format, watched)

    def _latest(self) -> Events | None:
        if self._watched != self.format:
            return None
        with suppress(TracekitError):
            watched = self.plot.events()[-ROWS:]
            return watched if len(watched) else None
        return None

    def __repr__(self) -> str:
        count = len(self.tracepoints.names)
        status = self.plot.status
        lines = [
            f"Explorer of {count:,} tracepoints of {self.tracepoints.where}",
            f"{self.name} · {status.state}",
            "without widgets: search(text), select(name), format, lens, start(seconds=1),",
            "wait(), events, program, script(), save_script(file)",
        ]
        if status.error is not None:
            lines.append(str(status.error))
        return "\n".join(lines)

    def _ipython_display_(self) -> None:
        if self._view is None:
            from tracekit.lesson.explore_view import ExplorerView

            self._view = ExplorerView(self)
        self._outputs.show(self._view.widget, f"explorer: {self.name}", self._still())

    def _still(self) -> dict[str, str]:
        """What an export has of it: the fields, the layout, the last events."""
        parts = [fields_table(self.format), self.lens._repr_html_()]
        if events := self.last_events():
            parts.append(events_table(events, self.format))
        html = folded("what is shown here, for exports", "\n".join(parts))
        return {"text/plain": repr(self), "text/html": html}


def explore(
    name: str | None = None, *, kernel: str | None = None, seconds: float = 5.0
) -> Explorer:
    """Look for a tracepoint, read its fields and layout, watch it live, take its program home.

    In a notebook it shows itself with a search, a list, Start and Stop; the same can be called.

    :param name: ``category:event`` to begin with.
    :param kernel: look at a kernel of the catalogue in place of the running one; Start can't then.
    :param seconds: how long Start watches.
    :raises UnknownTracepoint: there is no such tracepoint.
    :raises TracefsUnavailable: tracefs is not mounted or not readable.
    :raises UnknownKernel: the catalogue does not have this kernel.

    >>> explorer = explore("tcp:tcp_probe", kernel="debian-12_6.1")
    >>> explorer.search("tcp state"), explorer.format["snd_cwnd"].offset
    (('tcp:tcp_cong_state_set',), 88)
    """
    return Explorer(name, kernel=kernel, seconds=seconds)

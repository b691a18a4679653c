"""What a reader can move while a live plot runs, and how its messages arrive in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ("Applier", "Slider", "Switch", "answer_at_once", "close_widgets")


@dataclass(frozen=True, slots=True)
class Slider:
    """A number to move from ``low`` to ``high``; ``set`` is called with it each time it changes."""

    label: str
    low: float
    high: float
    value: float
    set: Callable[[float], object]
    step: float = 1

    def widget(self) -> Any:
        """The slider, with its label and a field to type the number into."""
        import ipywidgets

        whole = all(float(n).is_integer() for n in (self.low, self.high, self.value, self.step))
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        number: Callable[[float], Any] = int if whole else float
        return kind(
            value=number(self.value),
            min=number(self.low),
            max=number(self.high),
            step=number(self.step),
            description=self.label,
            style={"description_width": "initial"},
            layout={"width": "360px", "max_width": "100%"},
        )


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that is on or off; ``set`` is called with True or False each time it changes."""

    label: str
    set: Callable[[bool], object]
    value: bool = False

    def widget(self) -> Any:
        """The switch as a checkbox."""
        import ipywidgets

        return ipywidgets.Checkbox(value=self.value, description=self.label, indent=False)


class Applier:
    """Calls ``set`` on a thread of its own with the latest value; those in between are let go.

    ``outcome`` is called after each with the error it raised, or None.
    """

    def __init__(
        self, set: Callable[[Any], object], outcome: Callable[[BaseException | None], None]
    ) -> None:
        self._set, self._outcome = set, outcome
        self._lock = threading.Lock()
        self._waiting: list[Any] = []
        self._busy = False

    def __call__(self, value: Any) -> None:
        """Apply a value soon; returns at once."""
        with self._lock:
            self._waiting = [value]
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._apply, name="tracekit control", daemon=True).start()

    def _apply(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                value = self._waiting.pop()
            error: BaseException | None = None
            try:
                self._set(value)
            except Exception as raised:
                error = raised
            self._outcome(error)


def close_widgets(widget: Any) -> None:
    """Take a widget away, and those inside it."""
    inside = [widget]
    while inside:
        one = inside.pop()
        inside += getattr(one, "children", ())
        one.close()


def answer_at_once(widget: Any) -> None:
    """Let a widget's messages be answered also while a cell runs.

    JupyterLab sends them to a thread beside the one that runs cells (a kernel subshell).
    ipykernel 7.4 moves them to where the widget last published something
    (``comm/comm.py``, ``_reply_subshell_for``), which is behind the cell that runs: so this widget
    keeps the browser's choice. Elsewhere nothing is changed.
    """
    comm = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default

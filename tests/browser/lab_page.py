"""JupyterLab as a reader uses it: open a notebook, run it, click, restart, look."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_server import LabServer
from playwright.sync_api import ConsoleMessage, Locator, Page

RUN_SECONDS = 240
STEP_SECONDS = 30
TALL = 4000  # pixels
WIDGET = "application/vnd.jupyter.widget-view+json"

# Messages of the browser's console that are nobody's mistake here, each with its reason.
HARMLESS = {
    r"<rect> attribute width: A negative value": "bqplot draws before the figure has a width, and"
    " again when it has one",
}

_READY = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady"
_PANEL = "window.jupyterapp.shell.currentWidget"
_LABEL_CELLS = f"{_PANEL}.content.widgets.forEach(w => w.node.dataset.cellId = w.model.id)"
_IDLE = f"() => {_PANEL}.sessionContext.session?.kernel?.status === 'idle'"
# A command that runs cells may say that it is done when a cell raises that is meant to. The kernel
# answers in order: when it has answered a request made after those of the cells, they have run.
_START = f"""name => {{
    window.tracekitRun = {{done: false, error: null}};
    const empty = {{code: '', silent: true, stop_on_error: false}};
    window.jupyterapp.commands.execute(name)
        .catch(error => {{ window.tracekitRun.error = String(error); }})
        .then(() => {_PANEL}.sessionContext.session.kernel.requestExecute(empty).done)
        .then(() => {{ window.tracekitRun.done = true; }});
}}"""
_SELECT = f"""id => {{
    const notebook = {_PANEL}.content;
    notebook.activeCellIndex = notebook.widgets.findIndex(w => w.model.id === id);
    notebook.deselectAll();
    return notebook.activeCell?.model.id === id;
}}"""
_NOTEBOOK_SETTINGS = "@jupyterlab/notebook-extension:tracker"
_SAVE_SETTING = "([id, raw]) => window.jupyterapp.serviceManager.settings.save(id, raw)"
_SELECT_FROM_TO = f"""([after, last]) => {{
    const notebook = {_PANEL}.content;
    const at = id => notebook.widgets.findIndex(w => w.model.id === id);
    notebook.activeCellIndex = at(after) + 1;
    notebook.deselectAll();
    if (at(last) > at(after) + 1) {{ notebook.extendContiguousSelectionTo(at(last)); }}
    return at(last) > at(after);
}}"""
_SELECT_LAST = f"() => {{ {_PANEL}.content.activeCellIndex = 1e9; }}"
_OUTPUTS = f"""() => Object.fromEntries({_PANEL}.content.widgets
    .filter(w => w.model.type === 'code')
    .map(w => [w.model.id, w.model.outputs.toJSON()]))"""
_TAGS = f"""() => Object.fromEntries({_PANEL}.content.widgets
    .map(w => [w.model.id, w.model.getMetadata('tags') ?? []]))"""
_SOURCES = f"""() => Object.fromEntries({_PANEL}.content.widgets
    .filter(w => w.model.type === 'code')
    .map(w => [w.model.id, w.model.sharedModel.getSource()]))"""
_SCROLLER = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer"


@dataclass
class LabPage:
    """One tab of a browser, showing JupyterLab."""

    page: Page
    server: LabServer
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(STEP_SECONDS * 1000)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self._note(f"page error: {error}"))

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url', '')})")

    def _note(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in HARMLESS):
            self.complaints.append(text)

    # the notebook ----------------------------------------------------------------------------

    def open(self, name: str) -> None:
        """Open a notebook of the server's folder, in a workspace where nothing else is open."""
        self.page.goto(f"{self.server.url}lab/tree/{name}?reset&token={self.server.token}")
        self.page.wait_for_function(_READY)
        self.page.wait_for_function(_IDLE)
        self.page.evaluate(_LABEL_CELLS)

    def run_all(self, seconds: float = RUN_SECONDS) -> None:
        """Run all cells, one after the other, and wait until the last has run."""
        self.start_command("notebook:run-all-cells")
        self.wait_until_run(seconds)

    def run_cell(self, cell_id: str, seconds: float = RUN_SECONDS) -> None:
        """Run one cell and wait until it has run."""
        self.start_cell(cell_id)
        self.wait_until_run(seconds)

    def run_on(self, after: str | None, cell_id: str, seconds: float = RUN_SECONDS) -> None:
        """Run the cells behind *after* (None: from the top) up to this one, this one too."""
        assert self.page.evaluate(_SELECT_FROM_TO, [after, cell_id]), f"no cells up to {cell_id}"
        self.start_command("notebook:run-cell")
        self.wait_until_run(seconds)

    def start_cell(self, cell_id: str) -> None:
        """Run one cell, and do not wait for it."""
        self.select(cell_id)
        self.start_command("notebook:run-cell")

    def set_windowing(self, mode: str) -> None:
        """Set what JupyterLab does with cells that are out of sight; before a notebook is open."""
        self.page.goto(f"{self.server.url}lab?reset&token={self.server.token}")
        self.page.wait_for_function("() => window.jupyterapp?.restored")
        setting = {"windowingMode": mode}
        self.page.evaluate(_SAVE_SETTING, [_NOTEBOOK_SETTINGS, json.dumps(setting)])

    def turn_wheel(self, pixels: int) -> None:
        """Turn the wheel of the mouse over the notebook; down is positive."""
        self.page.locator(_SCROLLER).hover()
        self.page.mouse.wheel(0, pixels)

    def scrolled(self) -> float:
        """How far the notebook is scrolled, in pixels."""
        return self.page.locator(_SCROLLER).evaluate("element => element.scrollTop")

    def select(self, cell_id: str) -> None:
        """Make a cell the active one."""
        assert self.page.evaluate(_SELECT, cell_id), f"there is no cell {cell_id}"

    def start_command(self, name: str) -> None:
        """Start one of JupyterLab's commands, and do not wait for it."""
        self.page.evaluate(_START, name)

    def wait_until_run(self, seconds: float = RUN_SECONDS) -> None:
        """Wait until the command started last has ended, and the kernel is idle."""
        self.page.wait_for_function("() => window.tracekitRun.done", timeout=seconds * 1000)
        error = self.page.evaluate("() => window.tracekitRun.error")
        assert error is None, error
        self.page.wait_for_function(_IDLE, timeout=seconds * 1000)

    def restart_kernel(self) -> None:
        """Restart the kernel as a reader does, and say yes to the question."""
        self.start_command("notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_until_run()

    def interrupt_kernel(self) -> None:
        """End the cell that runs."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
        self.wait_until_run()

    def wait_until(self, condition: Callable[[], object], seconds: float = STEP_SECONDS) -> None:
        """Wait until *condition* holds, while the browser goes on."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that"
            self.page.wait_for_timeout(50)

    # what it shows ---------------------------------------------------------------------------

    def cell(self, cell_id: str) -> Locator:
        """The element of a cell, by the cell's id."""
        return self.page.locator(f'[data-cell-id="{cell_id}"]')

    def sources(self) -> dict[str, str]:
        """The code of each code cell."""
        return self.page.evaluate(_SOURCES)

    def outputs(self) -> dict[str, list[dict[str, Any]]]:
        """The outputs of each code cell, as a notebook file has them."""
        return self.page.evaluate(_OUTPUTS)

    def errors(self) -> dict[str, str]:
        """The cells that raised something and are not tagged ``raises-exception``."""
        tags = self.page.evaluate(_TAGS)
        return {
            cell_id: f"{output['ename']}: {output['evalue']}"
            for cell_id, outputs in self.outputs().items()
            for output in outputs
            if output["output_type"] == "error" and "raises-exception" not in tags[cell_id]
        }

    def wait_for_widgets(self) -> list[str]:
        """Wait until every widget that an output has is drawn; return the cells that have one."""
        cells = []
        for cell_id, outputs in self.outputs().items():
            wanted = sum(WIDGET in output.get("data", {}) for output in outputs)
            if wanted:
                cells.append(cell_id)
                drawn = self.cell(cell_id).locator(".jp-OutputArea-output > .jupyter-widgets")
                drawn.nth(wanted - 1).wait_for(state="attached")
        return cells

    def broken_widgets(self) -> list[str]:
        """What JupyterLab shows in the place of a widget that it can't draw or ask."""
        shown = self.page.locator(
            ".jp-OutputArea-output:has-text('Error displaying widget'),"
            ".jp-OutputArea-output:has-text('model not found'),"
            ".jupyter-widgets-disconnected"
        )
        return [text.strip()[:200] for text in shown.all_inner_texts()]

    # pictures --------------------------------------------------------------------------------

    def screenshots(self, folder: Path, name: str, *, tall: int = TALL) -> list[Path]:
        """Take the whole notebook, from top to bottom, in pieces that are at most *tall*."""
        before = self.page.viewport_size
        self.page.set_viewport_size({"width": before["width"], "height": tall})
        scroller = self.page.locator(_SCROLLER)
        scroller.evaluate("element => element.scrollTo(0, 0)")
        # JupyterLab lets a reader scroll far behind the last cell.
        seen, top, bottom = scroller.evaluate("""element => [element.clientHeight,
            element.getBoundingClientRect().top,
            [...element.querySelectorAll('.jp-Cell')].at(-1).getBoundingClientRect().bottom]""")
        whole = math.ceil(bottom - top)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, top in enumerate(range(0, max(whole, 1), seen), 1):
            scroller.evaluate("(element, top) => element.scrollTo(0, top)", top)
            files.append(folder / f"{name}-{number}.png")
            self.page.screenshot(path=files[-1], scale="css")
        self.page.set_viewport_size(before)
        return files

    def screenshot(self, folder: Path, name: str) -> Path:
        """Take what the window shows now."""
        file = folder / f"{name}.png"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=file, scale="css")
        return file

    def picture(self, cells: Sequence[str], file: Path, *, width: int = 0) -> None:
        """Take these cells, which follow each other, and nothing around them.

        *width* is that of the window, in pixels, where it is not to stay as it is.
        """
        before = self.page.viewport_size
        self.page.set_viewport_size({"width": width or before["width"], "height": TALL})
        # no cell is the active one, with its own buttons, and the mouse is over no figure
        self.page.mouse.move(0, 0)
        self.page.evaluate("() => document.activeElement.blur()")
        self.page.evaluate(_SELECT_LAST)
        self.cell(cells[0]).evaluate("element => element.scrollIntoView({block: 'start'})")
        # out of the shadow of the toolbar
        self.page.locator(_SCROLLER).evaluate("element => element.scrollBy(0, -20)")
        boxes = [self.cell(cell_id).bounding_box() for cell_id in cells]
        left, top = min(b["x"] for b in boxes), min(b["y"] for b in boxes)
        right = max(b["x"] + b["width"] for b in boxes)
        bottom = max(b["y"] + b["height"] for b in boxes)
        file.parent.mkdir(parents=True, exist_ok=True)
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        self.page.screenshot(path=file, clip=clip, scale="device")
        self.page.set_viewport_size(before)

"""The explorer's runs, from code and through its widgets; nothing here has a browser."""

from __future__ import annotations

import os
import re
import threading

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from traitlets import default

import tracekit as tk
from tracekit.errors import AttachError, TracekitError
from tracekit.lesson.explore_view import ExplorerView

pytestmark = pytest.mark.live

LENGTH = 4801  # a prime number nobody else asks for


@pytest.fixture
def asking():
    """A thread that asks for LENGTH random bytes, a hundred times a second or so."""
    done = threading.Event()

    def ask():
        while not done.wait(0.01):
            os.getrandom(LENGTH)

    thread = threading.Thread(target=ask)
    thread.start()
    yield thread
    done.set()
    thread.join()


@pytest.fixture
def explorer():
    with tk.explore("syscalls:sys_enter_getrandom") as one:
        yield one
    assert not one.running


def test_a_run_gives_the_decoded_events(explorer, asking):
    events = explorer.start(seconds=1).wait()
    ours = events[events["common_pid"] == asking.native_id]
    assert len(ours) > 5
    assert set(ours["len"].tolist()) == {LENGTH}
    assert events.dtype == explorer.events.dtype
    assert explorer.plot.status.events == len(events)
    # the record is the last event's
    field = explorer.format["len"]
    stored = int.from_bytes(explorer.record[field.offset : field.end], "little")
    assert stored == events["len"][-1]
    assert f"len = {stored}" in repr(explorer.lens)


def test_the_table_follows_the_run_and_stays_short(explorer, asking, kernel):
    view = explorer._view = ExplorerView(explorer)
    explorer.start(seconds=60)
    kernel.wait_until(lambda: str(LENGTH) in view._events.value, 30)
    assert explorer.running, "it is shown while the run goes on"
    kernel.wait_until(lambda: view._events.value.count("<tr") == 11, 30)
    explorer.stop()
    explorer.wait()
    assert view._events.value.count("<tr") == 11, "the head and ten events"
    view._views.value = "layout"
    assert "The record of the last event" in view._layout.value


def test_choosing_another_one_ends_the_run(explorer, asking, kernel):
    view = explorer._view = ExplorerView(explorer)
    explorer.start(seconds=60)
    kernel.wait_until(lambda: explorer.plot.status.events > 0, 30)
    view._list.value = None
    view._text.value = "sched_process_exit"
    view._list.value = "sched:sched_process_exit"
    kernel.wait_until(lambda: not explorer.running, 30)
    assert tk.open_probes() == ()
    assert "No events of sched:sched_process_exit yet" in view._events.value
    assert explorer.record is None


def test_a_second_start_takes_the_place_of_the_first(explorer, asking):
    explorer.start(seconds=60)
    explorer.start(seconds=0.5)
    assert len(explorer.wait()) > 0
    assert tk.open_probes() == ()


def test_what_can_not_be_attached_is_said_in_the_widget(kernel):
    with tk.explore("ftrace:function") as explorer:
        explorer._view = ExplorerView(explorer)
        explorer.start(seconds=1)
        with pytest.raises(AttachError):
            explorer.wait()
        status = explorer.plot.widget

        def said():
            values, left = [], [status]
            while left:
                widget = left.pop()
                values.append(str(getattr(widget, "value", "")))
                left += getattr(widget, "children", ())
            return " ".join(values)

        kernel.wait_until(lambda: "written by ftrace itself" in said())
        assert "choose a tracepoint of another category" in said()
        assert 'data-state="failed"' in said()
        with pytest.raises(TracekitError):
            explorer.events  # noqa: B018


def test_closing_detaches(asking, kernel):
    explorer = tk.explore("syscalls:sys_enter_getrandom")
    explorer.start(seconds=60)
    kernel.wait_until(lambda: explorer.plot.status.events > 0, 30)
    explorer.close()
    assert (explorer.running, tk.open_probes()) == (False, ())


def test_running_its_cell_again_ends_the_former_run(asking, kernel, monkeypatch):
    monkeypatch.setattr("tracekit.capture.registry.running_cell", lambda: ("cell", 1))
    former = tk.explore("syscalls:sys_enter_getrandom").start(seconds=60)
    kernel.wait_until(lambda: former.plot.status.events > 0, 30)
    monkeypatch.setattr("tracekit.capture.registry.running_cell", lambda: ("cell", 2))
    with tk.explore("syscalls:sys_enter_getrandom") as explorer:
        assert (former.running, explorer.running) == (False, False)
        assert tk.open_probes() == ()


class ThisPython(AsyncKernelManager):
    """Starts the kernel of the very Python that runs the tests, whatever else is installed."""

    @default("kernel_spec_manager")
    def _without_folders(self):
        return KernelSpecManager(kernel_dirs=[], parent=self)


def test_a_notebook_without_a_browser_uses_it_from_code():
    cells = [
        "import os\nimport tracekit as tk",
        'explorer = tk.explore("sched:sched_switch")\nexplorer',
        "explorer.start(seconds=1)\nevents = explorer.wait()",
        "print(len(events), events.dtype.names, len(tk.open_probes()))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    client = NotebookClient(notebook, kernel_manager_class=ThisPython, timeout=120)
    client.execute()
    widgets, still = notebook.cells[1].outputs
    assert "application/vnd.jupyter.widget-view+json" in widgets.data
    assert widgets.data["text/plain"] == "explorer: sched:sched_switch"
    data = still.data
    assert data["text/plain"].startswith("Explorer of ")
    assert "prev_comm" in data["text/html"]
    printed = notebook.cells[3].outputs[0].text
    assert int(printed.split()[0]) > 10
    assert printed.split()[-1] == "0"
    # When the run has ended, the page shows its last events also without widgets.
    assert re.search(r"The last \d+ events of sched:sched_switch", data["text/html"])

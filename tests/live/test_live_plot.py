"""LivePlot on a running kernel: a known workload exactly, and nothing attached afterwards."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from traitlets import default

import tracekit as tk
from tracekit.capture import registry
from tracekit.errors import CompileError, TracekitError

pytestmark = pytest.mark.live

DEADLINE = 30
TEXT = """
#include "counters.h"

struct call_t {
	u64 ts;
	u32 number;
};

BPF_RINGBUF_OUTPUT(calls, 1024);

TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct call_t call = {};

	if ((u32)args->pid >> 30 != 1)
		return 0;
	count(SEEN);
	call.ts = bpf_ktime_get_ns();
	call.number = args->pid;
	count(calls.ringbuf_output(&call, sizeof(call), BPF_RB_NO_WAKEUP) ? DROPPED : SENT);
	return 0;
}
"""
PANELS = [
    tk.Panel("the calls' numbers", lambda e: e["number"] & 0xFFFFFF),
    tk.Panel("calls a second"),
]


def open_probe():
    return tk.Probe.from_text(TEXT, name="calls")


def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_call_is_counted_and_drawn(getpgid):
    plot = tk.LivePlot(open_probe, PANELS, seconds=DEADLINE, keep=1_000_000)
    plot.start()
    until(lambda: plot.status.state == "running")
    workload = getpgid(1, 50_000)
    until(lambda: plot.status.events == workload.sent)
    assert len(tk.open_probes()) == 1
    plot.stop()
    picture = plot.wait()
    assert tk.open_probes() == ()
    assert plot.status.lost == 0
    assert (plot.events()["number"] - workload.MARK).tolist() == list(range(50_000))
    numbers, _ = picture.drawings
    assert (numbers.lines[0].y.min(), numbers.lines[0].y.max()) == (0, 49_999)
    assert len(numbers.lines[0].y) <= 1001


def test_it_stops_by_itself_and_starts_again():
    with tk.LivePlot(open_probe, PANELS, seconds=0.3) as plot:
        assert "0 events" in plot.start().wait().caption
        assert (plot.status.state, plot.running) == ("ended", False)
        plot.start(seconds=0.5).wait()
        assert plot.status.elapsed >= 0.5
        plot.start(seconds=DEADLINE)
        until(lambda: plot.status.state == "running")
        begin = time.monotonic()
        plot.start(seconds=0.1).wait()  # ends the run that was under way
        assert time.monotonic() - begin < DEADLINE
        assert tk.open_probes() == ()


def test_what_the_compiler_refuses_is_raised_by_wait():
    plot = tk.LivePlot(lambda: tk.Probe.from_text("int x = ;", name="bad"), PANELS, seconds=5)
    plot.start()
    with pytest.raises(CompileError, match="expected expression"):
        plot.wait()
    assert "failed, nothing is attached" in repr(plot)
    assert plot.status.state == "failed"


def test_waiting_for_nothing_is_refused():
    plot = tk.LivePlot(open_probe, PANELS)
    with pytest.raises(TracekitError, match="no run was started"):
        plot.wait()
    with pytest.raises(TracekitError, match="no run was started"):
        plot.events()
    assert "ready" in repr(plot)
    plot.stop()
    plot.close()


def test_an_interrupt_of_the_waiting_cell_ends_the_run():
    plot = tk.LivePlot(open_probe, PANELS, seconds=DEADLINE).start()

    def interrupt():
        until(lambda: plot.status.state == "running")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        plot.wait()
    thread.join()
    until(lambda: not plot.running)
    assert plot.status.elapsed < DEADLINE
    assert tk.open_probes() == ()


def test_the_same_cell_run_again_closes_what_it_made(monkeypatch):
    cell = [("the cell", 1)]
    monkeypatch.setattr(registry, "running_cell", lambda: cell[0])
    first = tk.LivePlot(open_probe, PANELS, seconds=DEADLINE).start()
    until(lambda: first.status.state == "running")
    cell[0] = ("another cell", 2)
    tk.LivePlot(open_probe, PANELS)
    assert first.running
    cell[0] = ("the cell", 3)
    tk.LivePlot(open_probe, PANELS)
    assert not first.running
    assert tk.open_probes() == ()


def test_a_new_probe_of_the_same_name_ends_the_run():
    plot = tk.LivePlot(open_probe, PANELS, seconds=DEADLINE).start()
    until(lambda: plot.status.state == "running")
    with open_probe():
        plot.wait()
    assert plot.status.state == "ended"


def test_traffic_of_the_experiment_is_drawn_from_its_first_event():
    names = {}

    @contextmanager
    def transfer():
        with (
            tk.Probe.from_file("tcp_probe_ring.c", defines={"DPORT": 5201}) as probe,
            tk.slow_link("20mbit") as link,
            link.start(seconds=DEADLINE, congestion="reno", port=5201) as flow,
        ):
            names[flow.cookies[0]] = "reno"
            yield probe

    panel = tk.Panel("window, segments", "snd_cwnd", by="sock_cookie", names=names)
    plot = tk.LivePlot(transfer, [panel], seconds=1.5)
    picture = plot.start().wait()
    (line,) = picture.drawings[0].lines
    assert line.label == "reno"
    events = plot.events()
    ours = events[events["sock_cookie"] == next(iter(names))]
    assert line.y[0] == 10  # RFC 6928: the initial window
    took = (int(ours["ts"][-1]) - int(ours["ts"][0])) / 1e9
    assert line.x[-1] - line.x[0] == pytest.approx(took, abs=1e-6)
    assert line.y.max() == ours["snd_cwnd"].max() > 20


class ThisPython(AsyncKernelManager):
    """Starts the kernel of the very Python that runs the tests, whatever else is installed."""

    @default("kernel_spec_manager")
    def _without_folders(self):
        return KernelSpecManager(kernel_dirs=[], parent=self)


def test_a_notebook_without_a_browser_gets_the_picture():
    """Where the widgets stood stands the picture of the run, for exports."""
    cells = [
        "import tracekit as tk\nfrom contextlib import nullcontext",
        'plot = tk.LivePlot(lambda: tk.Probe.from_file("watch.c", defines={"RECORD_SIZE": 64})'
        '.attach_tracepoint("sched:sched_switch", "watch"),'
        ' [tk.Panel("events a second")], seconds=1)\nplot.start()',
        "plot.wait()",
        "tk.open_probes()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, kernel_manager_class=ThisPython, timeout=60).execute()
    widgets, still = notebook.cells[1].outputs
    assert "application/vnd.jupyter.widget-view+json" in widgets.data
    assert widgets.data["text/plain"] == "live figures: events a second"
    assert "<svg" in still.data["text/html"]
    assert "live · Linux" in still.data["text/plain"]
    (waited,) = notebook.cells[2].outputs
    assert waited.data["text/plain"] == still.data["text/plain"]
    assert notebook.cells[3].outputs[0].data["text/plain"] == "()"

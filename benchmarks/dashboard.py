"""What a live dashboard costs, in a real browser: frames, nodes of the page, memory, delay.

First three figures with two lines each, at ten updates a second, for a minute, at 1,000 events a
second: how many frames a second the page draws, whether it gets more nodes, how much memory the
notebook's kernel takes. Then one figure at 100,000 events a second: how far behind the present the
line ends, what reading takes of a processor, and what was lost. Needs what the tests in the browser
need.

    .venv/bin/python benchmarks/dashboard.py [seconds]
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/browser"))

from lab_page import LabPage
from lab_plot import PlotOnPage, plots_of
from lab_server import LabServer, serve
from playwright.sync_api import Page, sync_playwright

from tracekit.host.packages import find_browser
from tracekit.host.rights import is_root

NAME = "dashboard.ipynb"
WARM_UP = 5.0  # seconds until everything has its size
SET_UP = '''
import ctypes, os, subprocess, sys, time
from contextlib import contextmanager
import tracekit as tk

PROGRAM = """
#include "counters.h"
struct call_t { u64 ts; u32 number; };
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
# Calls getpgid at a rate, in bursts of 5 ms, until its standard input is closed.
CALLS = """
import ctypes, select, sys, time
rate, done, getpgid = int(sys.argv[1]), 0, ctypes.CDLL(None).getpgid
begin = time.perf_counter()
while not select.select([sys.stdin], [], [], 0.005)[0]:
    wanted = int((time.perf_counter() - begin) * rate)
    for number in range(done, wanted):
        getpgid(0x40000000 + number)
    done = wanted
"""


def calls(rate):
    @contextmanager
    def experiment():
        with tk.Probe.from_text(PROGRAM, name="calls") as probe:
            command = [sys.executable, "-c", CALLS, str(rate)]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
                try:
                    yield probe
                finally:
                    process.stdin.close()
    return experiment


def two(shift):
    return {"sum": lambda e: (e["number"] >> shift) % 97, "mask": lambda e: e["number"] & 255}
'''
DASHBOARD = """
panels = [tk.Panel(f"figure {n}", two(n)) for n in range(3)]
plot = tk.LivePlot(calls(1_000), panels, seconds=600)
plot
"""
MANY = """
plot = tk.LivePlot(calls(100_000), [tk.Panel("number", lambda e: e["number"] % 1000)], seconds=30)
plot
"""
# When, by the clock of the machine in seconds, the axis of the ended run had its zero.
ZERO = """
last = float(plot.picture.drawings[0].lines[0].x[-1])
ts = int(plot.events()["ts"][-1]) / 1e9
print(time.time() - time.monotonic() + ts - last, plot.status.lost, plot.status.events)
"""
_FRAMES = """milliseconds => new Promise(resolve => {
    const times = [];
    const begin = performance.now();
    const draw = now => {
        times.push(now);
        if (now - begin < milliseconds) requestAnimationFrame(draw); else resolve(times);
    };
    requestAnimationFrame(draw);
})"""
# The last point of the line in its place between 0 and 1 of the axis, and the time.
_END = """() => {
    const figure = document.querySelector('.tracekit-figure');
    const width = figure.querySelector('.plotarea_background').width.baseVal.value;
    const path = figure.querySelector('path.line').getAttribute('d');
    const points = path.match(/[-\\d.e]+,[-\\d.e]+/g);
    return [points ? parseFloat(points.at(-1).split(',')[0]) / width : 0, Date.now() / 1000];
}"""


def notebook(*sources: str) -> str:
    """A notebook of these cells, as text."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [],
            "source": source.strip(),
        }
        for number, source in enumerate(sources)
    ]
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}}
    return json.dumps({**whole, "nbformat": 4, "nbformat_minor": 5})


def resident(server: LabServer) -> float:
    """The memory of the notebook's kernel, in MB."""
    (kernel,) = (pid for pid, text in server.processes().items() if "ipykernel" in text)
    status = Path(f"/proc/{kernel}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) / 1024


def nodes(page: Page) -> int:
    """How many nodes the page has."""
    return page.evaluate("() => document.querySelectorAll('*').length")


def show(lab: LabPage, cell: str) -> PlotOnPage:
    """Run the set-up and a plot's cell, and start the plot."""
    lab.open(NAME)
    lab.run_cell("cell-0")
    lab.run_cell(cell)
    (plot,) = plots_of(lab)
    plot.start()
    return plot


def dashboard(lab: LabPage, seconds: float) -> None:
    """Watch three figures for a time, and print what they cost."""
    plot = show(lab, "cell-1")
    lab.page.wait_for_timeout(WARM_UP * 1000)
    memory, count = resident(lab.server), nodes(lab.page)
    changes = lab.page.evaluate(_COUNT_UPDATES)
    times = lab.page.evaluate(_FRAMES, seconds * 1000)
    frames = [after - before for before, after in pairwise(times)]
    changes = lab.page.evaluate("() => window.tracekitUpdates") - changes
    print(f"three figures of two lines, {seconds:.0f} s, {plot.rate():,.0f} events/s")
    print(f"  updates of a line   {changes / seconds:8.1f} a second")
    print(f"  frames              {len(frames) / seconds:8.1f} a second")
    print(f"  a frame took        {statistics.median(frames):8.1f} ms, at most {max(frames):.0f}")
    print(f"  nodes of the page   {count:8d}, then {nodes(lab.page)}")
    grown = resident(lab.server) - memory
    print(f"  kernel's memory     {memory:8.1f} MB, grew by {grown:.1f}")
    plot.stop()


_COUNT_UPDATES = """() => {
    window.tracekitUpdates = 0;
    new MutationObserver(changes => { window.tracekitUpdates += changes.length; }).observe(
        document.querySelector('.tracekit-figure path.line'), {attributeFilter: ['d']});
    return 0;
}"""


def many(lab: LabPage) -> None:
    """Watch 100,000 events a second, and print how late the page is."""
    plot = show(lab, "cell-2")
    lab.page.wait_for_timeout(WARM_UP * 1000)
    shares, ends = [], []
    begin = time.monotonic()
    while time.monotonic() - begin < 15:
        ends.append(lab.page.evaluate(_END))
        found = re.search(r"reader ([\d.]+)%", plot.root.inner_text())
        shares.append(float(found[1]))
        lab.page.wait_for_timeout(130)
    rate = plot.rate()
    plot.stop()
    lab.run_cell("cell-3")
    answer: list[Any] = lab.outputs()["cell-3"]
    zero, lost, events = answer[0]["text"].split()
    # the axis is as long as the run was to be, and what came before Start was done
    late = [now - float(zero) - place * 30 for place, now in ends]
    print(f"one figure at {rate:,.0f} events/s, {int(events):,} events")
    median, most = statistics.median(late), max(late)
    print(f"  the line ends       {median:8.2f} s behind the present, at most {most:.2f}")
    print(f"  reader              {statistics.median(shares):8.1f} % of a processor")
    print(f"  lost                {lost:>8}")


def main() -> int:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        (server.root / NAME).write_text(notebook(SET_UP, DASHBOARD, MANY, ZERO))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_browser(), chromium_sandbox=not is_root()
            )
            with browser:
                page = browser.new_page(viewport={"width": 1200, "height": 1000})
                lab = LabPage(page, server)
                dashboard(lab, seconds)
                server.end_kernels()
                many(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The live plot in a notebook of the test's own: started, watched, stopped, restarted."""

from __future__ import annotations

import json

import pytest
from lab_page import LabPage
from lab_plot import PlotOnPage, plots_of
from playwright.sync_api import expect

pytestmark = pytest.mark.live

NAME = "live-plot.ipynb"
SET_UP = '''
import os, threading, time
from contextlib import contextmanager
import tracekit as tk

PROGRAM = """
struct data_t { u64 ts; u64 length; };
BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(syscalls, sys_enter_getrandom)
{
	struct data_t data = {};

	if ((u32)bpf_get_current_pid_tgid() != THREAD)
		return 0;
	data.ts = bpf_ktime_get_ns();
	data.length = args->count;
	events.perf_submit(args, &data, sizeof(data));
	return 0;
}
"""
# What sys_enter_getrandom calls its length differs between kernels.
fmt = tk.read_format("syscalls:sys_enter_getrandom")
PROGRAM = PROGRAM.replace("count", next(n for n in ("count", "len") if n in fmt))
pace = {"calls a second": 50}


def ask(end, numbers):
    numbers.append(threading.get_native_id())
    calls = 0
    while not end.wait(1 / pace["calls a second"]):
        calls += 1
        os.getrandom(1 + calls % 40)


@contextmanager
def experiment():
    end, numbers = threading.Event(), []
    thread = threading.Thread(target=ask, args=(end, numbers))
    thread.start()
    try:
        while not numbers:
            time.sleep(0.001)
        text = PROGRAM.replace("THREAD", str(numbers[0]))
        with tk.Probe.from_text(text, name="asked") as probe:
            yield probe
    finally:
        end.set()
        thread.join()
'''
PLOT = """
plot = tk.LivePlot(
    experiment,
    [tk.Panel("length, bytes", "length"), tk.Panel("calls, events/s")],
    seconds=120,
    controls=[
        tk.Slider("calls a second", 50, 500, 50, set=lambda v: pace.update({"calls a second": v}))
    ],
)
plot
"""
CELLS = {
    "set-up": SET_UP,
    "plot": PLOT,
    "short": "plot.start(seconds=3)\nplot.wait()",
    "busy": "time.sleep(60)",
    "failing": "tk.LivePlot(lambda: tk.Probe.from_text('no C'), [tk.Panel('nothing')]).start()",
}
# Enough to scroll the plot out of sight.
FILLER = {f"filler-{number}": "\n".join("#" * 9) for number in range(30)}


@pytest.fixture(autouse=True)
def _notebook(server):
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": cell_id,
            "metadata": {},
            "outputs": [],
            "source": source.strip(),
        }
        for cell_id, source in (CELLS | FILLER).items()
    ]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (server.root / NAME).write_text(json.dumps(notebook))


def show(lab: LabPage) -> PlotOnPage:
    lab.open(NAME)
    lab.run_cell("set-up")
    lab.run_cell("plot")
    assert lab.errors() == {}
    lab.wait_for_widgets()
    (plot,) = plots_of(lab)
    plot.expect_state("ready")
    return plot


def test_start_shows_it_move_and_stop_takes_everything_away(lab, shots):
    plot = show(lab)
    lab.screenshot(shots, "ready")
    expect(plot.stop_button).to_be_disabled()
    plot.start()
    expect(plot.start_button).to_be_disabled()
    plot.expect_movement()
    lab.screenshot(shots, "running")
    assert lab.server.workers()
    plot.stop()
    plot.expect_nothing_attached()
    lab.screenshot(shots, "ended")
    expect(plot.start_button).to_be_enabled()
    # and again
    plot.start()
    plot.expect_movement()
    plot.stop()
    plot.expect_nothing_attached()
    assert lab.broken_widgets() == []


def test_a_slider_is_followed(lab):
    plot = show(lab)
    plot.start()
    plot.expect_movement()
    expect_rate(plot, below=100)
    handle = plot.root.locator(".tracekit-slider .noUi-handle")
    handle.focus()
    handle.press("End")
    expect(plot.root.locator(".tracekit-slider .widget-readout")).to_have_text("500")
    expect_rate(plot, above=200)
    handle.press("Home")
    expect_rate(plot, below=100)
    plot.stop()


def expect_rate(plot: PlotOnPage, *, above: float = 0, below: float = float("inf")) -> None:
    """Wait until the line of numbers tells such a rate."""
    plot.lab.wait_until(lambda: above < plot.rate() < below)


def test_stop_works_while_another_cell_runs(lab):
    plot = show(lab)
    plot.start()
    plot.expect_movement()
    lab.start_cell("busy")
    expect(lab.cell("busy").locator(".jp-InputArea-prompt")).to_have_text("[*]:")
    plot.expect_movement()
    plot.stop(seconds=10)
    plot.expect_nothing_attached()
    expect(lab.cell("busy").locator(".jp-InputArea-prompt")).to_have_text("[*]:")
    plot.start()
    plot.expect_movement()
    plot.stop(seconds=10)
    expect(lab.cell("busy").locator(".jp-InputArea-prompt")).to_have_text("[*]:")
    lab.interrupt_kernel()


def test_a_restart_of_the_kernel_detaches_and_says_so(lab, shots):
    plot = show(lab)
    notice = plot.root.locator(".tracekit-disconnected")
    plot.start()
    plot.expect_movement()
    expect(notice).to_be_hidden()
    lab.restart_kernel()
    plot.expect_nothing_attached()
    expect(notice).to_be_visible()
    lab.screenshot(shots, "restarted")
    lab.run_cell("set-up")
    lab.run_cell("plot")
    (plot,) = plots_of(lab)
    plot.start()
    plot.expect_movement()
    plot.stop()


def test_running_the_cell_again_takes_the_first_plot_away(lab):
    show(lab).start()
    lab.run_cell("plot")
    (plot,) = plots_of(lab)
    plot.expect_state("ready")
    plot.expect_nothing_attached()
    assert lab.broken_widgets() == []


def test_a_run_ends_by_itself_in_a_picture_and_numbers(lab, shots):
    plot = show(lab)
    lab.run_cell("short")
    assert lab.errors() == {}
    plot.expect_state("ended")
    plot.expect_nothing_attached()
    expect(lab.cell("short").locator(".jp-OutputArea-output svg").first).to_be_visible()
    summary = plot.root.locator("summary")
    expect(summary).to_have_text("the same in numbers")
    summary.click()
    expect(plot.root.locator("details table").first).to_be_visible()
    lab.screenshots(shots, "picture")


def test_a_page_that_is_loaded_again_goes_on(lab):
    show(lab).start()
    lab.start_command("docmanager:save")
    lab.wait_until_run()
    lab.open(NAME)
    lab.wait_for_widgets()
    (plot,) = plots_of(lab)
    plot.expect_state("running")
    plot.expect_movement()
    plot.stop()


# The first is what JupyterLab does unless told otherwise.
@pytest.mark.parametrize("mode", ["contentVisibility", "full"])
def test_it_goes_on_when_it_was_out_of_sight(lab, mode):
    """JupyterLab takes cells that are out of sight out of the page, or does not draw them."""
    lab.set_windowing(mode)
    plot = show(lab)
    plot.start()
    plot.expect_movement()
    there = lab.scrolled()
    # Turn by turn: how long the notebook is, JupyterLab learns on the way.
    lab.wait_until(lambda: lab.turn_wheel(500) or lab.scrolled() > there + 1000)
    lab.wait_until(lambda: lab.turn_wheel(-500) or lab.scrolled() <= there)
    plot.expect_movement()
    plot.stop()


def test_a_program_that_does_not_compile_says_so_in_the_plot(lab, shots):
    lab.open(NAME)
    lab.run_cell("set-up")
    lab.run_cell("failing")
    (plot,) = plots_of(lab)
    plot.expect_state("failed")
    expect(plot.root.locator(".tracekit-status")).to_contain_text("does not compile")
    lab.screenshot(shots, "failed")
    plot.expect_nothing_attached()


def test_it_is_done_with_the_keyboard_alone(lab):
    plot = show(lab)
    lab.cell("plot").locator(".jp-InputArea-prompt").click()
    tab_to(plot, "tracekit-start")
    lab.page.keyboard.press("Space")
    plot.expect_state("running")
    plot.expect_movement(1)
    lab.cell("plot").locator(".jp-InputArea-prompt").click()
    tab_to(plot, "tracekit-stop")
    lab.page.keyboard.press("Enter")
    plot.expect_state("ended")


def tab_to(plot: PlotOnPage, name: str, most: int = 20) -> None:
    """Press Tab until the element of this class has the focus."""
    passed = [""]
    while name not in passed[-1].split():
        assert len(passed) <= most, f"Tab leads to {passed}"
        plot.lab.page.keyboard.press("Tab")
        passed.append(plot.lab.page.evaluate("document.activeElement.className"))


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_in_both_themes(lab, shots, theme):
    plot = show(lab)
    lab.page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    plot.start()
    plot.expect_movement()
    plot.stop()
    lab.screenshot(shots, "theme")
    assert plot.contrast(".tracekit-figure .axis .tick text", "fill") >= 4.5
    assert plot.contrast(".tracekit-status", "color") >= 4.5
    assert plot.contrast("b", "color") >= 4.5
    # WCAG 2.2, 1.4.11: what is drawn
    assert plot.contrast(".tracekit-figure path.line", "stroke") >= 3


def test_it_fits_a_narrow_window(open_lab, shots):
    lab = open_lab(viewport={"width": 600, "height": 900})
    plot = show(lab)
    plot.start()
    plot.expect_movement()
    plot.stop()
    lab.cell("plot").scroll_into_view_if_needed()
    lab.screenshot(shots, "narrow")
    paper = lab.cell("plot").bounding_box()
    for figure in plot.figures.all():
        box = figure.bounding_box()
        assert box["width"] > 150
        assert box["x"] + box["width"] <= paper["x"] + paper["width"] + 1
    wide = plot.root.evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert wide[0] <= wide[1], "it would have to be scrolled sideways"

"""The chapters with live plots: each plot started and stopped where it stands, then a restart."""

from __future__ import annotations

import json
import re

import pytest
from lab_page import LabPage
from lab_plot import PlotOnPage
from playwright.sync_api import Locator, expect

from tracekit.host.environment import CHECKOUT

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

# README's pictures: of each chapter the cell, whose own run goes to its end, and the file.
PICTURES = {"10-watch-tcp": ("race", "race.png")}
MAKES_ONE = re.compile(r"\btk\.LivePlot\(")
MAKES_CONTROLS = re.compile(r"\bcontrols=")


def cells_to_try(path):
    """The cells with the first plot, and with those that have something to move."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = {c["id"]: "".join(c["source"]) for c in cells if c["cell_type"] == "code"}
    plots = [cell_id for cell_id, source in code.items() if MAKES_ONE.search(source)]
    return [c for c in plots if c == plots[0] or MAKES_CONTROLS.search(code[c])]


CHAPTERS = [
    path
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
    if MAKES_ONE.search(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.pictures] if path.stem in PICTURES else []
        )
        for path in CHAPTERS
    ],
)
def test_live_chapter(path, open_lab, shots, pictures):
    pictured, name = PICTURES.get(path.stem, ("", ""))
    lab = open_lab(device_scale_factor=1.5 if pictured else 1)
    lab.open(path.name)
    last, tried = None, cells_to_try(path)
    assert pictured in ["", *tried]
    for cell_id in tried:
        if last:
            # Whole again, as the cells behind it expect it.
            lab.run_cell(last)
        lab.run_on(last, cell_id)
        assert lab.errors() == {}
        plot = plot_of(lab, cell_id)
        if cell_id == pictured:
            plot.expect_state("ended", seconds=120)
            # Two figures beside each other.
            lab.picture([cell_id], pictures / name, width=1300)
            assert (pictures / name).stat().st_size > 10_000, "blank"
        try_out(plot)
        lab.cell(cell_id).scroll_into_view_if_needed()
        lab.screenshot(shots, f"{path.stem}-{cell_id}")
        last = cell_id
    plot.start()
    plot.expect_movement()
    expect(plot.root.locator(".tracekit-disconnected")).to_be_hidden()
    lab.restart_kernel()
    plot.expect_nothing_attached()
    expect(plot.root.locator(".tracekit-disconnected")).to_be_visible()
    lab.screenshot(shots, f"{path.stem}-restarted")


def try_out(plot: PlotOnPage) -> None:
    """Stop what the cell itself has started, and then start, move and stop it once more."""
    if plot.state() != "ready":
        plot.expect_state("running", "ended")
        if plot.state() == "running":
            plot.stop()
        plot.expect_nothing_attached()
    plot.set_seconds(100)
    plot.start()
    plot.expect_movement()
    for slider in plot.root.locator(".tracekit-slider").all():
        move(plot, slider)
    for switch in plot.root.locator(".tracekit-switch input").all():
        flip(plot, switch)
    plot.stop()
    plot.expect_nothing_attached()


def plot_of(lab: LabPage, cell_id: str) -> PlotOnPage:
    """The plot that a cell shows."""
    root = lab.cell(cell_id).locator(".tracekit-live")
    root.wait_for()
    return PlotOnPage(lab, root)


def move(plot: PlotOnPage, slider: Locator) -> None:
    """Move a slider from one end to the other; where it sets a rate, the events must follow."""
    handle, shown = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
    handle.focus()
    handle.press("Home")
    lowest = shown.inner_text()
    low = settled_rate(plot)
    handle.press("End")
    expect(shown).not_to_have_text(lowest)
    if "bit/s" in slider.inner_text():
        plot.lab.wait_until(lambda: plot.rate() > 2 * low)
        handle.press("Home")
        plot.lab.wait_until(lambda: plot.rate() < 2 * low)
    plot.expect_movement(1)


def flip(plot: PlotOnPage, switch: Locator) -> None:
    """Put a switch on and off again; where it cuts the link, nothing comes meanwhile."""
    switch.check()
    if re.search(r"\b(down|cut)\b", switch.locator("xpath=..").inner_text()):
        plot.lab.wait_until(lambda: plot.rate() == 0)
    switch.uncheck()
    plot.expect_movement(1)


def settled_rate(plot: PlotOnPage) -> float:
    """The events a second, once they stay about the same."""
    rates = [0.0]

    def settled() -> bool:
        rates.append(plot.rate())
        plot.lab.page.wait_for_timeout(1000)
        return 0 < 0.8 * rates[-1] < rates[-2] < 1.2 * rates[-1]

    plot.lab.wait_until(settled)
    return rates[-1]

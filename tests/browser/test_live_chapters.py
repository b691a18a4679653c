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

MAKES_ONE = re.compile(r"\btk\.LivePlot\(")


def cells_with_plots(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return [cell["id"] for cell in code if MAKES_ONE.search("".join(cell["source"]))]


CHAPTERS = [
    path
    for path in sorted((CHECKOUT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
    if cells_with_plots(path)
]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_live_chapter(path, lab, shots):
    lab.open(path.name)
    for cell_id in cells_with_plots(path):
        lab.run_through(cell_id)
        assert lab.errors() == {}
        plot = plot_of(lab, cell_id)
        # Some cells start it themselves, for a few seconds.
        if plot.state() == "ready":
            plot.start_button.click()
        plot.expect_state("running", "ended")
        if plot.state() == "running":
            plot.stop()
        plot.expect_nothing_attached()
        plot.set_seconds(200)
        plot.start()
        plot.expect_movement()
        for slider in plot.root.locator(".tracekit-slider").all():
            move(plot, slider)
        lab.cell(cell_id).scroll_into_view_if_needed()
        lab.screenshot(shots, f"{path.stem}-{cell_id}")
        plot.stop()
        plot.expect_nothing_attached()
    plot.start()
    plot.expect_movement()
    expect(plot.root.locator(".tracekit-disconnected")).to_be_hidden()
    lab.restart_kernel()
    plot.expect_nothing_attached()
    expect(plot.root.locator(".tracekit-disconnected")).to_be_visible()
    lab.screenshot(shots, f"{path.stem}-restarted")


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


def settled_rate(plot: PlotOnPage) -> float:
    """The events a second, once they stay about the same."""
    rates = [0.0]

    def settled() -> bool:
        rates.append(plot.rate())
        plot.lab.page.wait_for_timeout(1000)
        return 0 < 0.8 * rates[-1] < rates[-2] < 1.2 * rates[-1]

    plot.lab.wait_until(settled)
    return rates[-1]

"""The explorer, in the chapter that has it: searched, chosen from, started, read."""

from __future__ import annotations

import re

import pytest
from lab_page import LabPage
from lab_plot import PlotOnPage
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.live

CHAPTER, CELL = "03-finding-tracepoints", "explorer-shown"


def show(lab: LabPage) -> tuple[Locator, PlotOnPage]:
    lab.open(f"{CHAPTER}.ipynb")
    lab.run_cell("set-up")
    lab.run_cell(CELL)
    assert lab.errors() == {}
    explorer = lab.cell(CELL).locator(".tracekit-explore")
    explorer.wait_for()
    return explorer, PlotOnPage(lab, explorer.locator(".tracekit-live"))


def part(explorer: Locator, name: str, inside: str = "") -> Locator:
    return explorer.locator(f".tracekit-explore-{name} {inside}".strip())


def choose(explorer: Locator, words: str, name: str) -> None:
    """Search for words, and choose one of what was found."""
    part(explorer, "search", "input").fill(words)
    expect(part(explorer, "list", f"option:text-is('{name}')")).to_have_count(1)
    part(explorer, "list", "select").select_option(name)
    expect(part(explorer, "script", "textarea")).to_have_value(re.compile(name.split(":")[1]))


def test_a_tracepoint_is_found_watched_and_taken_home(lab, shots, server):
    explorer, plot = show(lab)
    choose(explorer, "sched wakeup", "sched:sched_wakeup")
    expect(part(explorer, "fields")).to_contain_text("target_cpu")
    plot.set_seconds(60)
    plot.start()
    plot.expect_movement()
    expect(part(explorer, "events")).to_contain_text("target_cpu")
    assert lab.server.workers()
    lab.screenshot(shots, "running")
    plot.stop()
    plot.expect_nothing_attached()
    for view, page, words in (
        ("layout", "layout", "last event"),
        ("C program", "program", "sched_wakeup"),
        ("script", "script", ""),
    ):
        part(explorer, "views").get_by_role("button", name=view, exact=True).click()
        expect(part(explorer, page)).to_be_visible()
        expect(part(explorer, page)).to_contain_text(words)
        lab.screenshot(shots, view.replace(" ", "-"))
    part(explorer, "save").click()
    expect(part(explorer, "saved")).to_contain_text("saved: ")
    assert "sched_wakeup" in (server.root / "sched_wakeup.py").read_text()
    assert lab.broken_widgets() == []


def test_choosing_another_tracepoint_ends_the_run(lab):
    explorer, plot = show(lab)
    choose(explorer, "sched switch", "sched:sched_switch")
    plot.set_seconds(60)
    plot.start()
    plot.expect_movement()
    choose(explorer, "sched waking", "sched:sched_waking")
    plot.expect_state("ended", "ready")
    plot.expect_nothing_attached()


def test_it_fits_a_narrow_window(open_lab, shots):
    lab = open_lab(viewport={"width": 600, "height": 900})
    explorer, _ = show(lab)
    explorer.scroll_into_view_if_needed()
    lab.screenshots(shots, "narrow")
    wide = explorer.evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert wide[0] <= wide[1], "it would have to be scrolled sideways"

"""A live plot on the page, as a reader sees it: its buttons, its lines, its words."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from lab_page import LabPage
from playwright.sync_api import Locator, expect

STEP_SECONDS = 30
NOTHING_LEFT_SECONDS = 10

_PATHS = """root => [...root.querySelectorAll('.tracekit-figure path.line')]
    .map(path => path.getAttribute('d') ?? '')"""
# The contrast of WCAG 2.2 between two colours, each given as the browser computes them.
_CONTRAST = """([element, property]) => {
    const light = text => {
        const parts = text.match(/[\\d.]+/g).map(Number);
        const [r, g, b] = parts.slice(0, 3).map(part => {
            const value = part / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let behind = element;
    let paper = 'rgb(255, 255, 255)';
    for (; behind; behind = behind.parentElement) {
        const found = getComputedStyle(behind).backgroundColor;
        if (!/, 0\\)$|transparent/.test(found)) { paper = found; break; }
    }
    const pair = [light(getComputedStyle(element)[property]), light(paper)].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
}"""


@dataclass
class PlotOnPage:
    """One live plot; ``root`` is the element that holds all of it."""

    lab: LabPage
    root: Locator

    @property
    def start_button(self) -> Locator:
        return self.root.locator("button.tracekit-start")

    @property
    def stop_button(self) -> Locator:
        return self.root.locator("button.tracekit-stop")

    @property
    def figures(self) -> Locator:
        return self.root.locator(".tracekit-figure")

    def expect_state(self, *states: str, seconds: float = STEP_SECONDS) -> None:
        """Wait until the status line says one of these."""
        status = self.root.locator(".tracekit-status")
        wanted = re.compile(f"^({'|'.join(states)})$")
        expect(status).to_have_attribute("data-state", wanted, timeout=seconds * 1000)

    def state(self) -> str:
        """What the status line says now, in one word."""
        return self.root.locator(".tracekit-status").get_attribute("data-state")

    def set_seconds(self, seconds: int) -> None:
        """Type how long a run takes."""
        field = self.root.get_by_role("spinbutton").first
        field.fill(str(seconds))
        field.press("Enter")

    def start(self) -> None:
        """Press Start, and wait until events can arrive."""
        self.start_button.click()
        self.expect_state("running")

    def stop(self, seconds: float = STEP_SECONDS) -> None:
        """Press Stop, and wait until the plot says that it has ended."""
        self.stop_button.click()
        self.expect_state("ended", seconds=seconds)

    def events(self) -> int:
        """How many events the line of numbers tells."""
        found = re.search(r"([\d,]+) events", self.root.inner_text())
        return int(found[1].replace(",", "")) if found else 0

    def rate(self) -> float:
        """The events a second that the line of numbers tells."""
        found = re.search(r"([\d,]+) events/s", self.root.inner_text())
        return float(found[1].replace(",", "")) if found else 0.0

    def expect_movement(self, times: int = 3) -> None:
        """Wait until a line has another shape, so many times, and more events are told."""
        before = self.events()
        seen = [self.root.evaluate(_PATHS)]
        deadline = time.monotonic() + STEP_SECONDS
        while len(seen) <= times or self.events() <= before:
            assert time.monotonic() < deadline, (
                f"{len(seen) - 1} changes, {before} events and then {self.events()}"
            )
            paths = self.root.evaluate(_PATHS)
            if paths != seen[-1] and any(len(path) > 20 for path in paths):
                seen.append(paths)
            self.lab.page.wait_for_timeout(50)

    def expect_nothing_attached(self) -> None:
        """Wait until no process of the server holds anything in the kernel."""
        deadline = time.monotonic() + NOTHING_LEFT_SECONDS
        while left := {**self.lab.server.workers(), **self.lab.server.holders()}:
            assert time.monotonic() < deadline, f"still attached: {left}"
            self.lab.page.wait_for_timeout(50)

    def contrast(self, selector: str, property: str) -> float:
        """How well the first such element can be told from what is behind it, 1 to 21."""
        element = self.root.locator(selector).first.element_handle()
        return self.lab.page.evaluate(_CONTRAST, [element, property])


def plots_of(lab: LabPage) -> list[PlotOnPage]:
    """All live plots of the notebook, from top to bottom."""
    return [PlotOnPage(lab, root) for root in lab.page.locator(".tracekit-live").all()]

"""A server for all tests in the browser, a browser for each of them, and where pictures go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab_page import LabPage
from lab_server import LabServer, serve
from playwright.sync_api import Browser, Error, sync_playwright

from tracekit.host.environment import CHECKOUT
from tracekit.host.packages import find_browser, install_hint
from tracekit.host.rights import is_root

PICTURES = CHECKOUT / "notebooks" / "pictures"
LIVE_IS_A_MUST = os.environ.get("TRACEKIT_MODE") == "live"
WINDOW = {"width": 1200, "height": 1000}


@pytest.fixture(scope="session")
def browser_command() -> str:
    """The browser's command; without one the tests are skipped, or fail where live is a must."""
    command = find_browser()
    if command is None:
        reason = f"no Chromium or Chrome is installed; next: {install_hint('browser')}"
        if LIVE_IS_A_MUST:
            pytest.fail(f"TRACEKIT_MODE=live, but {reason}", pytrace=False)
        pytest.skip(f"{reason} (TRACEKIT_MODE=live makes this a failure)")
    return command


@pytest.fixture(scope="session")
def server(browser_command: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """JupyterLab. As the session's, it is there before each test looks what was left behind."""
    with serve(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def browser(browser_command: str) -> Iterator[Browser]:
    """A browser for one test.

    Not for all of them: Chromium starts helpers when it likes, and Playwright keeps an event loop
    running, in which other tests could not start theirs.
    """
    with sync_playwright() as playwright:
        try:
            # Chromium's sandbox can't be had as root.
            browser = playwright.chromium.launch(
                executable_path=browser_command, chromium_sandbox=not is_root()
            )
        except Error as error:
            pytest.fail(f"{browser_command} does not start: {error.message}", pytrace=False)
        with browser:
            yield browser


@pytest.fixture
def open_lab(server: LabServer, browser: Browser) -> Iterator[Callable[..., LabPage]]:
    """Open a tab; when the test ends, its console must hold nothing, and its kernels end."""
    tabs: list[LabPage] = []
    with ExitStack() as contexts:

        def open_tab(**options: object) -> LabPage:
            context = browser.new_context(**{"viewport": WINDOW, **options})
            contexts.callback(context.close)
            tabs.append(LabPage(context.new_page(), server))
            return tabs[-1]

        try:
            yield open_tab
        finally:
            contexts.close()
            server.end_kernels()
            server.forget_settings()
    assert [text for tab in tabs for text in tab.complaints] == []


@pytest.fixture
def lab(open_lab: Callable[..., LabPage]) -> LabPage:
    """A tab of a usual size."""
    return open_lab()


@pytest.fixture
def shots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for screenshots: that of ``--screenshots``, or one that pytest keeps a while."""
    chosen = request.config.getoption("--screenshots")
    if chosen is None:
        return tmp_path / "screenshots"
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).strip("-")
    return Path(chosen).absolute() / request.path.stem.removeprefix("test_") / name


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder for README's pictures: the real one with ``--pictures``."""
    return PICTURES if request.config.getoption("--pictures") else tmp_path / "pictures"

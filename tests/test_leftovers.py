"""The fixture that says what a test left behind: it must see what it is for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEAKS = {
    "process": """
def test_leaks():
    subprocess.Popen(["sleep", "7"])
""",
    "orphan": """
def test_leaks():
    subprocess.run(["sh", "-c", "sleep 7 >/dev/null 2>&1 &"])
""",
    "network namespace": """
def test_leaks():
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    MADE.write_text(NAME)
""",
    "tracefs instance": """
def test_leaks():
    os.mkdir(f"/sys/kernel/tracing/instances/{NAME}")
    MADE.write_text(NAME)
""",
    "descriptor": """
@pytest.mark.live
def test_leaks():
    import ctypes, platform
    number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
    # BPF_MAP_CREATE: type array, key and value of 4 bytes, 1 entry
    attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(number, 0, ctypes.byref(attributes), 128) > 0
""",
}
TIDY = """
def test_tidies_up():
    subprocess.run(["sleep", "0"])
    # Dead, and waited for by nobody yet.
    globals()["zombie"] = subprocess.Popen(["true"])
"""
# The process id in the name tells other tests on this machine whose it is.
HEAD = """
import os, pathlib, subprocess
import pytest
NAME = f"tracekit-test-{os.getpid()}"
MADE = pathlib.Path(__file__).with_name("made")
"""


def run(folder: Path, test: str, **changes: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(HERE / "conftest.py", folder)
    (folder / "test_it.py").write_text(HEAD + test)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = live\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRACEKIT_MODE": "", **changes},
        cwd=HERE.parent,
        check=False,
    )


@pytest.fixture
def _tidy_up(tmp_path):
    yield
    made = tmp_path / "made"
    if not made.exists():
        return
    name = made.read_text()
    if Path(f"/run/netns/{name}").exists():
        subprocess.run(["ip", "netns", "delete", name], check=True)
    else:
        Path(f"/sys/kernel/tracing/instances/{name}").rmdir()


@pytest.mark.parametrize("kind", LEAKS)
@pytest.mark.usefixtures("_tidy_up")
def test_a_leak_is_seen(kind, tmp_path):
    if kind in ("network namespace", "tracefs instance") and os.getuid() != 0:
        pytest.skip("only root can make one")
    shown = run(tmp_path, LEAKS[kind])
    if kind == "descriptor" and "1 skipped" in shown.stdout:
        pytest.skip("programs can't be loaded here")
    assert "1 passed, 1 error" in shown.stdout, shown.stdout
    word = {"orphan": "process"}.get(kind, kind)
    assert f"left behind by this test: {word} " in shown.stdout


def test_what_has_ended_is_no_leak(tmp_path):
    shown = run(tmp_path, TIDY)
    assert "1 passed" in shown.stdout, shown.stdout
    assert "error" not in shown.stdout


LIVE = """
@pytest.mark.live
def test_of_the_kernel():
    pass
"""


def test_a_live_test_that_cannot_run_is_skipped_with_a_reason(tmp_path):
    shown = run(tmp_path, LIVE, TRACEKIT_MODE="recorded", PYTEST_ADDOPTS="-rs")
    assert "1 skipped" in shown.stdout
    assert "TRACEKIT_MODE=recorded (TRACEKIT_MODE=live makes this a failure)" in shown.stdout


def test_where_live_is_a_must_it_fails(tmp_path):
    no_bcc = "from tracekit.host import interpreters\ninterpreters._candidates = lambda: iter([])\n"
    shown = run(tmp_path, no_bcc + LIVE, TRACEKIT_MODE="live")
    assert "TRACEKIT_MODE=live, but this live test can't run: " in shown.stdout
    assert "skipped" not in shown.stdout
    assert shown.returncode == 1

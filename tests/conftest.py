"""What every test gets: a live test runs or says why not, and no test leaves anything behind."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import re
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from tracekit.host.packages import find_command
from tracekit.host.requirements import missing_for

LIVE_IS_A_MUST = os.environ.get("TRACEKIT_MODE") == "live"
SECONDS_TO_VANISH = 3.0

# Every process started by a test inherits this, also when its parent is gone.
_MARK = f"TRACEKIT_TEST_SESSION={os.getpid()}.{time.time_ns()}"
os.environ.update([_MARK.split("=")])

# Programs of other kinds come and go with services (systemd's, on cgroups).
_TRACING = {"kprobe", "perf_event", "raw_tracepoint", "tracepoint", "tracing"}
_BPF_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_GET_NEXT_ID = 11


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests in the browser can give away."""
    group = parser.getgroup("tracekit")
    group.addoption("--screenshots", metavar="DIR", help="keep the browser's screenshots in DIR")
    group.addoption("--pictures", action="store_true", help="only make the pictures of README.md")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--pictures``, keep the tests that make one."""
    if config.getoption("--pictures"):
        kept = [item for item in items if item.get_closest_marker("pictures")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Decide for ``@pytest.mark.live(level="L1")``: run, skip, or fail; the default is L2."""
    mark = item.get_closest_marker("live")
    if mark is None:
        return
    reason = _why_not_live(mark.kwargs.get("level", "L2"))
    if reason and LIVE_IS_A_MUST:
        pytest.fail(f"TRACEKIT_MODE=live, but this live test can't run: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"{reason} (TRACEKIT_MODE=live makes this a failure)")


@cache
def _why_not_live(level: str) -> str:
    if os.environ.get("TRACEKIT_MODE") == "recorded":
        return "TRACEKIT_MODE=recorded"
    check = missing_for(level)
    return "" if check is None else f"{check.name}: {check.fact}; next: {check.remedy}"


@pytest.fixture(autouse=True)
def _nothing_is_left(request):
    live = request.node.get_closest_marker("live") is not None
    before = leftovers(live)
    yield
    left = leftovers(live) - before
    deadline = time.monotonic() + SECONDS_TO_VANISH
    # The kernel frees a program some time after the last descriptor is closed.
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
        # What others on this machine make and take away meanwhile is not ours to wait for.
        left &= leftovers(live)
    assert not left, "left behind by this test: " + "; ".join(sorted(left))


def leftovers(live: bool) -> set[str]:
    """Everything that tests make and must take away again, each as one line.

    Other people may trace on the same machine at the same time: what is counted is what belongs to
    processes of this test session, and what belongs to nobody.
    """
    processes = _processes()
    found = {f"process {pid}: {command}" for pid, command in processes.items()}
    found |= _descriptors()
    networks = [name for name in _names("/run/netns") if not _is_foreign(name, processes)]
    found |= {f"network namespace {name}" for name in networks}
    found |= _instances(processes)
    if live:
        found |= _programs_of_nobody(processes)
    return found


def _processes() -> dict[int, str]:
    # Ours are those with our mark, and the children of ours.
    mark, parents, ours = _MARK.encode(), {}, set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            # After the command's name, which may hold blanks: state, parent.
            state, parent = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[:2]
            if state in "ZX":
                continue
            parents[int(name)] = int(parent)
            if mark in Path("/proc", name, "environ").read_bytes():
                ours.add(int(name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    grew = True
    while grew:
        grown = {pid for pid, parent in parents.items() if parent in {os.getpid(), *ours}}
        grew, ours = bool(grown - ours), ours | grown
    commands = {pid: _command(pid) for pid in ours}
    # Python's own helper of shared memory lives until its parent ends.
    return {pid: text for pid, text in commands.items() if text and "resource_tracker" not in text}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()[:200]
    except OSError:
        return ""


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if re.search(r"bpf|perf_event", target):
            found.add(f"descriptor {name} of this process: {target}")
    return found


def _instances(processes: dict[int, str]) -> set[str]:
    names = _names("/sys/kernel/tracing/instances")
    # tracekit-UID-… belongs to somebody's `lab`.
    mine = [name for name in names if re.match(r"tracekit-(?!\d+-)", name)]
    return {f"tracefs instance {name}" for name in mine if not _is_foreign(name, processes)}


def _is_foreign(name: str, processes: dict[int, str]) -> bool:
    # A name tells who made it. What the dead left is ours, as far as anybody can tell.
    maker = re.fullmatch(r"tracekit-(?:worker|test)-(\d+)", name)
    if not maker or int(maker[1]) in {os.getpid(), *processes}:
        return False
    return Path("/proc", maker[1]).exists()


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


_known: dict[int, str] = {}


def _programs_of_nobody(processes: dict[int, str]) -> set[str]:
    ids = _program_ids()
    new = ids - _known.keys()
    for number in new:
        _known[number] = _program_kind(number)
    for number in _known.keys() - ids:
        del _known[number]
    candidates = {number for number in ids if _known[number].split()[0] in _TRACING}
    if not candidates:
        return set()
    foreign = _held_by_others(processes)
    return {f"BPF program {number}: {_known[number]}" for number in candidates - foreign}


def _program_ids() -> set[int]:
    # bpf(2): the next id after the given one. Only root (CAP_SYS_ADMIN) may ask.
    call = _BPF_CALL.get(platform.machine())
    if call is None:
        return set()
    libc, found = ctypes.CDLL(None, use_errno=True), set()
    attributes = (ctypes.c_uint32 * 32)()
    while libc.syscall(call, _PROG_GET_NEXT_ID, ctypes.byref(attributes), 12) == 0:
        found.add(attributes[1])
        attributes[0] = attributes[1]
    return found


def _program_kind(number: int) -> str:
    tool = find_command("bpftool")
    if tool is None:
        return "unknown"
    shown = subprocess.run(
        [tool, "-j", "prog", "show", "id", str(number)], capture_output=True, text=True
    )
    try:
        program = json.loads(shown.stdout)
    except ValueError:
        return "gone"
    return f"{program.get('type', 'gone')} {program.get('name', '')}"


def _held_by_others(processes: dict[int, str]) -> set[int]:
    held = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in processes or int(name) == os.getpid():
            continue
        for number in _names(f"/proc/{name}/fd"):
            try:
                if os.readlink(f"/proc/{name}/fd/{number}") != "anon_inode:bpf-prog":
                    continue
                text = Path(f"/proc/{name}/fdinfo/{number}").read_text()
            except OSError:
                continue
            held |= {int(value) for value in re.findall(r"^prog_id:\s*(\d+)", text, re.MULTILINE)}
    return held

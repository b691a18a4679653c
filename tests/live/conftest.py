"""Workloads that are known exactly, and what the kernel says is attached."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.host.packages import find_command

# Calls getpgid(2) with the numbers first, first + 1, … as argument, on one processor.
_GETPGID = """
import ctypes, os, sys
first, count, cpu = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
getpgid = ctypes.CDLL(None).getpgid
sys.stdin.readline()
for number in range(first, first + count):
    getpgid(number)
"""


class Getpgid:
    """Processes that call getpgid with numbers of their own, each on its own processor."""

    #: The numbers of producer p begin at MARK + p * EACH: no other program asks for such a process.
    MARK, EACH = 0x40000000, 1 << 24

    def __init__(self, producers: int, count: int) -> None:
        cpus = sorted(os.sched_getaffinity(0))
        self.sent = producers * count
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-c", _GETPGID),
                    *(str(self.MARK + p * self.EACH), str(count), str(cpus[p % len(cpus)])),
                ],
                stdin=subprocess.PIPE,
            )
            for p in range(producers)
        ]

    def start(self) -> None:
        for process in self.processes:
            process.stdin.close()  # ends their readline()

    @property
    def running(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()


@pytest.fixture
def getpgid() -> Iterator[Callable[[int, int], Getpgid]]:
    """getpgid(producers, count): a started workload; ended after the test."""
    made: list[Getpgid] = []

    def start(producers: int, count: int) -> Getpgid:
        made.append(Getpgid(producers, count))
        made[-1].start()
        return made[-1]

    yield start
    for workload in made:
        workload.end()


def as_root() -> list[str]:
    """The words before a command that only root may run."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def instance_of(worker: int) -> str:
    """The name of the tracefs instance whose trace_pipe a process reads, "" if it reads none."""
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            target = Path(os.readlink(link))
            if target.name == "trace_pipe" and target.parent.parent.name == "instances":
                return target.parent.name
    return ""


@pytest.fixture
def instance() -> Iterator[Path]:
    """A tracefs instance nobody else uses: one of its own, or one `test` prepared for this user."""
    instances = Path("/sys/kernel/tracing/instances")
    if os.geteuid() == 0:
        own = instances / f"tracekit-test-{os.getpid()}"
        own.mkdir()
        try:
            yield own
        finally:
            own.rmdir()
        return
    with contextlib.ExitStack() as lent:
        prepared = sorted(instances.glob(f"tracekit-{os.getuid()}-*"))
        found = next((one for one in prepared if _is_free(one, lent)), None)
        assert found is not None, f"none of {len(prepared)} prepared instances is free"
        (found / "trace").write_text("")
        settings = [found / name for name in ("trace_clock", "buffer_size_kb")]
        before = [_chosen(setting.read_text()) for setting in settings]
        try:
            yield found
        finally:
            (found / "events/enable").write_text("0")
            for setting, value in zip(settings, before, strict=True):
                setting.write_text(value)


def _is_free(prepared: Path, lent: contextlib.ExitStack) -> bool:
    # The lock that workers take on the one they read.
    try:
        descriptor = os.open(prepared, os.O_RDONLY)
    except OSError:
        return False  # removed meanwhile
    lent.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _chosen(text: str) -> str:
    # "[local] global mono"; "7 (expanded: 1408)" before the first event, "1408" after it
    match = re.search(r"\[(\w+)\]|expanded: (\d+)|(\d+)", text)
    assert match is not None, text
    return str(match[match.lastindex])


@pytest.fixture
def interrupt() -> Callable[[subprocess.Popen], int]:
    """interrupt(process): Ctrl-C, until it ends; returns its exit status.

    Once more where it fell into a function that bcc called: there it gets lost.
    """

    def press(process: subprocess.Popen) -> int:
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(5)
        pytest.fail("five interrupts did not end the script")

    return press


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait until the condition holds; returns how many seconds that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.005)
    return time.monotonic() - start


def programs_of(root: int) -> set[int]:
    """The ids of the BPF programs that a process and its descendants hold."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(
                    Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    family, grew = {root}, True
    while grew:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        family |= children
        grew = bool(children)
    found = set()
    for pid in family:
        try:
            for number in os.listdir(f"/proc/{pid}/fdinfo"):
                text = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
                found |= {int(i) for i in re.findall(r"^prog_id:\s*(\d+)", text, re.MULTILINE)}
        except OSError:
            continue
    return found


def all_programs() -> set[int]:
    """The ids of all BPF programs there are; only root may ask."""
    bpftool = find_command("bpftool")
    assert bpftool is not None, "install bpftool"
    listed = subprocess.run(
        [*as_root(), bpftool, "prog", "show"], capture_output=True, text=True, check=True
    ).stdout
    return {int(number) for number in re.findall(r"^(\d+): ", listed, re.MULTILINE)}


@pytest.fixture
def kernel():
    """What tests ask about the kernel and about time."""

    class Kernel:
        all_programs = staticmethod(all_programs)
        instance_of = staticmethod(instance_of)
        programs_of = staticmethod(programs_of)
        wait_until = staticmethod(wait_until)

    return Kernel


@pytest.fixture
def started_script() -> Callable[..., contextlib.AbstractContextManager]:
    """started_script(script, errors): a bcc script under way, in the Python that has bcc.

    It gives the process and a queue of its lines, each as words; None when it has ended.
    """
    return _started_script


@contextlib.contextmanager
def _started_script(script: Path, errors: Path) -> Iterator[tuple[subprocess.Popen, queue.Queue]]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if (headers := find_headers()) is not None:
        environment["BCC_KERNEL_SOURCE"] = str(headers.path)
    with (
        open(errors, "w") as stderr,
        subprocess.Popen(
            [find_bcc_python(), "-u", script],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            cwd=script.parent,
            text=True,
            # a test run in the background of a shell has inherited deafness to Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        lines: queue.Queue = queue.Queue()

        def read() -> None:
            for line in process.stdout:
                lines.put(line.split())
            lines.put(None)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield process, lines
        finally:
            process.kill()
            reader.join()

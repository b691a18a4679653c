"""Workloads that are known exactly, and what the kernel says is attached."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
    """The ids of all BPF programs there are."""
    listed = subprocess.run(
        ["bpftool", "prog", "show"], capture_output=True, text=True, check=True
    ).stdout
    return {int(number) for number in re.findall(r"^(\d+): ", listed, re.MULTILINE)}


@pytest.fixture
def kernel():
    """What tests ask about the kernel and about time."""

    class Kernel:
        all_programs = staticmethod(all_programs)
        programs_of = staticmethod(programs_of)
        wait_until = staticmethod(wait_until)

    return Kernel

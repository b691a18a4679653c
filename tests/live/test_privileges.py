"""The road to two capabilities, walked for real: as root (or through sudo), down to a user."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracekit.host.privileges import supervisor_words
from tracekit.host.rights import is_root, mount_point, sudo_asks_nothing

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not is_root() and not sudo_asks_nothing(), reason="only root can give capabilities away"
    ),
]

# What the person's process says about itself, as one JSON line.
LOOK = """
import glob, json, os, pathlib
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
tracefs = pathlib.Path(TRACEFS)
own = sorted(glob.glob(f"{tracefs}/instances/tracekit-{os.getuid()}-*"))
enable = "events/bpf_trace/bpf_trace_printk/enable"
print(json.dumps({
    "uid": os.getuid(), "ambient": status["CapAmb"], "effective": status["CapEff"],
    "format": (tracefs / "events/sched/sched_switch/format").read_text()[:18],
    "writable": [os.access(f"{instance}/{enable}", os.W_OK) for instance in own],
    "home": os.environ["HOME"],
    "mark": os.environ.get("OF_THE_CALLER"),
}), flush=True)
"""
WAIT = LOOK + "import signal; signal.pause()"


def person() -> int:
    return os.getuid() or pwd.getpwnam("nobody").pw_uid


def tracefs() -> Path:
    found = mount_point("tracefs")
    assert found is not None
    return found


def state() -> tuple[int, int]:
    about = tracefs().stat()
    return about.st_gid, stat.S_IMODE(about.st_mode)


def instances() -> list[str]:
    # os.listdir is closed to an ordinary user; sudo is what the test needs anyway.
    words = [*as_root(), "ls", str(tracefs() / "instances")]
    names = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if name.startswith(f"tracekit-{person()}-")]


def as_root() -> list[str]:
    return [] if is_root() else ["sudo", "-n"]


@contextlib.contextmanager
def start(program: str, caller: int | None = None) -> Iterator[subprocess.Popen[str]]:
    text = program.replace("TRACEFS", repr(str(tracefs())))
    words = supervisor_words(person(), caller or os.getpid(), ("/usr/bin/python3", "-c", text))
    words = [*as_root(), *words]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                end(process)


def wait_until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def _restored():
    with one_session_at_a_time() as gate:
        undisturbed = is_unused(gate)
        before, there = state(), instances()
        yield
        wait_until(lambda: instances() == there)
        # Somebody's `lab` on this machine may need tracefs as it is now.
        wait_until(lambda: state() == before or not (undisturbed and is_unused(gate)))


@contextlib.contextmanager
def one_session_at_a_time() -> Iterator[int | None]:
    """Lock out other tests of this kind, also in containers; yields a descriptor of `instances`."""
    try:
        lock, gate = (os.open(tracefs() / name, os.O_RDONLY) for name in ("events", "instances"))
    except PermissionError:
        yield None
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield gate
    finally:
        os.close(gate)
        os.close(lock)


def is_unused(gate: int | None) -> bool:
    """Whether no server holds tracefs; asked as servers do, one at a time."""
    if gate is None:
        return False
    holders = os.open(tracefs(), os.O_RDONLY)
    fcntl.flock(gate, fcntl.LOCK_EX)
    try:
        fcntl.flock(holders, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(holders)
        fcntl.flock(gate, fcntl.LOCK_UN)


@pytest.mark.usefixtures("_restored")
def test_a_user_with_two_capabilities_and_nothing_else():
    there = len(instances())
    with subprocess.Popen(["sleep", "600"], env=os.environ | {"OF_THE_CALLER": "5201"}) as caller:
        try:
            with start(LOOK + "raise SystemExit(5)", caller.pid) as process:
                seen = json.loads(process.communicate()[0])
        finally:
            caller.kill()
    assert process.returncode == 5
    assert seen["uid"] == person()
    assert int(seen["effective"], 16) == int(seen["ambient"], 16) == 1 << 39 | 1 << 38
    assert seen["format"] == "name: sched_switch"
    assert seen["writable"] == [True] * (there + 4)
    assert seen["home"] == pwd.getpwuid(person()).pw_dir
    # The caller's environment, if the caller is that person; root's is not handed on.
    assert seen["mark"] == (None if is_root() else "5201")


@pytest.mark.usefixtures("_restored")
def test_two_at_once_share_the_group_and_the_last_restores():
    there = len(instances())
    with start(WAIT) as first:
        json.loads(first.stdout.readline())
        group = tracefs().stat().st_gid
        with start(WAIT) as second:
            json.loads(second.stdout.readline())
            assert tracefs().stat().st_gid == group
            assert len(instances()) == there + 8
            end(first)
            assert len(instances()) == there + 4
            assert tracefs().stat().st_gid == group
            end(second)


@pytest.mark.usefixtures("_restored")
def test_a_signal_is_passed_on_and_everything_undone():
    with start(WAIT) as process:
        json.loads(process.stdout.readline())
        end(process)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("_restored")
def test_it_ends_with_the_process_that_asked_for_it():
    with subprocess.Popen(["sleep", "600"]) as caller, start(WAIT, caller.pid) as process:
        try:
            json.loads(process.stdout.readline())
        finally:
            caller.kill()
        process.wait(timeout=15)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("_restored")
@pytest.mark.skipif(not is_root(), reason="only root can kill what runs as root")
def test_what_a_killed_one_left_is_undone_with_the_next():
    with start(WAIT) as killed:
        json.loads(killed.stdout.readline())
        changed = tracefs().stat().st_gid
        killed.kill()
        # Its child gets SIGTERM from the kernel: the pipe has no writer any more.
        assert killed.stdout.read() == ""
    assert tracefs().stat().st_gid == changed
    assert len(instances()) >= 4
    with start(LOOK) as following:
        json.loads(following.communicate()[0])


def end(process: subprocess.Popen[str]) -> None:
    # A command called kill is not everywhere; every shell has its own.
    subprocess.run([*as_root(), "sh", "-c", f"kill -TERM {process.pid}"], check=True)
    process.wait(timeout=15)

"""bpf_trace_printk through tracefs instances: whole, in order, and nothing left."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracekit as tk
from tracekit.errors import ProbeClosed, WorkerDied
from tracekit.host.rights import is_root

pytestmark = pytest.mark.live

INSTANCES = Path("/sys/kernel/tracing/instances")
#: Prime numbers, as lengths nobody else asks for in this order.
PRIMES = [n for n in range(2, 2000) if all(n % d for d in range(2, int(n**0.5) + 1))]


def is_given_back(instance: str) -> bool:
    """Whether an instance that a worker made is gone, or one it was lent can be had again."""
    if not is_root():
        return is_free(INSTANCES / instance)
    return not (INSTANCES / instance).exists()


def is_free(prepared: Path) -> bool:
    """Whether no worker holds an instance that `tracekit test` prepared for this user."""
    descriptor = os.open(prepared, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def ask() -> int:
    """Ask for random bytes, as many as each prime says; returns the process id of who asked."""
    script = "import os, sys; [os.getrandom(int(n)) for n in sys.argv[1:]]"
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, PRIMES)])
    assert process.wait() == 0
    return process.pid


def messages(events, pid):
    return [int(message) for message in events["msg"][events["pid"] == pid] if int(message)]


def is_primes(found: list[int]) -> bool:
    # Python itself asks for some bytes when it starts
    return found[-len(PRIMES) :] == PRIMES


def test_every_message_arrives_once_and_in_order():
    with tk.Probe.from_file("getrandom.c") as probe:
        pid = ask()
        events = probe.read()
    assert is_primes(messages(events, pid))
    mine = events[events["pid"] == pid]
    assert (mine["ts"][1:] >= mine["ts"][:-1]).all()
    assert set(mine["task"].tolist()) == {os.path.basename(sys.executable).encode()[:15]} or all(
        mine["task"]
    )
    assert events.dropped == 0


def test_two_printing_probes_read_an_instance_each(kernel):
    with (
        tk.Probe.from_file("getrandom.c", name="one") as one,
        tk.Probe.from_file("getrandom.c", name="two") as two,
    ):
        instances = {kernel.instance_of(probe.pid) for probe in (one, two)}
        if is_root():
            assert instances == {f"tracekit-worker-{probe.pid}" for probe in (one, two)}
        else:
            lent = [re.fullmatch(rf"tracekit-{os.getuid()}-\d+", name) for name in instances]
            assert all(lent)
            assert len(lent) == 2
        pid = ask()
        # bpf_trace_printk is global: each hears both programs' messages
        for probe in (one, two):
            found = messages(probe.read(), pid)
            assert is_primes(found[::2])
            assert is_primes(found[1::2])
    assert all(map(is_given_back, instances))


def test_messages_of_several_lines_and_empty_ones_do_not_disturb():
    text = """
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	if ((u32)args->pid >> 30 != 1)
		return 0;
	bpf_trace_printk("first\\n");
	bpf_trace_printk("up\\ndown");
	bpf_trace_printk("last");
	return 0;
}
"""
    import ctypes

    with tk.Probe.from_text(text, name="lines") as probe:
        ctypes.CDLL(None).getpgid(0x40000000)
        events = probe.read()
    mine = events[events["pid"] == os.getpid()]
    assert mine["msg"].tolist() == [b"first", b"up\ndown", b"last"]


def test_the_instance_of_a_killed_worker_is_given_back_by_the_notebook(kernel):
    with tk.Probe.from_file("getrandom.c", name="killed") as probe:
        instance = kernel.instance_of(probe.pid)
        assert not is_given_back(instance)
        os.kill(probe.pid, signal.SIGKILL)
        with pytest.raises((WorkerDied, ProbeClosed)):
            probe.read(seconds=60)
        assert is_given_back(instance)


def test_the_next_probe_removes_what_a_killed_worker_left():
    if not is_root():
        # who may not make instances leaves none
        with pytest.raises(PermissionError):
            (INSTANCES / "tracekit-worker-0").mkdir()
        return
    abandoned = subprocess.Popen(["true"])
    abandoned.wait()
    left = INSTANCES / f"tracekit-worker-{abandoned.pid}"
    left.mkdir()
    try:
        with tk.Probe.from_file("getrandom.c"):
            assert not left.exists()
    finally:
        if left.exists():
            left.rmdir()


def test_the_instance_is_given_back_when_the_notebook_is_killed(kernel):
    script = (
        "import tracekit as tk, time\n"
        "probe = tk.Probe.from_file('getrandom.c')\n"
        "print(probe.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as notebook:
        try:
            worker = int(notebook.stdout.readline())
            instance = kernel.instance_of(worker)
            assert not is_given_back(instance)
        finally:
            notebook.kill()
        kernel.wait_until(lambda: is_given_back(instance), 5)
    kernel.wait_until(lambda: not os.path.exists(f"/proc/{worker}"))

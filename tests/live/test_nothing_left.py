"""Whatever happens to the notebook, what it attached goes with it; measured in a real kernel."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("jupyter_client")
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.live

NOTHING = "TRACEPOINT_PROBE(syscalls, sys_enter_getpgid) { return 0; }"
RERUNS = 100


class Notebook:
    """A Jupyter kernel and its client: what runs a notebook's cells."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=60)
        self.run("import os, tracekit as tk")

    def pid(self) -> int:
        return self.manager.provisioner.process.pid

    def start(self, code: str, cell: str | None = None) -> str:
        """Send a request to run code, as JupyterLab sends a cell."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        if cell:
            message["metadata"]["cellId"] = cell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def finish(self, request: str) -> dict:
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"]

    def run(self, code: str, cell: str | None = None, *, may_fail: bool = False) -> dict:
        content = self.finish(self.start(code, cell))
        assert may_fail or content["status"] == "ok", content
        return content

    def value(self, code: str) -> str:
        """What an expression is, as text."""
        self.run(f"open({self.path!r}, 'w').write(str({code}))")
        with open(self.path) as file:
            return file.read()

    path = ""

    def shut_down(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    # an environment's kernel is this very Python, whatever kernels are installed
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    made = Notebook()
    made.path = str(tmp_path / "value")
    yield made
    made.shut_down()


@pytest.mark.parametrize("cell", [str(uuid.uuid4()), None], ids=["with cell id", "without"])
def test_a_hundred_runs_of_one_cell_leave_one_program(notebook, kernel, cell):
    code = f"probe = tk.Probe.from_text({NOTHING!r})\nprobe"
    start = time.monotonic()
    seen = set()
    # a run each in full is a compile each; two kinds of cells share the hundred
    for _ in range(RERUNS if cell else RERUNS // 10):
        notebook.run(code, cell)
        held = kernel.programs_of(notebook.pid())
        assert len(held) == 1
        seen |= held
    took = time.monotonic() - start
    print(f"{len(seen)} runs in {took:.1f} s, one program attached after each")
    assert len(seen) == (RERUNS if cell else RERUNS // 10)
    kernel.wait_until(lambda: len(seen & kernel.all_programs()) == 1)
    assert notebook.value("len(tk.open_probes())") == "1"


def test_a_cell_that_was_changed_replaces_what_it_made(notebook, kernel):
    make = "{} = [tk.Probe.from_text({!r}, name=n) for n in {}]"
    notebook.run(make.format("first", NOTHING, ["a", "b"]), "one")
    assert len(kernel.programs_of(notebook.pid())) == 2
    notebook.run(make.format("second", NOTHING, ["c"]), "two")
    assert len(kernel.programs_of(notebook.pid())) == 3
    # another text, other names, the same cell
    notebook.run(make.format("third", NOTHING + "\n", ["d"]), "one")
    kernel.wait_until(lambda: len(kernel.programs_of(notebook.pid())) == 2)
    assert notebook.value("[p.name for p in tk.open_probes()]") == "['c', 'd']"


def test_binding_the_name_to_something_else_detaches(notebook, kernel):
    notebook.run(f"probe = tk.Probe.from_text({NOTHING!r})", "one")
    assert len(kernel.programs_of(notebook.pid())) == 1
    notebook.run("probe = None", "two")
    kernel.wait_until(lambda: not kernel.programs_of(notebook.pid()))


PERF = """
struct event_t { u32 number; };
BPF_PERF_OUTPUT(events);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = { args->pid };

	if (event.number >> 30 == 1)
		events.perf_submit(args, &event, sizeof(event));
	return 0;
}
"""


@pytest.mark.parametrize("name", ["from_text", "read"])
def test_an_interrupt_leaves_a_kernel_that_works(notebook, kernel, name):
    slow = f'"#include <net/sock.h>\\n" + {NOTHING!r}'
    if name == "from_text":
        # interrupted at some point of the compile: the worker is there already
        request = notebook.start(f"probe = tk.Probe.from_text({slow})")
        kernel.wait_until(lambda: workers_of(notebook.pid()))
    else:
        notebook.run(f"import ctypes; probe = tk.Probe.from_text({PERF!r})")
        request = notebook.start(f"open({notebook.path!r}, 'w').close(); probe.read(seconds=600)")
        kernel.wait_until(lambda: os.path.exists(notebook.path))
    notebook.manager.interrupt_kernel()
    content = notebook.finish(request)
    assert content["ename"] == "KeyboardInterrupt"
    if name == "from_text":
        assert not kernel.programs_of(notebook.pid())
        assert not workers_of(notebook.pid())
    else:
        # an interrupt ends the reading, not the probe
        notebook.run("[ctypes.CDLL(None).getpgid(0x40000000 + n) for n in range(5)]")
        assert notebook.value("(probe.read()['number'] & 7).tolist()") == "[0, 1, 2, 3, 4]"
    notebook.run(f"with tk.Probe.from_text({NOTHING!r}, name='next') as p: print(p.read())")


def workers_of(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended since it was listed
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"worker.py" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("how", ["restart", "shutdown", "SIGKILL"])
def test_the_end_of_the_kernel_detaches_within_a_second(notebook, kernel, how):
    ring = "struct event_t { u64 ts; }; BPF_RINGBUF_OUTPUT(events, 16);" + NOTHING.replace(
        "return 0;",
        "struct event_t e = {1}; events.ringbuf_output(&e, sizeof(e), 0); return 0;",
    )
    notebook.run(f"probes = [tk.Probe.from_text({NOTHING!r}), tk.Probe.from_text({ring!r})]")
    held = kernel.programs_of(notebook.pid())
    assert len(held) == 2
    workers = workers_of(notebook.pid())
    assert len(workers) == 2
    start = time.monotonic()
    if how == "SIGKILL":
        os.kill(notebook.pid(), signal.SIGKILL)
    elif how == "restart":
        notebook.manager.restart_kernel(now=False)
    else:
        notebook.client.shutdown()
    kernel.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in workers))
    kernel.wait_until(lambda: not held & kernel.all_programs())
    print(f"{how}: nothing was attached after {time.monotonic() - start:.3f} s")


CHILD = """
import multiprocessing, os, sys, time
import tracekit as tk

def say(*words):
    # one write: print() may make several, and two processes share the pipe
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def live_on(go):
    say("child", os.getpid(), [p.closed for p in tk.open_probes()])
    time.sleep(600)

if __name__ == "__main__":
    ring = '''struct event_t { u64 ts; };
    BPF_RINGBUF_OUTPUT(events, 16);
    TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
    { struct event_t e = {1}; events.ringbuf_output(&e, sizeof(e), 0); return 0; }'''
    probe = tk.Probe.from_text(ring)
    process = multiprocessing.get_context("fork").Process(target=live_on, args=(None,))
    process.start()
    say("worker", probe.pid, len(probe.read()))
    time.sleep(600)
"""


def test_a_forked_child_that_lives_on_keeps_nothing_attached(kernel):
    command = [sys.executable, "-c", CHILD]
    # a group of its own, so that whatever happens here ends them all
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as notebook:
        try:
            lines = dict(notebook.stdout.readline().split(maxsplit=1) for _ in range(2))
            child, closed = lines[b"child"].split(maxsplit=1)
            worker = int(lines[b"worker"].split()[0])
            assert closed.strip() == b"[]"
            held = kernel.programs_of(worker)
            assert len(held) == 1
            notebook.kill()
            took = kernel.wait_until(lambda: not held & kernel.all_programs())
            assert os.path.exists(f"/proc/{int(child)}/fd/0")
            # nor does it keep the ring buffer mapped
            assert "bpf-map" not in Path(f"/proc/{int(child)}/maps").read_text()
        finally:
            os.killpg(notebook.pid, signal.SIGKILL)
    print(f"nothing was attached after {took:.3f} s")


def test_a_script_that_ends_with_an_open_probe(kernel):
    script = f"import tracekit as tk; probe = tk.Probe.from_text({NOTHING!r}); print(probe.pid)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert not os.path.exists(f"/proc/{ended.stdout.strip()}")

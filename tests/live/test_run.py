"""`python3 -m tracekit run`, and the scripts a learner takes home."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest

import tracekit as tk
from tracekit.capture.loading import compiler_options
from tracekit.capture.run import main
from tracekit.errors import TracekitError

pytestmark = pytest.mark.live
LENGTH = 4099  # a prime number nobody else asks for


@pytest.fixture
def asking():
    """Somebody asks for random bytes, again and again."""
    stop = threading.Event()

    def ask():
        while not stop.wait(0.01):
            os.getrandom(LENGTH)

    thread = threading.Thread(target=ask)
    thread.start()
    yield thread.native_id
    stop.set()
    thread.join()


def test_a_program_prints_what_the_documents_does(asking):
    out = io.StringIO()
    assert main("getrandom", count=50, out=out) == 0
    header, *lines = out.getvalue().splitlines()
    assert header.split() == ["TIME(s)", "COMM", "PID", "LEN"]
    assert len(lines) == 50
    assert any(line.endswith(f" {asking} {LENGTH}") for line in map(squeeze, lines))


def squeeze(line: str) -> str:
    return " ".join(line.split())


def test_a_program_that_is_not_there():
    with pytest.raises(TracekitError, match="no program 'nothing'"):
        main("nothing")


def test_it_ends_with_ctrl_c_and_with_its_reader(asking):
    command = [sys.executable, "-m", "tracekit", "run", "getrandom"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        for _ in range(3):
            assert running.stdout.readline()
        running.send_signal(2)
        status, told = running.wait(30), running.stderr.read()
        assert (status, b"Traceback" in told) == (0, False), told
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.readline()
        running.stdout.close()
        status, told = running.wait(30), running.stderr.read()
        assert (status, b"Traceback" in told) == (0, False), told


RING = """
struct event_t { u32 length; char comm[16]; };
BPF_RINGBUF_OUTPUT(events, 16);
TRACEPOINT_PROBE(syscalls, sys_enter_getrandom)
{
	struct event_t event = { args->len };

	bpf_get_current_comm(event.comm, sizeof(event.comm));
	events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
"""


@pytest.mark.parametrize("kind", ["ring", "perf"])
def test_a_script_of_its_own_prints_the_same_without_tracekit(asking, interrupt, tmp_path, kind):
    text = RING
    if kind == "perf":
        text = RING.replace("BPF_RINGBUF_OUTPUT(events, 16)", "BPF_PERF_OUTPUT(events)")
        text = text.replace(
            "ringbuf_output(&event, sizeof(event), 0)", "perf_submit(args, &event, sizeof(event))"
        )
    with tk.Probe.from_text(text, name=kind) as probe:
        script = tmp_path / "script.py"
        script.write_text(probe.script())
        source = compiler_options(probe.program)["kernel_source"]
    environment = os.environ | ({"BCC_KERNEL_SOURCE": source} if source else {})
    with subprocess.Popen(
        ["/usr/bin/python3", "-u", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        # a test run in the background of a shell has inherited deafness to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        try:
            assert running.stdout.readline().split() == ["length", "comm"]
            while not running.stdout.readline().startswith(str(LENGTH)):
                assert running.poll() is None
            assert interrupt(running) == 0
        finally:
            running.kill()

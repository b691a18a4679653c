"""Each program of the course as a script of its own, run by the Python that has bcc."""

from __future__ import annotations

import os
import queue
import random
import socket
import threading
import time
from contextlib import suppress

import pytest

from tracekit.capture.listing import LISTINGS
from tracekit.capture.probe import PROGRAMS
from tracekit.capture.program import read_program
from tracekit.capture.run import print_script
from tracekit.errors import TrafficError, UnknownTracepoint
from tracekit.tracepoints.tracefs import read_format
from tracekit.traffic.tcp import exchange

pytestmark = pytest.mark.live

SECONDS = 60.0  # until the expected line is there
LENGTH = 4099  # a prime number nobody else asks for
BELOW_EPHEMERAL = range(10_000, 30_000)  # net.ipv4.ip_local_port_range begins at 32768


def choose_port() -> int:
    while True:
        with socket.socket() as candidate, suppress(OSError):
            port = random.choice(BELOW_EPHEMERAL)
            candidate.bind(("127.0.0.1", port))
            return port


class Doing:
    """A thread that does what the programs watch, again and again; ``tid`` is its number."""

    def __init__(self) -> None:
        self.port = choose_port()
        # Nobody accepts, and one is the most who may wait: the second connection is not answered,
        # and its first segment is sent again and again.
        self.deaf_port = choose_port()
        self.deaf = socket.create_server(("127.0.0.1", self.deaf_port), backlog=0)
        self.unheard = [socket.socket() for _ in range(2)]
        for one in self.unheard:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.deaf_port))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.tid = self._thread.native_id

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            os.getrandom(LENGTH)
            with open("/dev/urandom", "rb", buffering=0) as file:
                file.read(LENGTH)
            with suppress(TrafficError):  # somebody has taken the port meanwhile
                exchange(count=3, size=100, port=self.port)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        for one in (*self.unheard, self.deaf):
            one.close()


@pytest.fixture
def doing():
    one = Doing()
    yield one
    one.end()


def expected_end(name: str, doing: Doing) -> list[str]:
    """The last words of a line about what the thread does, which nobody else's line has."""
    first_bytes = ["2", "0", str(doing.port >> 8)]
    return {
        "getrandom": [str(doing.tid), str(LENGTH)],
        "urandomread": [str(doing.tid), str(LENGTH * 8)],
        "urandomread_explicit": [str(doing.tid), str(LENGTH * 8)],
        "tcp_probe_simple": [str(doing.tid), *first_bytes],
        "tcp_probe_attach_tracepoint": [str(doing.tid), *first_bytes],
        "tcp_probe_filter": [f"pid={doing.tid}"],
        "tcp_probe": [str(doing.port)],
        "tcp_probe_ring": [str(doing.port)],
        "tcp_retransmit": [str(doing.deaf_port), "2"],  # TCP_SYN_SENT, include/net/tcp_states.h
    }[name]


def line_with(end: list[str], lines: queue.Queue, deadline: float) -> list[str] | None:
    """The first line that ends so; None where the script ended before it printed one."""
    while True:
        try:
            words = lines.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            pytest.fail(f"no line ended with {' '.join(end)} in {SECONDS:.0f} seconds")
        if words is None or words[-len(end) :] == end:
            return words


def has_tracepoint(name: str) -> bool:
    try:
        read_format(name)
    except UnknownTracepoint:
        return False
    return True


@pytest.mark.parametrize("name", sorted(LISTINGS))
def test_a_script_does_what_the_program_does(name, doing, started_script, interrupt, tmp_path):
    script, errors = tmp_path / f"{name}.py", tmp_path / "errors"
    with open(script, "w") as out, open(os.devnull, "w") as hints:
        assert print_script(name, out=out, hints=hints) == 0
    program = read_program(f"{name}.c", (PROGRAMS,))
    attached = LISTINGS[name].attach
    (tracepoint,) = program.tracepoints or (attached[0],)
    deadline = time.monotonic() + SECONDS

    while True:
        with started_script(script, errors) as (process, lines):
            words = line_with(expected_end(name, doing), lines, deadline)
            if words is not None:
                doing.end()
                status = interrupt(process)
                break
            status = process.wait()
        # trace_pipe has one reader at a time, and somebody else's may be at work
        if "busy" not in errors.read_text() or time.monotonic() > deadline:
            break

    if has_tracepoint(tracepoint):
        assert words is not None, errors.read_text()
        assert status == 0, errors.read_text()
    else:
        assert status != 0
        assert tracepoint.partition(":")[2] in errors.read_text()

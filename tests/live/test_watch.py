import os
import subprocess
import sys
import threading

import pytest

import tracekit as tk
from tracekit.errors import AttachError, UnknownTracepoint

pytestmark = pytest.mark.live


def test_a_known_number_of_calls_is_seen_with_its_arguments():
    lengths = [2, 3, 5, 7, 11, 13, 17]
    asked = threading.Event()

    def ask():
        while not asked.wait(0.01):
            if tk.open_probes() and tk.open_probes()[0].attached:
                for length in lengths:
                    os.getrandom(length)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        events = tk.watch("syscalls:sys_enter_getrandom", seconds=3)
    finally:
        asked.set()
        thread.join()
    ours = events[events["common_pid"] == thread.native_id]
    assert ours["len"].tolist() == lengths
    assert events.dropped == 0


def test_dynamic_text_is_decoded():
    """The file name of an exec is a __data_loc string; the kernel's own record of it is /proc."""
    done = threading.Event()
    pids = []

    def execute():
        while not done.wait(0.05):
            child = subprocess.Popen([sys.executable, "-S", "-c", ""])
            pids.append(child.pid)
            child.wait()

    thread = threading.Thread(target=execute)
    thread.start()
    try:
        events = tk.watch("sched:sched_process_exec", seconds=2)
    finally:
        done.set()
        thread.join()
    ours = events[[pid in pids for pid in events["pid"].tolist()]]
    assert len(ours) > 0
    assert set(ours["filename"].tolist()) == {sys.executable.encode()[:64]}


def test_a_count_ends_it_early():
    assert len(tk.watch("sched:sched_switch", seconds=20, count=23)) == 23


def test_what_can_not_be_watched_is_said():
    with pytest.raises(AttachError, match="written by ftrace itself"):
        tk.watch("ftrace:function", seconds=0.1)
    with pytest.raises(UnknownTracepoint, match="sched:sched_switch"):
        tk.watch("sched:sched_swich", seconds=0.1)

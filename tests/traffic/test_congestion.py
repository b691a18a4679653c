"""Congestion controls: what the kernel has, and what a process may choose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.traffic.congestion import available_congestion_controls

CHOOSE = """
import socket, sys
from tracekit.errors import TrafficError
from tracekit.traffic.congestion import congestion_of, set_congestion
with socket.socket() as sock:
    try:
        set_congestion(sock, sys.argv[1])
        print(congestion_of(sock))
    except TrafficError as error:
        print(error)
"""
# The same user, so that this Python can be read, but with one right only: without it, root may
# not be root of a user namespace (user_namespaces(7), Linux 5.12).
UNPRIVILEGED = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"]


def choose(name, *prefix):
    return subprocess.run(
        [*prefix, sys.executable, "-c", CHOOSE, name],
        capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).parents[2],
    ).stdout  # fmt: skip


def test_the_names_are_the_kernel_s(tmp_path):
    (tmp_path / "tcp_available_congestion_control").write_text("reno cubic\n")
    assert available_congestion_controls(tmp_path) == ("reno", "cubic")
    assert "reno" in available_congestion_controls()


def test_without_the_kernel_s_file_there_are_none(tmp_path):
    assert available_congestion_controls(tmp_path) == ()


@pytest.mark.parametrize("name", available_congestion_controls())
def test_every_available_one_can_be_chosen_in_a_network_of_one_s_own(name):
    prefix = UNPRIVILEGED if os.geteuid() == 0 else []
    assert choose(name, *prefix, "unshare", "-Urn") == f"{name}\n"


def test_one_that_is_restricted_is_refused_with_the_ones_that_are_not():
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()
    prefix = UNPRIVILEGED if os.geteuid() == 0 else []
    for name in available_congestion_controls():
        answer = choose(name, *prefix)
        if name in allowed:
            assert answer == f"{name}\n"
        else:
            assert f"may not choose the congestion control {name!r}" in answer
            assert ", ".join(allowed) in answer

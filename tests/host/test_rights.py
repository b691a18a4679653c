from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tracekit.host.rights import (
    capability_names,
    effective_capabilities,
    is_root,
    may_load_programs,
    mount_point,
    tracefs_sample,
)

BPF, PERFMON, SYS_ADMIN = 1 << 39, 1 << 38, 1 << 21


@pytest.mark.parametrize(
    ("bits", "enough"),
    [
        (0, False),
        (BPF, False),
        (PERFMON, False),
        (BPF | PERFMON, True),
        (SYS_ADMIN, True),
        (1 << 0 | 1 << 2, False),
    ],
)
def test_which_capabilities_are_enough(bits, enough):
    assert may_load_programs(bits) is enough


def test_numbers_are_those_of_setpriv(tmp_path):
    """setpriv, of util-linux, knows the same names; it prints what the process inherits."""
    shown = subprocess.run(
        ["setpriv", "--inh-caps=-all,+bpf,+perfmon", "grep", "CapInh", "/proc/self/status"],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        pytest.skip(f"setpriv may not set capabilities here: {shown.stderr.strip()}")
    bits = effective_capabilities(shown.stdout.replace("CapInh", "CapEff"))
    assert bits == BPF | PERFMON
    assert capability_names(bits) == ("CAP_BPF", "CAP_PERFMON")


def test_own_status_is_read():
    assert is_root() == (os.geteuid() == 0)
    assert f"{effective_capabilities():016x}" in Path("/proc/self/status").read_text()


MOUNTS = """\
sysfs /sys sysfs rw 0 0
debugfs /sys/kernel/debug debugfs rw 0 0
tracefs /sys/kernel/debug/tracing tracefs rw 0 0
tracefs /sys/kernel/tracing tracefs rw 0 0
"""


def test_tracefs_is_preferred_outside_of_debugfs():
    assert mount_point("tracefs", MOUNTS) == Path("/sys/kernel/tracing")
    assert mount_point("debugfs", MOUNTS) == Path("/sys/kernel/debug")
    inside = MOUNTS.rsplit("tracefs /sys/kernel/tracing")[0]
    assert mount_point("tracefs", inside) == Path("/sys/kernel/debug/tracing")
    assert mount_point("tracefs", "") is None


def test_a_kernel_without_tcp_probe_is_judged_by_another_event(tmp_path):
    assert tracefs_sample(tmp_path).parts[-3:-1] == ("sched", "sched_switch")
    (tmp_path / "events/tcp/tcp_probe").mkdir(parents=True)
    (tmp_path / "events/tcp/tcp_probe/format").touch()
    assert tracefs_sample(tmp_path).parts[-3:-1] == ("tcp", "tcp_probe")

"""What this process may do: its capabilities, sudo, and the two kernel file systems.

Loading a program on a tracepoint takes CAP_BPF and CAP_PERFMON (Linux 5.8; before that
CAP_SYS_ADMIN holds both, capabilities(7)), and reading the tracepoint's ``id`` and ``format`` in
tracefs. Being root is neither necessary nor, in a container, enough.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = (
    "capability_names",
    "effective_capabilities",
    "is_root",
    "may_load_programs",
    "may_read_tracefs",
    "mount_point",
    "sudo_asks_nothing",
    "tracefs_sample",
)

# Numbers from include/uapi/linux/capability.h
_NAMES = {"CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_SYS_ADMIN": 21}


def is_root() -> bool:
    """Whether the effective user is root (never on a system without users of this kind)."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def effective_capabilities(status: str | None = None) -> int:
    """Read the effective capabilities of this process, one bit each; 0 where there are none.

    *status* is the text of ``/proc/self/status``, by default the real one.

    >>> hex(effective_capabilities("CapPrm: 0000000000000000\\nCapEff: 000000c000000000"))
    '0xc000000000'
    """
    if status is None:
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def capability_names(bits: int) -> tuple[str, ...]:
    """Name those of *bits* that matter for tracing.

    >>> capability_names(0xC0_0000_0000)
    ('CAP_BPF', 'CAP_PERFMON')
    """
    return tuple(name for name, number in _NAMES.items() if bits >> number & 1)


def may_load_programs(bits: int | None = None) -> bool:
    """Whether these capabilities (this process's) are enough to load a program on a tracepoint."""
    names = capability_names(effective_capabilities() if bits is None else bits)
    return "CAP_SYS_ADMIN" in names or {"CAP_BPF", "CAP_PERFMON"} <= set(names)


def sudo_asks_nothing() -> bool:
    """Whether ``sudo`` is there and works without asking for a password at this moment."""
    if shutil.which("sudo") is None:
        return False
    try:
        tried = subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def mount_point(kind: str, mounts: str | None = None) -> Path | None:
    """Find where a file system of *kind* (``"tracefs"``, ``"debugfs"``) is mounted.

    *mounts* is the text of ``/proc/self/mounts``, by default the real one. Of several places the
    one under ``/sys`` is preferred, and of tracefs the one that is not inside debugfs.

    >>> mount_point("tracefs", "tracefs /sys/kernel/tracing tracefs rw 0 0")
    PosixPath('/sys/kernel/tracing')
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return None
    places = [
        Path(words[1])
        for line in mounts.splitlines()
        if len(words := line.split()) > 2 and words[2] == kind
    ]
    preferred = {Path("/sys/kernel/tracing"): 0, Path("/sys/kernel/debug"): 0}
    return min(places, key=lambda place: preferred.get(place, 1), default=None)


def tracefs_sample(tracefs: Path) -> Path:
    """Name a format file that tells whether tracefs can be read: tcp_probe's, or sched_switch's."""
    tcp_probe = tracefs / "events/tcp/tcp_probe/format"
    try:
        return tcp_probe if tcp_probe.is_file() else tracefs / "events/sched/sched_switch/format"
    except OSError:
        return tcp_probe


def may_read_tracefs() -> bool:
    """Whether a format file can really be read here."""
    tracefs = mount_point("tracefs")
    try:
        return tracefs is not None and bool(tracefs_sample(tracefs).read_text())
    except OSError:
        return False

"""What the machine must have for a lesson: one table, each line with its check and its remedy.

Four levels, each of which includes the ones before it: **L0** lessons run on recordings, **L1** the
kernel's format files can be read, **L2** programs load, **L3** the traffic lab with its two hosts.
Lines without a level make single lessons richer. Checking changes nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tracekit.errors import RequirementMissing
from tracekit.host import environment, packages, rights
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import (
    OLDEST_PYTHON,
    TOO_NEW_PYTHON,
    find_bcc_python,
)

__all__ = (
    "LEVELS",
    "REQUIREMENTS",
    "Check",
    "Requirement",
    "check_all",
    "find_bcc_python",
    "level_reached",
    "missing_for",
)

LEVELS = {
    "L0": "recorded lessons",
    "L1": "format files of this kernel",
    "L2": "programs load",
    "L3": "the traffic lab",
}
_SETUP = "python3 -m tracekit setup"
_LAB = "python3 -m tracekit lab gives notebooks this right"

# What a check answers: is it there, what was seen, what to do about it.
_Answer = tuple[bool, str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found for one requirement: ``fact`` in words, ``remedy`` empty where ``ok``."""

    name: str
    ok: bool
    fact: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing a lesson needs; ``level`` is the first one that needs it ("" for none)."""

    name: str
    level: str
    needed_for: str
    look: Callable[[], _Answer]

    def check(self) -> Check:
        """Look whether it is there; a check that fails itself counts as missing."""
        try:
            ok, fact, remedy = self.look()
        except RequirementMissing as error:
            ok, fact, remedy = False, error.fact, error.next_step
        except (OSError, subprocess.SubprocessError) as error:
            ok, fact, remedy = False, f"could not look: {error}", ""
        return Check(self.name, ok, fact, "" if ok else remedy)


def check_all(requirements: Iterable[Requirement] | None = None) -> list[Check]:
    """Check every requirement, in the table's order."""
    return [requirement.check() for requirement in requirements or REQUIREMENTS]


def level_reached(checks: Iterable[Check]) -> str:
    """Return the highest level all of whose requirements are there, ``"none"`` if not even L0.

    >>> level_reached([Check("python", True, "", ""), Check("environment", False, "", "")])
    'none'
    """
    ok = {check.name: check.ok for check in checks}
    reached = "none"
    for level in LEVELS:
        if not all(ok.get(need.name, False) for need in REQUIREMENTS if need.level == level):
            break
        reached = level
    return reached


def missing_for(level: str) -> Check | None:
    """Check what *level* and those before it need; return the first thing missing, or ``None``.

    L0 is left out: whoever asks is running already.
    """
    for requirement in REQUIREMENTS:
        if "L0" < requirement.level <= level:
            check = requirement.check()
            if not check.ok:
                return check
    return None


def _python() -> _Answer:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = OLDEST_PYTHON <= sys.version_info[:2] < TOO_NEW_PYTHON
    return fits, f"Python {version} at {sys.executable}", "install Python 3.11, 3.12 or 3.13"


def _environment() -> _Answer:
    problems = environment.unmet()
    place = sys.prefix if environment.in_environment() else str(environment.CHECKOUT / ".venv")
    if not problems:
        return True, f"all packages are in {place}", ""
    fact = "; ".join(problems[:3]) + (f" (and {len(problems) - 3} more)" if problems[3:] else "")
    return False, f"{place}: {fact}", _SETUP


def _tracefs_mounted() -> _Answer:
    place = rights.mount_point("tracefs")
    remedy = "sudo mount -t tracefs tracefs /sys/kernel/tracing"
    if sys.platform != "linux":
        return False, "this is not Linux", "a Linux machine or virtual machine"
    return place is not None, f"at {place}" if place else "tracefs is not mounted", remedy


def _tracefs_readable() -> _Answer:
    place = rights.mount_point("tracefs")
    if place is None:
        return False, "tracefs is not mounted", _tracefs_mounted()[2]
    sample = rights.tracefs_sample(place)
    try:
        sample.read_bytes()
    except OSError as error:
        remedy = f"{_LAB}; for this shell: sudo mount -o remount,gid={os.getgid()},mode=750 {place}"
        return False, f"{sample}: {error.strerror}", remedy
    return True, f"{sample} can be read", ""


def _bcc() -> _Answer:
    return True, f"{find_bcc_python()} has it", ""


def _libbcc() -> _Answer:
    program = "import warnings; warnings.simplefilter('ignore'); import bcc; print(bcc.__version__)"
    tried = _run_bcc(program)
    if tried.returncode == 0:
        return True, f"bcc {tried.stdout.strip()}", ""
    # An environment's own C++ library in the way, or the halves of two versions.
    return False, _last_line(tried), f"install it anew: {packages.install_hint('bcc')}"


def _headers() -> _Answer:
    with tempfile.TemporaryDirectory() as folder:
        headers = find_headers(cache=Path(folder))
    if headers is None:
        chosen = os.environ.get("BCC_KERNEL_SOURCE")
        return True, chosen or f"those of the running kernel, {os.uname().release}", ""
    return True, headers.describe(), ""


def _capabilities() -> _Answer:
    bits = rights.effective_capabilities()
    names = ", ".join(rights.capability_names(bits)) or "none"
    fact = f"this process has {names}"
    if rights.may_load_programs(bits):
        return True, fact, ""
    if rights.sudo_asks_nothing():
        return True, f"{fact}; sudo works without a password", ""
    return False, f"{fact}; needed are CAP_BPF and CAP_PERFMON", f"{_LAB}; or run as root"


def _lockdown() -> _Answer:
    try:
        state = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return True, "not in force, or not shown", ""
    fact = state[state.find("[") + 1 : state.find("]")]
    remedy = "start the kernel without lockdown=confidentiality"
    return "[confidentiality]" not in state, f"lockdown: {fact}", remedy


# The real thing, in a child: compile, load, attach, and end.
_PROGRAM = """
import warnings; warnings.simplefilter("ignore")
from bcc import BPF
program = BPF(text=b"int nothing_at_all(void *context) { return 0; }")
program.load_func(b"nothing_at_all", BPF.TRACEPOINT)
program.attach_tracepoint(tp=b"sched:sched_process_exec", fn_name=b"nothing_at_all")
"""


def _program_loads() -> _Answer:
    with tempfile.TemporaryDirectory() as folder:
        headers = find_headers(cache=Path(folder))
        tried = _run_bcc(_PROGRAM, headers.path if headers else None, as_root=True)
    if tried.returncode == 0:
        return True, "a program was compiled, loaded and attached", ""
    remedy = "the lines above this one say what is missing"
    return False, f"a program that does nothing does not load: {_last_line(tried)}", remedy


def _user_namespaces() -> _Answer:
    command = packages.find_command("unshare")
    if command is None:
        return False, "the command unshare is missing", packages.install_hint("util-linux")
    tried = subprocess.run([command, "-Urn", "true"], capture_output=True, text=True, timeout=20)
    if tried.returncode == 0:
        return True, "unshare -Urn works", ""
    remedy = "allow them: sudo sysctl -w user.max_user_namespaces=10000"
    for name in ("apparmor_restrict_unprivileged_userns", "unprivileged_userns_clone"):
        if Path("/proc/sys/kernel", name).exists():
            value = "0" if name.startswith("apparmor") else "1"
            remedy = f"allow them: sudo sysctl -w kernel.{name}={value}"
            break
    return False, _last_line(tried), remedy + "; until then lessons use loopback"


def _btf() -> _Answer:
    there = Path("/sys/kernel/btf/vmlinux").exists()
    fact = "/sys/kernel/btf/vmlinux is there" if there else "this kernel has no type information"
    return there, fact, "a kernel with CONFIG_DEBUG_INFO_BTF=y"


def _tplist() -> _Answer:
    command = packages.find_tplist()
    if command is None:
        return False, "tplist is not installed", packages.install_hint("tplist")
    # It looks below debugfs only, where recent kernels still show tracefs.
    if rights.mount_point("debugfs") is None:
        remedy = "sudo mount -t debugfs debugfs /sys/kernel/debug"
        return False, f"{command} looks in debugfs, which is not mounted", remedy
    return True, f"{command} (for root only)", ""


def _bpftool() -> _Answer:
    command = packages.find_command("bpftool")
    return command is not None, command or "not installed", packages.install_hint("bpftool")


def _instances() -> _Answer:
    place = rights.mount_point("tracefs")
    if place is None:
        return False, "tracefs is not mounted", _tracefs_mounted()[2]
    instances = place / "instances"
    if os.access(instances, os.W_OK):
        return True, f"may be made in {instances}", ""
    try:
        own = [path for path in instances.glob(f"tracekit-{os.getuid()}-*") if os.access(path, 6)]
    except OSError:
        own = []
    return bool(own), f"{len(own)} made for this user in {instances}", _LAB


def _venv() -> _Answer:
    there = packages.can_make_environments()
    fact = "environments can be made" if there else "the distribution's Python has no ensurepip"
    return there, fact, packages.install_hint("venv")


REQUIREMENTS = (
    Requirement("python", "L0", "everything", _python),
    Requirement("environment", "L0", "notebooks", _environment),
    Requirement("tracefs mounted", "L1", "format files", _tracefs_mounted),
    Requirement("tracefs readable", "L1", "format files", _tracefs_readable),
    Requirement("bcc", "L2", "programs", _bcc),
    Requirement("libbcc", "L2", "programs", _libbcc),
    Requirement("kernel headers", "L2", "programs", _headers),
    Requirement("capabilities", "L2", "programs", _capabilities),
    Requirement("lockdown", "L2", "programs", _lockdown),
    Requirement("a program loads", "L2", "programs", _program_loads),
    Requirement("user namespaces", "L3", "the traffic lab's two hosts", _user_namespaces),
    Requirement("tracefs instances", "", "programs that print", _instances),
    Requirement("BTF", "", "chapter 2", _btf),
    Requirement("tplist", "", "chapter 2", _tplist),
    Requirement("bpftool", "", "chapter 2", _bpftool),
    Requirement("python3-venv", "", "setup", _venv),
)


def _run_bcc(
    program: str, headers: Path | None = None, *, as_root: bool = False
) -> subprocess.CompletedProcess[str]:
    command = [str(find_bcc_python()), "-I", "-c", program]
    if headers:
        command = ["env", f"BCC_KERNEL_SOURCE={headers}", *command]
    if as_root and not rights.may_load_programs() and _may_sudo():
        command = ["sudo", "-n", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@cache
def _may_sudo() -> bool:
    return rights.sudo_asks_nothing()


def _last_line(tried: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (tried.stdout + tried.stderr).splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"it ended with status {tried.returncode}"

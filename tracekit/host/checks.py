"""How each requirement is looked for: what was seen, and what to do where it is missing.

Every function changes nothing, and answers ``(ok, fact, remedy)``. The table that names them is
:mod:`tracekit.host.requirements`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tracekit.host import environment, packages, rights
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import OLDEST_PYTHON, TOO_NEW_PYTHON, find_bcc_python

__all__ = (
    "Answer",
    "look_for_bcc",
    "look_for_bpftool",
    "look_for_btf",
    "look_for_capabilities",
    "look_for_environment",
    "look_for_headers",
    "look_for_instances",
    "look_for_libbcc",
    "look_for_lockdown",
    "look_for_program_loads",
    "look_for_python",
    "look_for_tplist",
    "look_for_tracefs_mounted",
    "look_for_tracefs_readable",
    "look_for_user_namespaces",
    "look_for_venv",
)

# What a check answers: is it there, what was seen, what to do about it.
Answer = tuple[bool, str, str]

_SETUP = "python3 -m tracekit setup"
_LAB = "python3 -m tracekit lab gives notebooks this right"


def look_for_python() -> Answer:
    """Is the running Python one that the environment may be made of?"""
    version = ".".join(map(str, sys.version_info[:3]))
    fits = OLDEST_PYTHON <= sys.version_info[:2] < TOO_NEW_PYTHON
    return fits, f"Python {version} at {sys.executable}", "install Python 3.11, 3.12 or 3.13"


def look_for_environment() -> Answer:
    """Does the environment in use hold what pyproject.toml asks for?"""
    problems = environment.unmet()
    place = sys.prefix if environment.in_environment() else str(environment.CHECKOUT / ".venv")
    if not problems:
        return True, f"all packages are in {place}", ""
    fact = "; ".join(problems[:3]) + (f" (and {len(problems) - 3} more)" if problems[3:] else "")
    return False, f"{place}: {fact}", _SETUP


def look_for_tracefs_mounted() -> Answer:
    """Is tracefs mounted?"""
    place = rights.mount_point("tracefs")
    remedy = "sudo mount -t tracefs tracefs /sys/kernel/tracing"
    if sys.platform != "linux":
        return False, "this is not Linux", "a Linux machine or virtual machine"
    return place is not None, f"at {place}" if place else "tracefs is not mounted", remedy


def look_for_tracefs_readable() -> Answer:
    """Can this process open a format file? It is opened, permissions alone do not tell."""
    place = rights.mount_point("tracefs")
    if place is None:
        return False, "tracefs is not mounted", look_for_tracefs_mounted()[2]
    sample = rights.tracefs_sample(place)
    try:
        sample.read_bytes()
    except OSError as error:
        remedy = f"{_LAB}; for this shell: sudo mount -o remount,gid={os.getgid()},mode=750 {place}"
        return False, f"{sample}: {error.strerror}", remedy
    return True, f"{sample} can be read", ""


def look_for_bcc() -> Answer:
    """Is there a Python with the real bcc?"""
    return True, f"{find_bcc_python()} has it", ""


def look_for_libbcc() -> Answer:
    """Does its shared library load, and fit its Python half?"""
    program = "import warnings; warnings.simplefilter('ignore'); import bcc; print(bcc.__version__)"
    tried = _run_bcc(program)
    if tried.returncode == 0:
        return True, f"bcc {tried.stdout.strip()}", ""
    # An environment's own C++ library in the way, or the halves of two versions.
    return False, _last_line(tried), f"install it anew: {packages.install_hint('bcc')}"


def look_for_headers() -> Answer:
    """Are there kernel headers bcc can use?"""
    with tempfile.TemporaryDirectory() as folder:
        headers = find_headers(cache=Path(folder))
    if headers is None:
        chosen = os.environ.get("BCC_KERNEL_SOURCE")
        return True, chosen or f"those of the running kernel, {os.uname().release}", ""
    return True, headers.describe(), ""


def look_for_capabilities() -> Answer:
    """May this process load programs, by itself or through sudo?"""
    bits = rights.effective_capabilities()
    names = ", ".join(rights.capability_names(bits)) or "none"
    fact = f"this process has {names}"
    if rights.may_load_programs(bits):
        return True, fact, ""
    if rights.sudo_asks_nothing():
        return True, f"{fact}; sudo works without a password", ""
    return False, f"{fact}; needed are CAP_BPF and CAP_PERFMON", f"{_LAB}; or run as root"


def look_for_lockdown() -> Answer:
    """Does kernel lockdown let programs read memory (kernel_lockdown(7))?"""
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


def look_for_program_loads() -> Answer:
    """Does a program that does nothing compile, load and attach?"""
    with tempfile.TemporaryDirectory() as folder:
        headers = find_headers(cache=Path(folder))
        tried = _run_bcc(_PROGRAM, headers.path if headers else None, as_root=True)
    if tried.returncode == 0:
        return True, "a program was compiled, loaded and attached", ""
    remedy = "the lines above this one say what is missing"
    return False, f"a program that does nothing does not load: {_last_line(tried)}", remedy


def look_for_user_namespaces() -> Answer:
    """May a user namespace be made, for the traffic lab's two hosts?"""
    command = packages.find_command("unshare")
    if command is None:
        return False, "the command unshare is missing", packages.install_hint("util-linux")
    tried = subprocess.run([command, "-Urn", "true"], capture_output=True, text=True, timeout=20)
    if tried.returncode == 0:
        return True, "unshare -Urn works", ""
    remedy = "a chroot or a container forbids them: work outside of it"
    if Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        remedy = "allow them: sudo sysctl -w user.max_user_namespaces=10000"
    for name in ("apparmor_restrict_unprivileged_userns", "unprivileged_userns_clone"):
        if Path("/proc/sys/kernel", name).exists():
            value = "0" if name.startswith("apparmor") else "1"
            remedy = f"allow them: sudo sysctl -w kernel.{name}={value}"
            break
    return False, _last_line(tried), remedy + "; until then lessons use loopback"


def look_for_btf() -> Answer:
    """Does the kernel ship its type information?"""
    there = Path("/sys/kernel/btf/vmlinux").exists()
    fact = "/sys/kernel/btf/vmlinux is there" if there else "this kernel has no type information"
    return there, fact, "a kernel with CONFIG_DEBUG_INFO_BTF=y"


def look_for_tplist() -> Answer:
    """Can tplist run?"""
    command = packages.find_tplist()
    if command is None:
        return False, "tplist is not installed", packages.install_hint("tplist")
    # It looks below debugfs only, where recent kernels still show tracefs.
    if rights.mount_point("debugfs") is None:
        remedy = "sudo mount -t debugfs debugfs /sys/kernel/debug"
        return False, f"{command} looks in debugfs, which is not mounted", remedy
    return True, f"{command} (for root only)", ""


def look_for_bpftool() -> Answer:
    """Is bpftool installed?"""
    command = packages.find_command("bpftool")
    return command is not None, command or "not installed", packages.install_hint("bpftool")


def look_for_instances() -> Answer:
    """Is there a tracefs instance for programs that print, or may one be made?"""
    place = rights.mount_point("tracefs")
    if place is None:
        return False, "tracefs is not mounted", look_for_tracefs_mounted()[2]
    instances = place / "instances"
    if os.access(instances, os.W_OK):
        return True, f"may be made in {instances}", ""
    try:
        own = [path for path in instances.glob(f"tracekit-{os.getuid()}-*") if os.access(path, 6)]
    except OSError:
        own = []
    return bool(own), f"{len(own)} made for this user in {instances}", _LAB


def look_for_venv() -> Answer:
    """Can the distribution's Python make environments?"""
    there = packages.can_make_environments()
    fact = "environments can be made" if there else "the distribution's Python has no ensurepip"
    return there, fact, packages.install_hint("venv")


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

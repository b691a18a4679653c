"""What the distribution has to provide, under the names its packages have.

Whether something is there is found by looking for the thing itself (a command, a module), not for
its package: bcc may be built from source, ``bpftool`` belongs to other packages on Ubuntu.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tracekit.host.headers import find_nearest_headers, has_own_headers
from tracekit.host.interpreters import (
    find_distribution_python,
    look_for_bcc,
)

__all__ = (
    "BROWSERS",
    "NEEDS",
    "TEST_NEEDS",
    "Need",
    "apt_names",
    "find_browser",
    "find_command",
    "has_headers_package",
    "install_hint",
    "lists_are_old",
    "missing",
    "package_manager",
)

# Package managers by their command, with the words that install something.
_INSTALL = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "pacman": "pacman -S",
    "zypper": "zypper install",
}
_LISTS = Path("/var/lib/apt/lists")

#: Commands under which distributions, and Google, install Chromium.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Need:
    """Something a lesson needs from the distribution.

    ``packages`` has, for each package manager, the names to try: the first one that the
    distribution knows is installed. ``is_there`` looks for the thing itself.
    """

    name: str
    needed_for: str
    packages: dict[str, tuple[str, ...]]
    is_there: Callable[[], bool]


def find_command(*names: str) -> str | None:
    """Find the first of *names* that is a command, also where only root's PATH leads."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


def find_tplist() -> str | None:
    """Find bcc's tplist, whatever this distribution calls it."""
    return find_command("tplist-bpfcc", "tplist", "/usr/share/bcc/tools/tplist")


def find_browser() -> str | None:
    """Find the browser in which the tests open JupyterLab."""
    return find_command(*BROWSERS)


def _has_bcc() -> bool:
    return any(found.is_real for found in look_for_bcc())


def _has_headers() -> bool:
    return has_own_headers() or find_nearest_headers(platform.release()) is not None


def can_make_environments() -> bool:
    """Whether the Python that makes the environment has pip to put into it."""
    python = find_distribution_python()
    if python is None:
        return False
    tried = subprocess.run([str(python), "-I", "-c", "import ensurepip"], capture_output=True)
    return tried.returncode == 0


def _headers_names() -> tuple[str, ...]:
    # The running kernel's own package, else the one that follows the newest kernel.
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    return (
        f"linux-headers-{platform.release()}",
        f"linux-headers-{architecture}",
        "linux-headers-generic",
    )


NEEDS = (
    Need(
        "bcc",
        "loading programs",
        {"apt-get": ("python3-bpfcc",), "dnf": ("python3-bcc",), "pacman": ("python-bcc",)},
        _has_bcc,
    ),
    Need(
        "headers",
        "compiling programs",
        {
            "apt-get": _headers_names(),
            "dnf": ("kernel-devel",),
            "pacman": ("linux-headers",),
        },
        _has_headers,
    ),
    Need(
        "tplist",
        "chapter 2, and a second opinion on every event's fields",
        {"apt-get": ("bpfcc-tools",), "dnf": ("bcc-tools",), "pacman": ("bcc-tools",)},
        lambda: find_tplist() is not None,
    ),
    Need(
        "bpftool",
        "chapter 2: the kernel's own type information (BTF)",
        # Ubuntu keeps bpftool among the tools of its kernels.
        {"apt-get": ("bpftool", "linux-tools-generic"), "dnf": ("bpftool",), "pacman": ("bpf",)},
        lambda: find_command("bpftool") is not None,
    ),
    Need(
        "venv",
        "making the environment in .venv",
        {"apt-get": ("python3-venv",), "dnf": ("python3",), "pacman": ("python",)},
        can_make_environments,
    ),
    Need(
        "iproute2",
        "the traffic lab: ip and ss",
        {"apt-get": ("iproute2",), "dnf": ("iproute",), "pacman": ("iproute2",)},
        lambda: find_command("ip") is not None and find_command("ss") is not None,
    ),
    Need(
        "util-linux",
        "starting Jupyter with two capabilities (setpriv), and the traffic lab (unshare)",
        {"apt-get": ("util-linux",), "dnf": ("util-linux",), "pacman": ("util-linux",)},
        lambda: find_command("setpriv") is not None and find_command("unshare") is not None,
    ),
)

# What nobody needs who only runs the lessons. Ubuntu has no package for it: its chromium-browser
# fetches a snap, which does not run in containers.
TEST_NEEDS = (
    Need(
        "browser",
        "the tests that open JupyterLab in a browser",
        {"apt-get": ("chromium",), "dnf": ("chromium",), "pacman": ("chromium",)},
        lambda: find_browser() is not None,
    ),
)


def missing(needs: Iterable[Need]) -> list[Need]:
    """Return those of *needs* that this machine does not have."""
    return [need for need in needs if not need.is_there()]


def package_manager() -> str | None:
    """Return the command of the package manager here, if it is one whose names are known."""
    return next((name for name in _INSTALL if find_command(name)), None)


def install_hint(name: str) -> str:
    """Write the command that installs what the need called *name* stands for."""
    need = next(need for need in (*NEEDS, *TEST_NEEDS) if need.name == name)
    manager = package_manager()
    if manager is None or manager not in need.packages:
        everywhere = sorted({names[0] for names in need.packages.values()})
        return f"install {' or '.join(everywhere)} with the system's package manager"
    names = need.packages[manager]
    package = next(iter(apt_names([need])), names[0]) if manager == "apt-get" else names[0]
    return f"sudo {_INSTALL[manager]} {package}"


def apt_names(needs: Iterable[Need]) -> list[str]:
    """Choose the Debian or Ubuntu packages for *needs*, of those that apt's lists know.

    A need none of whose packages is known is left out: the lists are missing or too old.
    """
    needs = list(needs)
    wanted = [name for need in needs for name in need.packages["apt-get"]]
    known = _known_to_apt(wanted)
    chosen = [
        next((name for name in need.packages["apt-get"] if name in known), None) for need in needs
    ]
    return [name for name in chosen if name]


def has_headers_package() -> bool:
    """Whether apt knows a headers package of the very kernel that runs."""
    return bool(_known_to_apt([f"linux-headers-{platform.release()}"]))


def _known_to_apt(names: list[str]) -> set[str]:
    if not names or find_command("apt-cache") is None:
        return set()
    answer = subprocess.run(
        ["apt-cache", "policy", *names],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    known, package = set(), ""
    for line in answer.stdout.splitlines():
        if not line.startswith(" "):
            package = line.rstrip(":")
        # A name that only other packages provide has no candidate.
        elif line.strip().startswith("Candidate:") and "(none)" not in line:
            known.add(package)
    return known


def lists_are_old(lists: Path = _LISTS, *, days: float = 7) -> bool:
    """Whether apt's package lists are missing, or older than *days*."""
    files = list(lists.glob("*_Packages*")) + list(lists.glob("*_InRelease"))
    if not files:
        return True
    # apt leaves a list's own date on it; the folder's tells when it last looked.
    newest = max(lists.stat().st_mtime, (lists / "partial").stat().st_mtime)
    return time.time() - newest > days * 86400

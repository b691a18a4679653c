"""What the machine must have for a lesson: one table, each line with its check and its remedy.

Four levels, each of which includes the ones before it: **L0** lessons run on recordings, **L1** the
kernel's format files can be read, **L2** programs load, **L3** the traffic lab with its two hosts.
Lines without a level make single lessons richer. Checking changes nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tracekit.errors import RequirementMissing
from tracekit.host import checks
from tracekit.host.interpreters import find_bcc_python

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
    look: Callable[[], checks.Answer]

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


def level_reached(found: Iterable[Check]) -> str:
    """Return the highest level all of whose requirements are there, ``"none"`` if not even L0.

    >>> level_reached([Check("python", True, "", ""), Check("environment", False, "", "")])
    'none'
    """
    ok = {check.name: check.ok for check in found}
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


REQUIREMENTS = (
    Requirement("python", "L0", "everything", checks.look_for_python),
    Requirement("environment", "L0", "notebooks", checks.look_for_environment),
    Requirement("tracefs mounted", "L1", "format files", checks.look_for_tracefs_mounted),
    Requirement("tracefs readable", "L1", "format files", checks.look_for_tracefs_readable),
    Requirement("bcc", "L2", "programs", checks.look_for_bcc),
    Requirement("libbcc", "L2", "programs", checks.look_for_libbcc),
    Requirement("kernel headers", "L2", "programs", checks.look_for_headers),
    Requirement("capabilities", "L2", "programs", checks.look_for_capabilities),
    Requirement("lockdown", "L2", "programs", checks.look_for_lockdown),
    Requirement("a program loads", "L2", "programs", checks.look_for_program_loads),
    Requirement(
        "user namespaces", "L3", "the traffic lab's two hosts", checks.look_for_user_namespaces
    ),
    Requirement("tracefs instances", "", "programs that print", checks.look_for_instances),
    Requirement("BTF", "", "chapter 2", checks.look_for_btf),
    Requirement("tplist", "", "chapter 2", checks.look_for_tplist),
    Requirement("bpftool", "", "chapter 2", checks.look_for_bpftool),
    Requirement("python3-venv", "", "setup", checks.look_for_venv),
)

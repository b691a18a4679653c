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
from tracekit.host import checks, rights
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
    """One thing a lesson needs; ``level`` is the first one that needs it ("" for none).

    ``lab_gives`` marks a right that this shell may lack and that ``lab`` and ``test`` give to what
    they start.
    """

    name: str
    level: str
    needed_for: str
    look: Callable[[], checks.Answer]
    lab_gives: bool = False

    def check(self, *, through_lab: bool = False) -> Check:
        """Look whether it is there; a check that fails itself counts as missing.

        With *through_lab* it is also there if ``lab`` would give it, now and without a password.
        """
        try:
            ok, fact, remedy = self.look()
        except RequirementMissing as error:
            ok, fact, remedy = False, error.fact, error.next_step
        except (OSError, subprocess.SubprocessError) as error:
            ok, fact, remedy = False, f"could not look: {error}", ""
        if not ok and through_lab and self.lab_gives and _lab_may_give():
            ok, fact = True, f"not in this shell ({fact}); lab and test give it, through sudo"
        return Check(self.name, ok, fact, "" if ok else remedy)


def check_all(
    requirements: Iterable[Requirement] | None = None, *, through_lab: bool = False
) -> list[Check]:
    """Check every requirement, in the table's order; *through_lab* as in Requirement.check."""
    table = requirements or REQUIREMENTS
    return [requirement.check(through_lab=through_lab) for requirement in table]


def _lab_may_give() -> bool:
    return rights.mount_point("tracefs") is not None and rights.sudo_asks_nothing()


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
    Requirement(
        "tracefs readable", "L1", "format files", checks.look_for_tracefs_readable, lab_gives=True
    ),
    Requirement("bcc", "L2", "programs", checks.look_for_bcc),
    Requirement("libbcc", "L2", "programs", checks.look_for_libbcc),
    Requirement("kernel headers", "L2", "programs", checks.look_for_headers),
    Requirement("capabilities", "L2", "programs", checks.look_for_capabilities),
    Requirement("lockdown", "L2", "programs", checks.look_for_lockdown),
    Requirement("a program loads", "L2", "programs", checks.look_for_program_loads),
    Requirement(
        "user namespaces", "L3", "the traffic lab's two hosts", checks.look_for_user_namespaces
    ),
    Requirement(
        "tracefs instances", "", "programs that print", checks.look_for_instances, lab_gives=True
    ),
    Requirement("BTF", "", "chapter 2", checks.look_for_btf),
    Requirement("tplist", "", "chapter 2", checks.look_for_tplist),
    Requirement("bpftool", "", "chapter 2", checks.look_for_bpftool),
    Requirement("python3-venv", "", "setup", checks.look_for_venv),
)

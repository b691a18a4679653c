"""Plan what a machine lacks: commands, in the order in which they have to run.

Making a plan changes nothing. Each part looks first, and plans only what is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tracekit.errors import RequirementMissing
from tracekit.host import environment, packages, rights
from tracekit.host.commands import Command, as_user, say
from tracekit.host.environment import CHECKOUT, environment_python
from tracekit.host.headers import has_own_headers
from tracekit.host.interpreters import find_distribution_python

__all__ = ("environment_commands", "has_environment", "mount_commands", "package_commands")

_VENV = CHECKOUT / ".venv"
_MOUNTS = {
    "tracefs": (Path("/sys/kernel/tracing"), "the kernel shows its tracepoints there"),
    "debugfs": (Path("/sys/kernel/debug"), "tplist looks there"),
}


def package_commands(
    *, for_tests: bool = False, look_for_better_headers: bool = False, lists_are_new: bool = False
) -> list[Command]:
    """Plan how to install what the distribution has to provide and does not yet.

    *for_tests* adds what only the tests need. Where apt's lists are old or do not know a package,
    the first command reads them anew. With *lists_are_new* that has just been done: what they do
    not know now can't be had.
    """
    if sys.platform != "linux":
        return []
    needs = packages.missing(packages.NEEDS)
    only_tests = packages.missing(packages.TEST_NEEDS) if for_tests else []
    headers = next(need for need in packages.NEEDS if need.name == "headers")
    if look_for_better_headers and headers not in needs and not has_own_headers():
        # Those of another version are there; the kernel's own would be better.
        needs += [headers] if packages.has_headers_package() else []
    needs += only_tests
    if not needs:
        return []
    if packages.package_manager() != "apt-get":
        for need in needs:
            say(f"{need.name} is missing ({need.needed_for}): {packages.install_hint(need.name)}")
        return []
    chosen = packages.apt_names(needs)
    unknown = [need for need in needs if not set(need.packages["apt-get"]) & set(chosen)]
    commands = []
    # What only the tests need, some distributions do not have: that is no reason to ask each time.
    reason = any(need not in only_tests for need in unknown) or packages.lists_are_old()
    if reason and not lists_are_new:
        commands.append(
            Command(
                "read the distribution's package lists",
                ("apt-get", "-q", "update"),
                root=True,
                next_step="look at the network, and at /etc/apt/sources.list",
            )
        )
        # Until then, the first choice.
        chosen += [need.packages["apt-get"][0] for need in unknown]
    elif unknown:
        for need in unknown:
            names = " or ".join(need.packages["apt-get"])
            say(f"this distribution has no package {names} ({need.needed_for})")
    if chosen:
        names = ", ".join(need.name for need in needs)
        install = ("apt-get", "-q", "-y", "--no-install-recommends", "install", *chosen)
        commands.append(
            Command(
                f"install packages of the distribution ({names})",
                install,
                root=True,
                env={"DEBIAN_FRONTEND": "noninteractive"},
                next_step=f"sudo apt-get update && sudo apt-get install {' '.join(chosen)}",
            )
        )
    return commands


def mount_commands() -> list[Command]:
    """Plan how to mount the kernel's file systems that are not mounted."""
    commands = []
    for kind, (place, reason) in _MOUNTS.items():
        if sys.platform == "linux" and rights.mount_point(kind) is None and place.is_dir():
            commands.append(
                Command(
                    f"mount {kind} at {place} ({reason})",
                    ("mount", "-t", kind, kind, str(place)),
                    root=True,
                    next_step=f"in a container, start it with {place} from the host",
                )
            )
    return commands


def environment_commands(extras: frozenset[str]) -> list[Command]:
    """Plan how to make ``.venv`` what pyproject.toml asks for; nothing where it is already.

    Raises :class:`~tracekit.errors.RequirementMissing` when no Python here is 3.11 to 3.13.
    """
    if has_environment(extras):
        return []
    if environment.in_environment():
        return [_pip_command(sys.executable, extras)]
    python = find_distribution_python()
    if python is None:
        raise RequirementMissing(
            "no Python here is 3.11, 3.12 or 3.13",
            "install one of them, or use conda: conda env create -f environment.yml",
        )
    commands = []
    if not environment.is_usable() or not environment.was_made_here():
        make = (str(python), "-m", "venv", "--clear", str(_VENV))
        commands.append(
            Command(
                "make the environment .venv",
                as_user(make, CHECKOUT),
                next_step=packages.install_hint("venv"),
            )
        )
    return [*commands, _pip_command(str(environment_python()), extras)]


def _pip_command(python: str, extras: frozenset[str]) -> Command:
    group = f"[{','.join(sorted(extras))}]" if extras else ""
    install = (
        *(python, "-m", "pip", "install"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar=off"),
        *("--editable", f"{CHECKOUT}{group}"),
    )
    return Command(
        f"install Python packages into {Path(python).parents[1].name}",
        as_user(install, CHECKOUT),
        next_step="look at the network, then run this again: it goes on where it stopped",
    )


def has_environment(extras: frozenset[str]) -> bool:
    """Whether there is an environment with everything that *extras* ask for."""
    if environment.in_environment():
        return not environment.unmet(extras)
    return environment.is_current(extras)

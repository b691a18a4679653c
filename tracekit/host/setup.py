"""Give the machine what lessons need: packages, mounts, environment.

Each step looks first and does only what is missing, so a second run takes a second or two. A step
that fails is told, with the command to run by hand, and the others go on: without bcc there are
still the recorded lessons.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracekit.errors import RequirementMissing
from tracekit.host import environment, packages, rights
from tracekit.host.commands import Command, as_user, run_command, say
from tracekit.host.environment import CHECKOUT, environment_python
from tracekit.host.headers import find_headers, has_own_headers
from tracekit.host.interpreters import find_bcc_python, find_distribution_python

__all__ = ("environment_commands", "mount_commands", "package_commands", "setup")

_VENV = CHECKOUT / ".venv"
_MOUNTS = {
    "tracefs": (Path("/sys/kernel/tracing"), "the kernel shows its tracepoints there"),
    "debugfs": (Path("/sys/kernel/debug"), "tplist looks there"),
}


def setup(
    extras: frozenset[str] = frozenset({"test"}),
    *,
    dry_run: bool = False,
    also_as_root: str = "",
    thorough: bool = False,
) -> list[RequirementMissing]:
    """Do every step that is needed; return what failed.

    *extras* are the optional groups of pyproject.toml to install; *also_as_root* names what the
    caller will need root for afterwards, so that the one request for a password says all of it.
    *thorough* looks for better headers, too. With *dry_run* the commands are printed and nothing
    is changed.
    """
    failures: list[RequirementMissing] = []
    with _one_at_a_time(dry_run):
        better = thorough or not _has_environment(extras)
        wanted = [*package_commands(look_for_better_headers=better), *mount_commands()]
        if dry_run:
            for command in [*wanted, *environment_commands(extras)]:
                say(f"would run ({command.title}):")
                print(f"  {command}")
            return []
        try:
            _ask_sudo([command.title for command in wanted], also_as_root)
            failures += _as_root(wanted, look_for_better_headers=better)
        except RequirementMissing as error:
            failures.append(error)
        failures += _make_environment(extras)
    find_bcc_python.cache_clear()
    failures += _look_again()
    for failure in failures:
        say(f"tracekit: {failure}")
    return failures


def package_commands(
    *, look_for_better_headers: bool = False, lists_are_new: bool = False
) -> list[Command]:
    """Plan how to install what the distribution has to provide and does not yet.

    Where apt's lists are old or do not know a package, the first command reads them anew. With
    *lists_are_new* that has just been done: what they do not know now can't be had.
    """
    if sys.platform != "linux":
        return []
    needs = packages.missing()
    headers = next(need for need in packages.NEEDS if need.name == "headers")
    if look_for_better_headers and headers not in needs and not has_own_headers():
        # Those of another version are there; the kernel's own would be better.
        needs += [headers] if packages.has_headers_package() else []
    if not needs:
        return []
    if packages.package_manager() != "apt-get":
        for need in needs:
            say(f"{need.name} is missing ({need.needed_for}): {packages.install_hint(need.name)}")
        return []
    chosen = packages.apt_names(needs)
    unknown = [need for need in needs if not set(need.packages["apt-get"]) & set(chosen)]
    commands = []
    if not lists_are_new and (unknown or packages.lists_are_old()):
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
    if _has_environment(extras):
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


def _has_environment(extras: frozenset[str]) -> bool:
    if environment.in_environment():
        return not environment.unmet(extras)
    return environment.is_current(extras)


def _make_environment(extras: frozenset[str]) -> list[RequirementMissing]:
    try:
        commands = environment_commands(extras)
        for command in commands:
            run_command(command)
    except RequirementMissing as error:
        return [error]
    if commands and not environment.in_environment():
        environment.write_settings()
        environment.write_stamp(extras)
    return []


def _as_root(commands: list[Command], *, look_for_better_headers: bool) -> list[RequirementMissing]:
    failures = []
    if commands and commands[0].words[-1] == "update":
        try:
            run_command(commands[0])
        except RequirementMissing as error:
            failures.append(error)
        # Choose the packages again, by the new lists.
        commands = [
            *package_commands(look_for_better_headers=look_for_better_headers, lists_are_new=True),
            *mount_commands(),
        ]
    for command in commands:
        try:
            run_command(command)
        except RequirementMissing as error:
            failures.append(error)
    return failures


def _ask_sudo(titles: list[str], also_as_root: str) -> None:
    reasons = [*titles, also_as_root] if also_as_root else titles
    if not reasons or rights.is_root():
        return
    if shutil.which("sudo") is None:
        raise RequirementMissing(
            f"root is needed, and there is no sudo here, to {'; to '.join(reasons)}",
            "as root: python3 -m tracekit setup",
        )
    if rights.sudo_asks_nothing():
        return
    say("sudo may ask for your password, once. Root is needed to:")
    for reason in reasons:
        say(f"  - {reason}")
    if subprocess.run(["sudo", "-v"]).returncode != 0:
        raise RequirementMissing(
            f"sudo refused, so nobody could {'; '.join(reasons)}",
            "ask the person who administers this machine, or work on recordings",
        )


def _look_again() -> list[RequirementMissing]:
    if sys.platform != "linux":
        say("this is not Linux: lessons run on recordings")
        return []
    failures = []
    try:
        find_bcc_python()
    except RequirementMissing as error:
        failures.append(error)
    try:
        headers = find_headers()
        if headers and not headers.exact:
            say(headers.describe())
    except RequirementMissing as error:
        failures.append(error)
    return failures


@contextmanager
def _one_at_a_time(dry_run: bool) -> Iterator[None]:
    # Two setups of one checkout would write into one .venv. The lock is on a
    # file that is there anyway, so nothing stays behind.
    if dry_run or sys.platform == "win32":
        yield
        return
    import fcntl

    with (CHECKOUT / "pyproject.toml").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup of this checkout is running; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

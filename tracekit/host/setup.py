"""Give the machine what lessons need: packages, mounts, environment.

Each step looks first and does only what is missing, so a second run takes a second or two. A step
that fails is told, with the command to run by hand, and the others go on: without bcc there are
still the recorded lessons.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tracekit.errors import RequirementMissing
from tracekit.host import environment, rights
from tracekit.host.commands import Command, run_command, say
from tracekit.host.environment import CHECKOUT
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.host.plan import (
    environment_commands,
    has_environment,
    mount_commands,
    package_commands,
)

__all__ = ("SudoRefused", "setup")


class SudoRefused(RequirementMissing):
    """Root is needed, and the person here can't or won't become root."""


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
        better = thorough or not has_environment(extras)
        tests = "test" in extras
        plan = partial(package_commands, for_tests=tests, look_for_better_headers=better)
        wanted = [*plan(), *mount_commands()]
        if dry_run:
            for command in [*wanted, *environment_commands(extras)]:
                say(f"would run ({command.title}):")
                print(f"  {command}")
            return []
        try:
            _ask_sudo([command.title for command in wanted], also_as_root)
            failures += _as_root(wanted, plan)
        except RequirementMissing as error:
            failures.append(error)
        failures += _make_environment(extras)
    find_bcc_python.cache_clear()
    failures += _look_again()
    for failure in failures:
        say(f"tracekit: {failure}")
    return failures


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


def _as_root(
    commands: list[Command], plan: Callable[..., list[Command]]
) -> list[RequirementMissing]:
    failures = []
    if commands and commands[0].words[-1] == "update":
        try:
            run_command(commands[0])
        except RequirementMissing as error:
            failures.append(error)
        # Choose the packages again, by the new lists.
        commands = [*plan(lists_are_new=True), *mount_commands()]
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
        raise SudoRefused(
            f"root is needed, and there is no sudo here, to {'; to '.join(reasons)}",
            "as root: python3 -m tracekit setup",
        )
    if rights.sudo_asks_nothing():
        return
    say("sudo may ask for your password, once. Root is needed to:")
    for reason in reasons:
        say(f"  - {reason}")
    if subprocess.run(["sudo", "-v"]).returncode != 0:
        raise SudoRefused(
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

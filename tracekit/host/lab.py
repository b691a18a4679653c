"""Start JupyterLab, the tests, or one verb, as the right person with the right capabilities.

Three roads lead there. Who already has CAP_BPF, CAP_PERFMON and a readable tracefs just starts.
An ordinary user goes through ``sudo`` once, see :mod:`tracekit.host.privileges`. Root drops to the
person whose checkout it is; only where there is no such person does it start things as root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tracekit.errors import RequirementMissing
from tracekit.host import environment, rights
from tracekit.host.commands import say
from tracekit.host.environment import CHECKOUT, environment_python

__all__ = (
    "FIRST_CHAPTER",
    "LAUNCHED",
    "Launch",
    "jupyter_words",
    "launch",
    "needs_sudo",
    "plan_launch",
    "python_words",
)

FIRST_CHAPTER = "notebooks/01-format-files.ipynb"
# Set for what was started on one of these roads: it must not look for another.
LAUNCHED = "TRACEKIT_LAUNCHED"
_ORDINARY = range(1000, 60_000)


@dataclass(frozen=True, slots=True)
class Launch:
    """One command to start: its words, one line that says who runs it, whether to wait for it.

    ``wait`` is set where something has to be undone afterwards; the others replace this process.
    """

    words: tuple[str, ...]
    note: str
    wait: bool


def python_words() -> tuple[str, ...]:
    """Return the words that start the environment's Python, marked as launched from here."""
    own = environment.in_environment()
    python = sys.executable if own else str(environment_python())
    # tc, bpftool and tplist are where Debian looks for root's commands only.
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path += [folder for folder in ("/usr/sbin", "/sbin") if folder not in path]
    return ("env", f"{LAUNCHED}=1", f"PATH={os.pathsep.join(path)}", python)


def jupyter_words(options: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the words that start JupyterLab on the first chapter, with Jupyter's *options*."""
    # The kernel of this environment, not one of the same name in somebody's home.
    env, *python = python_words()
    return (
        *(env, "JUPYTER_PREFER_ENV_PATH=1", *python),
        *("-m", "jupyterlab"),
        f"--ServerApp.root_dir={CHECKOUT}",
        f"--LabApp.default_url=/lab/tree/{FIRST_CHAPTER}",
        *options,
    )


def plan_launch(
    words: Sequence[str],
    *,
    user: str = "",
    may_be_root: bool = False,
    root_option: str = "",
    needs_programs: bool = True,
    sudo: bool = True,
    dry_run: bool = False,
) -> Launch:
    """Decide how to start *words* here.

    *user* names the person root should start it for. With *may_be_root*, root starts it as root
    (the tests); otherwise it drops to an ordinary user if there is one, and adds *root_option*
    where there is none. Without *needs_programs*, reading tracefs is enough. Without *sudo*, it is
    not asked.

    Raises :class:`~tracekit.errors.RequirementMissing` when *user* does not exist or can't use
    this checkout, and when setup did not get as far as an environment.
    """
    words = tuple(words)
    if not environment.in_environment() and not environment_python().exists() and not dry_run:
        raise RequirementMissing(
            "there is no environment yet, .venv", "python3 -m tracekit setup, and what it says"
        )
    if sys.platform != "linux":
        return Launch(words, "on recordings: this is not Linux", wait=False)
    # Not above: users and groups of this kind are not everywhere.
    from tracekit.host.privileges import supervisor_words

    if rights.is_root():
        person = None if may_be_root and not user else _person(user)
        if person is None:
            note = "as root, because there is no ordinary user whose checkout this is"
            extra = (root_option,) if root_option else ()
            return Launch(words + extra, "as root" if may_be_root else note, wait=False)
        if not dry_run:
            _check_access(*person)
        supervised = supervisor_words(person[0], os.getpid(), words)
        return Launch(supervised, f"as {person[1]}, with CAP_BPF and CAP_PERFMON", wait=True)
    if user:
        raise RequirementMissing("only root can start it for somebody else", "leave --user out")
    if not needs_sudo(needs_programs=needs_programs):
        return Launch(words, "with the rights of this shell", wait=False)
    if not sudo or shutil.which("sudo") is None:
        return Launch(words, "on recordings, without the right to trace this kernel", wait=False)
    supervised = ("sudo", *supervisor_words(os.getuid(), os.getpid(), words))
    return Launch(supervised, "as you, with CAP_BPF and CAP_PERFMON (through sudo)", wait=True)


def needs_sudo(*, needs_programs: bool = True) -> bool:
    """Whether this process lacks what *needs_programs*, or else reading tracefs, takes."""
    if sys.platform != "linux" or rights.is_root():
        return False
    return not (rights.may_read_tracefs() and (rights.may_load_programs() or not needs_programs))


def launch(plan: Launch, *, dry_run: bool = False, quiet: bool = False) -> int:
    """Start what was planned; return its exit status, if this process is not replaced by it."""
    if dry_run:
        say(f"would run ({plan.note}):")
        print(f"  {shlex.join(plan.words)}")
        return 0
    if not quiet:
        say(f"starting {plan.note}")
    os.chdir(CHECKOUT)
    sys.stdout.flush()
    if not plan.wait:
        if os.name == "nt":
            return subprocess.call(_without_env(plan.words))
        os.execvp(plan.words[0], plan.words)
    # Ctrl-C goes to the command, which may ask before it ends; what has to be
    # undone after it takes a moment more.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.Popen(plan.words).wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _person(name: str) -> tuple[int, str] | None:
    # The one who was asked for, who called sudo, or whose checkout it is.
    import pwd

    try:
        if name:
            entry = pwd.getpwnam(name)
        elif os.environ.get("SUDO_UID", "0") != "0":
            entry = pwd.getpwuid(int(os.environ["SUDO_UID"]))
        else:
            entry = pwd.getpwuid(CHECKOUT.stat().st_uid)
    except KeyError:
        if name:
            raise RequirementMissing(
                f"there is no user {name} on this machine", f"sudo useradd --create-home {name}"
            ) from None
        return None
    ordinary = entry.pw_uid in _ORDINARY and not entry.pw_shell.endswith(("nologin", "false"))
    return (entry.pw_uid, entry.pw_name) if name or ordinary else None


def _check_access(uid: int, name: str) -> None:
    import pwd

    from tracekit.host.privileges import setpriv_words

    gid = pwd.getpwuid(uid).pw_gid
    words = setpriv_words(uid, gid, os.getgrouplist(name, gid))
    look = (*words, *python_words(), "-c", "import tracekit")
    tried = subprocess.run(look, capture_output=True, text=True, cwd="/")
    if tried.returncode != 0:
        last = (tried.stderr.strip() or "no reason given").splitlines()[-1]
        raise RequirementMissing(
            f"{name} can't use this checkout, {CHECKOUT}: {last}",
            f"put a checkout where {name} can reach it, such as {name}'s home directory",
        )
    notebooks = (*words, "test", "-w", str(CHECKOUT / "notebooks"))
    if subprocess.run(notebooks).returncode != 0:
        say(f"{name} can't write {CHECKOUT / 'notebooks'}: changes to notebooks won't be saved")


def _without_env(words: Sequence[str]) -> list[str]:
    # "env NAME=value … command": Windows has no env.
    words = list(words)
    while words[0] == "env" or "=" in words[0]:
        name, equals, value = words.pop(0).partition("=")
        if equals:
            os.environ[name] = value
    return words

"""Run one command as an ordinary user with just CAP_BPF and CAP_PERFMON, and tidy up after it.

This is the only file of tracekit that runs as root, started by ``sudo`` or by root; it needs
nothing else of tracekit. It

1. lets one group read tracefs (``mount -o remount,gid=GROUP,mode=750``): the group ``tracing``
   where the machine has one, otherwise a number that nobody uses. It is never a person's own group,
   for a second user's server must join the group that is in force, tracefs having only one;
2. makes tracefs instances that belong to the user, because each program that prints needs a
   ``trace_pipe`` of its own, and making an instance takes root;
3. starts the command with ``setpriv``: the user, the user's groups and this one, two *ambient*
   capabilities, which a process passes on to its children, and nothing else;
4. waits, passes signals on, and at the end removes the instances and restores the mount, also when
   the command or the process that asked for all this has died.

The bounding set is left as it is: ``sudo`` goes on working in the server's terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import grp
import json
import os
import pwd
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ("main", "setpriv_words", "supervisor_words")

_NOTE = Path("/run/tracekit/tracefs-before.json")
# Owner, group and mode the kernel gives it where nobody says otherwise.
_AS_MOUNTED = (0, 0, 0o700)
_INSTANCES = 4
# Kernel and Jupyter need a moment to end properly.
_GRACE = 10.0
# What a server needs of root's environment when it is started for somebody else.
_KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TRACEKIT_MODE", "BCC_KERNEL_SOURCE", "CI")


@dataclass(frozen=True, slots=True)
class _Person:
    uid: int
    gid: int
    name: str
    home: str
    groups: tuple[int, ...]


def supervisor_words(user: int, caller: int, command: Sequence[str]) -> tuple[str, ...]:
    """Return the words that run *command* as *user* with the capabilities; root must run them.

    *caller* is the process whose end also ends the command, and whose environment it gets if it
    belongs to *user*.
    """
    # Isolated, by this file's name, outside the environment: root imports
    # nothing that belongs to a user.
    start = (str(Path(sys.executable).resolve()), "-I", str(Path(__file__).resolve()))
    return (*start, f"--user={user}", f"--caller={caller}", "--", *command)


def setpriv_words(uid: int, gid: int, groups: Sequence[int]) -> tuple[str, ...]:
    """Return the ``setpriv`` words that drop from root to *uid* with the two capabilities.

    >>> " ".join(setpriv_words(1000, 1000, [1000, 50000])[:5])
    'setpriv --reuid=1000 --regid=1000 --groups=1000,50000 --inh-caps=-all,+bpf,+perfmon'
    """
    return (
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        f"--groups={','.join(map(str, groups))}",
        "--inh-caps=-all,+bpf,+perfmon",
        "--ambient-caps=-all,+bpf,+perfmon",
        "--pdeathsig=TERM",
        "--",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do all of the above; the exit status is the command's (128 and the number for a signal)."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--user", type=int, required=True, help="numeric user to run as")
    parser.add_argument("--caller", type=int, required=True, help="process to end with")
    parser.add_argument("command", nargs="+")
    wish = parser.parse_args(arguments)
    person = _look_up(wish.user)
    with contextlib.ExitStack() as lent:
        # A signal from here on must not skip what has to be undone.
        received: list[int] = []
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: received.append(got))
        # Ctrl-C reaches the command too, and Jupyter asks before it ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        caller = lent.enter_context(_process(wish.caller))
        environment = _environment(wish.caller, person)
        groups = list(person.groups)
        tracefs = _tracefs()
        if tracefs is None:
            _say("tracefs is not mounted: the command runs without it")
        else:
            groups.append(lent.enter_context(_readable(tracefs)))
            lent.enter_context(_instances(tracefs, person))
        return _run(person, groups, wish.command, environment, caller, received)


def _run(
    person: _Person,
    groups: Sequence[int],
    command: Sequence[str],
    environment: dict[str, str],
    caller: int,
    received: list[int],
) -> int:
    words = [*setpriv_words(person.uid, person.gid, groups), *command]
    child = subprocess.Popen(
        words, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    with _process(child.pid) as ended:
        waiting = select.poll()
        waiting.register(ended, select.POLLIN)
        waiting.register(caller, select.POLLIN)
        deadline = float("inf")
        while child.poll() is None:
            ready = {descriptor for descriptor, _ in waiting.poll(200)}
            if caller in ready:
                waiting.unregister(caller)
                received.append(signal.SIGTERM)
            while received:
                child.send_signal(received.pop(0))
                deadline = min(deadline, time.monotonic() + _GRACE)
            if time.monotonic() > deadline:
                child.kill()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


@contextlib.contextmanager
def _readable(tracefs: Path) -> Iterator[int]:
    # Yield the group that may read tracefs meanwhile. Several servers may run
    # at once: the first sets the group, the last restores what was before. Who
    # is there is told by a lock, which the kernel takes back from the killed;
    # it is on tracefs itself, which containers share, though not their /run.
    with _opened(tracefs / "instances") as gate, _opened(tracefs) as holders:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if _is_alone(holders):
            gid = _choose_group()
            _note_before(tracefs, gid)
            _remount(tracefs, 0, gid, 0o750)
        else:
            gid = tracefs.stat().st_gid
        fcntl.flock(holders, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield gid
        finally:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if _is_alone(holders):
                noted = _NOTE.exists()
                _remount(tracefs, *(json.loads(_NOTE.read_text()) if noted else _AS_MOUNTED))
                _NOTE.unlink(missing_ok=True)


def _note_before(tracefs: Path, gid: int) -> None:
    if _NOTE.exists():
        return  # somebody was killed before restoring: what is now is not what was
    old = tracefs.stat()
    before = (old.st_uid, old.st_gid, stat.S_IMODE(old.st_mode))
    with contextlib.suppress(KeyError):
        grp.getgrgid(gid)
        gid = -1
    if old.st_gid == gid:
        before = _AS_MOUNTED  # a number without a name: one of us, killed, elsewhere
    _NOTE.parent.mkdir(mode=0o755, exist_ok=True)
    _NOTE.write_text(json.dumps(before))


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remount(tracefs: Path, uid: int, gid: int, mode: int) -> None:
    options = f"remount,uid={uid},gid={gid},mode={mode:o}"
    subprocess.run(["mount", "-o", options, str(tracefs)], check=True)


def _choose_group() -> int:
    with contextlib.suppress(KeyError):
        return grp.getgrnam("tracing").gr_gid
    taken = {group.gr_gid for group in grp.getgrall()}
    # Above those given to people, below those Debian reserves.
    return next(gid for gid in range(50_000, 60_000) if gid not in taken)


@contextlib.contextmanager
def _instances(tracefs: Path, person: _Person) -> Iterator[None]:
    made: list[Path] = []
    with contextlib.ExitStack() as locks:
        try:
            with _opened(tracefs / "instances") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                for left in tracefs.glob("instances/tracekit-[0-9]*-[0-9]*"):
                    if _is_abandoned(left):
                        _remove(left, seconds=0)
                number = 0
                while len(made) < _INSTANCES:
                    instance = tracefs / f"instances/tracekit-{person.uid}-{number}"
                    number += 1
                    if instance.exists():
                        continue  # another server of the same person has it
                    instance.mkdir()
                    made.append(instance)
                    # Not on the instance itself: who reads it takes that lock.
                    fcntl.flock(locks.enter_context(_opened(instance / "events")), fcntl.LOCK_SH)
            for instance in made:
                _give(instance, person)
        except OSError as error:
            _say(f"programs that print can't be used: {error}")
        try:
            yield
        finally:
            for instance in made:
                _remove(instance)


def _is_abandoned(instance: Path) -> bool:
    # The kernel takes the lock back from a server that was killed.
    try:
        with _opened(instance / "events") as lock:
            return _is_alone(lock)
    except FileNotFoundError:
        return False


def _give(instance: Path, person: _Person) -> None:
    for folder, _, files in os.walk(instance):
        os.chown(folder, person.uid, person.gid)
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                os.chown(os.path.join(folder, name), person.uid, person.gid)


def _remove(instance: Path, seconds: float = 3) -> None:
    # EBUSY while somebody still reads its trace_pipe.
    deadline = time.monotonic() + seconds
    while True:
        try:
            instance.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                _say(f"{instance} could not be removed: {error.strerror}")
                return
            time.sleep(0.05)


def _look_up(uid: int) -> _Person:
    entry = pwd.getpwuid(uid)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return _Person(uid, entry.pw_gid, entry.pw_name, entry.pw_dir, groups)


def _environment(caller: int, person: _Person) -> dict[str, str]:
    # sudo empties the environment; that of the person who called is still
    # readable in /proc, as it was when the process began.
    process = Path(f"/proc/{caller}")
    if process.stat().st_uid == person.uid:
        entries = (process / "environ").read_bytes().split(b"\0")
        pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
        return {name: value for name, _, value in pairs}
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    own = {"HOME": person.home, "USER": person.name, "LOGNAME": person.name, "PATH": path}
    return kept | own


def _tracefs() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "tracefs" and not place.startswith("/sys/kernel/debug"):
            return Path(place)
    return None


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _say(text: str) -> None:
    print(f"tracekit: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

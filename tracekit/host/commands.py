"""Run the commands of setup one after the other, and show that something is going on.

On a terminal one line shows the time and the last line of output; elsewhere (CI, a file) there is
one line when a command begins and one when it took longer than a second.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.errors import RequirementMissing
from tracekit.host.rights import is_root

__all__ = ("Command", "as_user", "run_command", "say")

_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Command:
    """One command of setup: what it is for, its words, whether root must run it.

    ``next_step`` is the advice should it fail; ``env`` is added to the environment.
    """

    title: str
    words: tuple[str, ...]
    root: bool = False
    next_step: str = ""
    env: dict[str, str] = field(default_factory=dict)

    @property
    def full_words(self) -> tuple[str, ...]:
        """The words as they are run by this user: with ``sudo`` in front where needed.

        >>> Command("list", ("ls",), env={"LC_ALL": "C"}).full_words
        ('env', 'LC_ALL=C', 'ls')
        """
        words = self.words
        if self.env:
            words = ("env", *(f"{name}={value}" for name, value in self.env.items()), *words)
        return ("sudo", *words) if self.root and not is_root() else words

    def __str__(self) -> str:
        """Return the line a person may paste into a shell."""
        return shlex.join(self.full_words)


def say(text: str) -> None:
    """Print one line for the person who waits; not to standard output, which is for answers."""
    print(text, file=sys.stderr, flush=True)


def as_user(words: tuple[str, ...], owner: Path) -> tuple[str, ...]:
    """Make root run *words* as the owner of the file *owner*; others run them as themselves.

    What root installs in a person's folder, the person could not change any more.
    """
    if not is_root():
        return words
    import pwd

    status = owner.stat()
    if status.st_uid == 0:
        return words
    entry = pwd.getpwuid(status.st_uid)
    drop = ("setpriv", f"--reuid={status.st_uid}", f"--regid={entry.pw_gid}", "--init-groups")
    return (*drop, "env", f"HOME={entry.pw_dir}", f"USER={entry.pw_name}", *words)


def run_command(command: Command) -> None:
    """Run *command* and show its progress.

    Raises :class:`~tracekit.errors.RequirementMissing` when it fails: the command, the last lines
    of what it printed, the next step.
    """
    show = _Show(command.title)
    try:
        process = subprocess.Popen(
            command.full_words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        show.end("failed")
        raise RequirementMissing(
            f"{command.title}: {command}: {error.strerror}", command.next_step
        ) from None
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with process:
        assert process.stdout is not None
        descriptor, rest = process.stdout.fileno(), b""
        while True:
            # Windows can wait for sockets only: the clock stands still there meanwhile.
            if os.name != "nt" and not select.select([descriptor], [], [], 0.2)[0]:
                show.tick(last[-1] if last else "")
                continue
            data = os.read(descriptor, 65536)
            if not data:
                break
            *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
            last += [line.decode(errors="replace") for line in lines if line.strip()]
            show.tick(last[-1] if last else "")
    if process.returncode == 0:
        show.end("done")
        return
    show.end("failed")
    output = "\n".join(f"    {line}" for line in last)
    raise RequirementMissing(
        f"{command.title} failed (status {process.returncode})\n  command: {command}\n{output}",
        command.next_step,
    )


class _Show:
    def __init__(self, title: str) -> None:
        self._title = title
        self._begin = time.monotonic()
        self._terminal = sys.stderr.isatty()
        if not self._terminal:
            say(f"{title} ...")

    def tick(self, tail: str) -> None:
        if not self._terminal:
            return
        text = f"{self._title} ... {self._seconds():.0f} s  {tail}"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{text[:width]}")
        sys.stderr.flush()

    def end(self, word: str) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            say(f"{self._title}: {word} in {self._seconds():.0f} s")
        elif word != "done" or self._seconds() > 1:
            say(f"{self._title}: {word} in {self._seconds():.0f} s")

    def _seconds(self) -> float:
        return time.monotonic() - self._begin

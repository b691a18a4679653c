"""A Python script that uses bcc directly, without tracekit, run in a child process of its own.

Some mistakes end the process that makes them, so a notebook that shows one has a child make it. The
child runs under the Python that has bcc, with the headers and the rights of a probe's worker; when
it ends, in whatever way, the kernel frees what it held.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tracekit.capture.refusals import not_permitted
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.host.rights import is_root, may_load_programs, sudo_asks_nothing

__all__ = ("CANNOT_BE_MADE", "Missing", "ScriptRun", "run_bare")

#: What a child can be made to lack.
Missing: TypeAlias = Literal["", "capabilities", "tracefs"]

#: The exit status of a script that can't do here what it is for; its last line says why.
CANNOT_BE_MADE = 77

# A crash is what some scripts are for, and nobody wants its core dump.
_SHELL = ("/bin/sh", "-c", 'ulimit -c 0; exec "$@"', "sh")
# In a mount namespace of its own, a child can put an empty folder over tracefs without any right.
_COVER = (
    "for place in /sys/kernel/tracing /sys/kernel/debug; do"
    ' if [ -d "$place" ]; then mount -t tmpfs none "$place" || exit 77; fi; done; exec "$@"'
)


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """How a script ended, and all it printed, standard output and error together.

    ``returncode`` is as in :class:`subprocess.Popen`: negative for a signal.

    >>> ScriptRun(-11, "").ended, ScriptRun(1, "").ended, ScriptRun(0, "").ended
    ('was killed by SIGSEGV', 'ended with status 1', 'ended in order')
    """

    returncode: int
    output: str

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        if self.returncode < 0:
            return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"ended with status {self.returncode}" if self.returncode else "ended in order"

    @property
    def made(self) -> bool:
        """Whether the script could do here what it is for."""
        return self.returncode != CANNOT_BE_MADE


def run_bare(script: str, *, missing: Missing = "", timeout: float = 60.0) -> ScriptRun:
    """Run a Python script under the Python that has bcc, and wait for its end.

    :param missing: what the script shall lack: ``"capabilities"``, or a tracefs that it can read.
    :param timeout: seconds after which it is killed; it then counts as killed by SIGKILL.
    :raises RequirementMissing: there is no bcc here, no headers, or no right to load programs.
    """
    python = str(find_bcc_python())
    headers = find_headers()
    environment = dict(os.environ)
    if headers is not None:
        environment["BCC_KERNEL_SOURCE"] = str(headers.path)
    sudo: list[str] = []
    if not may_load_programs():
        if not sudo_asks_nothing():
            raise not_permitted()
        source = environment.get("BCC_KERNEL_SOURCE")
        sudo = ["sudo", "-n", *(["env", f"BCC_KERNEL_SOURCE={source}"] if source else [])]
    without = _without(missing, root=is_root() or bool(sudo))
    if without and shutil.which(without[0]) is None:
        return ScriptRun(CANNOT_BE_MADE, f"there is no {without[0]} here\n")
    command = [*sudo, *without, *_SHELL, python, "-I", "-B", "-"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate(script, timeout=timeout)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    if without and output.startswith(f"{without[0]}: "):
        # user namespaces may be forbidden
        return ScriptRun(CANNOT_BE_MADE, output)
    # sudo tells a signal as 128 and its number
    code = process.returncode
    return ScriptRun(128 - code if code > 128 else code, output)


def _without(missing: Missing, *, root: bool) -> tuple[str, ...]:
    if missing == "capabilities":
        # Root gets its capabilities by being root, others by the ambient set (capabilities(7)).
        not_root = ("--securebits", "+noroot") if root else ()
        return ("setpriv", *not_root, "--inh-caps=-all", "--ambient-caps=-all")
    if missing == "tracefs":
        return ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", _COVER, "sh")
    return ()

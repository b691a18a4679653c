"""Which Python runs what: the environment's for notebooks, the distribution's for bcc.

bcc is tied to the distribution (its Python half and ``libbcc.so`` are one pair), Jupyter lives in
an environment of its own. The package that PyPI and conda call ``bcc`` is another program; the real
one has ``libbcc.py`` beside its ``__init__.py``, and that is what is looked for. Nothing is
imported to find out, so asking takes some hundredths of a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tracekit.errors import RequirementMissing

__all__ = (
    "OLDEST_PYTHON",
    "TOO_NEW_PYTHON",
    "BccPython",
    "find_bcc_python",
    "find_distribution_python",
    "look_for_bcc",
    "python_version",
)

OLDEST_PYTHON = (3, 11)
TOO_NEW_PYTHON = (3, 14)

# Isolated (-I): neither PYTHONPATH nor the folder we are in may lend a module
# that happens to be called bcc.
_WHERE_IS_BCC = (
    "import importlib.util as u; s = u.find_spec('bcc'); print(s.origin or '' if s else '')"
)


@dataclass(frozen=True, slots=True)
class BccPython:
    """One Python interpreter and the file its ``import bcc`` would read ("" for none)."""

    python: Path
    bcc_file: str

    @property
    def is_real(self) -> bool:
        """Whether this bcc is the BPF Compiler Collection."""
        return bool(self.bcc_file) and Path(self.bcc_file).with_name("libbcc.py").is_file()


@cache
def find_bcc_python() -> Path:
    """Find the first Python that has a real bcc; start it with ``-I``.

    Looked at in this order: ``$TRACEKIT_BCC_PYTHON``, ``/usr/bin/python3``, the running
    interpreter, every ``/usr/bin/python3.*``. The answer is kept for the life of the process.

    Raises :class:`~tracekit.errors.RequirementMissing` when none has it; the message names a
    foreign package called bcc where that is what was found instead.
    """
    foreign = ""
    for found in look_for_bcc():
        if found.is_real:
            return found.python
        foreign = foreign or found.bcc_file
    fact = "no Python on this machine has bcc, the BPF Compiler Collection"
    if foreign:
        fact += f"; {foreign} is an unrelated package of the same name"
    raise RequirementMissing(
        fact,
        "python3 -m tracekit setup, or install it yourself: python3-bpfcc (Debian, Ubuntu), "
        "python3-bcc (Fedora); never with pip or conda",
    )


def look_for_bcc() -> Iterator[BccPython]:
    """Yield every candidate interpreter with the ``bcc`` it would import."""
    seen = set()
    for python in _candidates():
        if python not in seen and os.access(python, os.X_OK):
            seen.add(python)
            yield BccPython(python, _where_is_bcc(python))


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get("TRACEKIT_BCC_PYTHON")
    if chosen:
        yield Path(chosen)
    yield Path("/usr/bin/python3")
    yield Path(sys.executable)
    for python in sorted(Path("/usr/bin").glob("python3.*")):
        if python.name.removeprefix("python3.").isdigit():
            yield python


def _where_is_bcc(python: Path) -> str:
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _WHERE_IS_BCC], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def find_distribution_python() -> Path | None:
    """Find the interpreter to make the environment with, or ``None`` if none is 3.11 to 3.13.

    The distribution's own comes first, because any person on the machine may run it; one in
    somebody's home directory is closed to the others.
    """
    names = ["/usr/bin/python3", *(f"/usr/bin/python3.{minor}" for minor in (13, 12, 11))]
    for name in [*names, getattr(sys, "_base_executable", sys.executable)]:
        if name and OLDEST_PYTHON <= python_version(Path(name)) < TOO_NEW_PYTHON:
            return Path(name)
    return None


def python_version(python: Path) -> tuple[int, int]:
    """Ask *python* for its major and minor version; ``(0, 0)`` when it does not run."""
    if python == Path(sys.executable):
        return sys.version_info[:2]
    try:
        answer = subprocess.run(
            [str(python), "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=20,
        )
        major, minor = answer.stdout.split()
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0, 0
    return int(major), int(minor)

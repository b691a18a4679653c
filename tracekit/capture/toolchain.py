"""Which bcc compiles the programs."""

from __future__ import annotations

import re

from tracekit.errors import RequirementMissing
from tracekit.host.interpreters import find_bcc_python, look_for_bcc

__all__ = ("bcc_version",)


def bcc_version() -> str:
    """The version of the bcc that workers import, such as ``"0.26.0"``.

    It is read from the file ``version.py`` that bcc's build writes; nothing is imported. A bcc
    that says no version is called ``"of an unknown version"``.

    :raises RequirementMissing: no Python on this machine has bcc.
    """
    chosen = find_bcc_python()
    for found in look_for_bcc():
        if found.python == chosen:
            return _version_in(found.bcc_file)
    raise RequirementMissing(f"{chosen} no longer has bcc", "python3 -m tracekit setup")


def _version_in(bcc_file: str) -> str:
    try:
        with open(re.sub(r"__init__\.py$", "version.py", bcc_file), encoding="utf-8") as file:
            match = re.search(r"""__version__\s*=\s*['"]([^'"]+)""", file.read())
    except OSError:
        match = None
    return match[1] if match else "of an unknown version"

"""One failure of the gallery: the mistake as somebody made it, its message, and the fix."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from tracekit.capture.bare import Missing

__all__ = ("GETPGID", "LOOK", "Failure")

#: The tracepoint of most examples: it has few users, and an event of our own is easy to make.
GETPGID = "TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)"

#: The Python lines of a program whose table ``seen`` counts events by the process asked for.
LOOK = """\
b = BPF(text=text)
os.getpgid(me)
print("seen:", b["seen"][c_ulong(me)].value)
"""

_HEAD = """\
import os
from ctypes import c_ulong, c_ushort

from bcc import BPF

me = os.getpid()
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """A mistake in a program of C for the kernel and Python lines that use bcc.

    ``message`` is a regular expression for what is printed when it fails, ``works`` for what is
    printed when it is mended; ``means`` explains in a sentence or two. ``fix`` are pairs of texts:
    the first, which is in the program once, is replaced by the second. ``setup`` are Python lines
    ahead of the program that are no part of the mistake; ``broken_setup`` runs even before bcc is
    imported, and in the broken program only. That one also has ``missing`` and the ``timeout`` in
    seconds (see :func:`tracekit.capture.bare.run_bare`).

    >>> failure = Failure("no-semicolon", "one is missing", "int a", message="expected ';'",
    ...     means="C ends a declaration with it.", fix=(("int a", "int a;"),), works="")
    >>> failure.mended_c
    'int a;'
    """

    id: str
    title: str
    c: str
    python: str = LOOK
    _: KW_ONLY
    message: str
    means: str
    fix: tuple[tuple[str, str], ...] = ()
    works: str = r"seen: 1\b"
    setup: str = ""
    broken_setup: str = ""
    missing: Missing = ""
    timeout: float = 60.0

    @property
    def mended_c(self) -> str:
        """The C text with the fix."""
        return self._mend(self.c)

    @property
    def mended_python(self) -> str:
        """The Python lines with the fix."""
        return self._mend(self.python)

    @property
    def broken_script(self) -> str:
        """The whole script that fails."""
        return self.broken_setup + _script(self.setup, self.c, self.python)

    @property
    def mended_script(self) -> str:
        """The whole script that works."""
        return _script(self.setup, self.mended_c, self.mended_python)

    def _mend(self, text: str) -> str:
        for old, new in self.fix:
            text = text.replace(old, new)
        return text


def _script(setup: str, c: str, python: str) -> str:
    # Directly behind the quotes, so that line 1 of the program is line 1 for the compiler.
    text = f'text = r"""{c}"""\n' if c else ""
    return f"{_HEAD}{setup}{text}{python}"

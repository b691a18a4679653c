"""Format files of other kernels, which ship with the package in the shape of a tracefs folder."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from tracekit.errors import UnknownKernel

__all__ = ("catalogue_root", "kernels", "kernels_with")

_DATA = Path(__file__).parent / "catalogue_data"


def kernels() -> tuple[str, ...]:
    """The names ``<distribution>_<kernel>`` of the kernels whose format files ship, oldest first.

    >>> kernels()[0], kernels()[-1]
    ('ubuntu-20.04_5.4', 'linux_6.18')
    """
    names = [entry.name for entry in _DATA.iterdir() if entry.is_dir()]
    return tuple(sorted(names, key=_version))


def _version(kernel: str) -> tuple[list[int], str]:
    version = kernel.partition("_")[2]
    return [int(number) for number in re.findall(r"\d+", version)], version


def catalogue_root(kernel: str) -> Path:
    """The folder of one kernel of the catalogue: what tracefs is to the running one.

    Raises :class:`~tracekit.errors.UnknownKernel` for a name that is not in :func:`kernels`.

    >>> (catalogue_root("debian-12_6.12") / "events" / "tcp" / "tcp_probe" / "format").exists()
    True
    >>> catalogue_root("debian_6.12")
    Traceback (most recent call last):
    ...
    tracekit.errors.UnknownKernel: the catalogue has no kernel debian_6.12
      next: nearest names: debian-12_6.12, debian-12_6.1, debian-12_6.1-rt
    """
    known = kernels()
    if kernel not in known:
        nearest = get_close_matches(kernel, known, n=3) or known
        raise UnknownKernel(
            f"the catalogue has no kernel {kernel}", f"nearest names: {', '.join(nearest)}"
        )
    return _DATA / kernel


def kernels_with(name: str) -> tuple[str, ...]:
    """The kernels of the catalogue that have the tracepoint ``category:event``.

    >>> kernels_with("random:urandom_read")
    ('ubuntu-20.04_5.4',)
    """
    category, _, event = name.partition(":")
    if not re.fullmatch(r"[\w-]+:[\w-]+", name):
        return ()
    path = Path("events", category, event, "format")
    return tuple(kernel for kernel in kernels() if (_DATA / kernel / path).is_file())

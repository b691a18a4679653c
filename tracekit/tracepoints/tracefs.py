"""tracefs, the kernel's file system of tracepoints: where it is, what is in it, one format file.

Every function takes the root folder (the one that holds ``events/``) as a parameter: the running
kernel's tracefs where it is None, or a folder of the same shape, as the catalogue's are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from tracekit.errors import TracefsUnavailable, UnknownTracepoint
from tracekit.tracepoints.catalogue import catalogue_root, kernels_with
from tracekit.tracepoints.format import Format, parse_format
from tracekit.tracepoints.names import TracepointNames, nearest_names

__all__ = ("categories", "find_tracefs", "find_tracepoints", "read_format")

_PREFERRED = "/sys/kernel/tracing"
# These describe the records of ftrace's own tracers; the kernel lists them neither in
# available_events nor lets a program be attached to them.
_PSEUDO_CATEGORY = "ftrace"
_NAME = re.compile(r"[\w.-]+:[\w.-]+")


def find_tracefs(mounts: str | Path = "/proc/self/mounts") -> Path:
    """The folder where tracefs is mounted and readable; ``/sys/kernel/tracing`` if it is there.

    ``mounts`` is the table of mounts to read. Raises
    :class:`~tracekit.errors.TracefsUnavailable` where tracefs is not mounted or this process may
    not read it; the error says the command that changes that.

    >>> find_tracefs("/nonexistent")
    Traceback (most recent call last):
    ...
    tracekit.errors.TracefsUnavailable: this system is not Linux: it has no /nonexistent
      next: read_format(name, kernel=…) reads other kernels' format files; kernels() lists them
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        raise TracefsUnavailable(
            f"this system is not Linux: it has no {mounts}",
            "read_format(name, kernel=…) reads other kernels' format files; kernels() lists them",
        ) from None
    entries = [line.split(" ") for line in lines if line.count(" ") >= 2]
    places = [Path(_unescape(entry[1])) for entry in entries if entry[2] == "tracefs"]
    places.sort(key=lambda place: str(place) != _PREFERRED)
    # Mounting debugfs gives tracefs in a folder of it, which the table shows only after its use.
    places += [Path(_unescape(entry[1]), "tracing") for entry in entries if entry[2] == "debugfs"]
    refused: Path | None = None
    for place in places:
        try:
            with os.scandir(place / "events"):
                return place
        except PermissionError:
            refused = refused or place
        except OSError:
            continue
    if refused is not None:
        raise TracefsUnavailable(
            f"tracefs is mounted at {refused}, and this user may not read it",
            f'sudo mount -o remount,gid="$(id -g)",mode=750 {refused}',
        )
    raise TracefsUnavailable(
        "tracefs is not mounted", f"sudo mount -t tracefs tracefs {_PREFERRED}"
    )


def _unescape(path: str) -> str:
    # The kernel writes blanks, tabs, newlines and backslashes of a mount point as octal numbers.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def categories(root: str | Path | None = None) -> tuple[str, ...]:
    """The names of the categories, sorted (the kernel's documents call them systems).

    >>> from tracekit.tracepoints.catalogue import catalogue_root
    >>> categories(catalogue_root("ubuntu-20.04_5.4"))
    ('random', 'tcp')
    """
    return tuple(sorted(_folders(f"{_place(root)}/events")))


def find_tracepoints(pattern: str = "*", root: str | Path | None = None) -> TracepointNames:
    """The tracepoints whose name matches, sorted: those a program can be attached to.

    ``pattern`` has the shell's ``*``, ``?`` and ``[…]``, over ``category:event``; without a colon
    it is a category, or a part of an event's name with a ``*``.

    >>> from tracekit.tracepoints.catalogue import catalogue_root
    >>> root = catalogue_root("debian-12_6.1")
    >>> find_tracepoints("*:*retransmit*", root).names
    ('tcp:tcp_retransmit_skb', 'tcp:tcp_retransmit_synack')
    >>> len(find_tracepoints("tcp", root)) == len(find_tracepoints("tcp:*", root))
    True
    """
    place = _place(root)
    found = sorted(_all_names(place, pattern))
    attachable = tuple(n for n in found if not n.startswith(f"{_PSEUDO_CATEGORY}:"))
    pseudo = tuple(n for n in found if n.startswith(f"{_PSEUDO_CATEGORY}:"))
    return TracepointNames(attachable, pattern, _where(root), pseudo)


def read_format(name: str, *, kernel: str | None = None, root: str | Path | None = None) -> Format:
    """The format of the tracepoint ``category:event``.

    Of the running kernel, which needs a readable tracefs; or, with ``kernel``, of one of the
    catalogue's (:func:`~tracekit.tracepoints.catalogue.kernels`); or from the folder ``root``.

    Raises :class:`~tracekit.errors.UnknownTracepoint` with the nearest names and the catalogue's
    kernels that have it, :class:`~tracekit.errors.TracefsUnavailable`,
    :class:`~tracekit.errors.UnknownKernel` and :class:`~tracekit.errors.FormatError`.

    >>> read_format("tcp:tcp_probe", kernel="debian-12_6.1-rt")["snd_cwnd"].offset
    92
    >>> read_format("tcp:tcp_prob", kernel="debian-12_6.1")
    Traceback (most recent call last):
    ...
    tracekit.errors.UnknownTracepoint: no tracepoint tcp:tcp_prob in the catalogue's debian-12_6.1
      next: nearest names: tcp:tcp_probe, tcp:tcp_bad_csum, tcp:tcp_destroy_sock
    """
    if kernel is not None and root is not None:
        raise TypeError("read_format takes a kernel of the catalogue or a root, not both")
    category, _, event = name.partition(":")
    inside = f"events/{category}/{event}/format"
    well_formed = _NAME.fullmatch(name) and not {category, event} & {".", ".."}
    if well_formed and root is None and kernel is None:
        # Nearly always it is here; looking for tracefs takes longer than reading the file.
        with suppress(OSError):
            return parse_format(_read(f"{_PREFERRED}/{inside}"), category)
    place = _place(root) if kernel is None else str(catalogue_root(kernel))
    if not well_formed:
        raise UnknownTracepoint(
            name,
            where=f"{_where(root, kernel)}: a name is CATEGORY:EVENT, such as tcp:tcp_probe",
            nearest=nearest_names(name, _all_names(place)),
        )
    try:
        text = _read(f"{place}/{inside}")
    except (FileNotFoundError, NotADirectoryError):
        raise UnknownTracepoint(
            name,
            where=_where(root, kernel),
            nearest=nearest_names(name, _all_names(place)),
            kernels=kernels_with(name),
        ) from None
    except PermissionError:
        raise TracefsUnavailable(
            f"this user may not read the format file of {name} in {place}",
            f'sudo mount -o remount,gid="$(id -g)",mode=750 {place}',
        ) from None
    return parse_format(text, category, kernel=kernel)


def _place(root: str | Path | None) -> str:
    return str(find_tracefs()) if root is None else os.fspath(root)


def _read(path: str) -> str:
    # tracefs says that these files have the length 0, so they are read to their end; and bare
    # system calls take half of Path.read_text()'s time, which counts for all 2,300 of them.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def _where(root: str | Path | None, kernel: str | None = None) -> str:
    if kernel is not None:
        return f"the catalogue's {kernel}"
    return f"Linux {os.uname().release}" if root is None else f"the folder {root}"


def _folders(place: str) -> list[str]:
    try:
        with os.scandir(place) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except PermissionError:
        raise TracefsUnavailable(
            f"this user may not read {place}", "read it as a user of the group tracefs belongs to"
        ) from None
    except OSError:
        raise TracefsUnavailable(
            f"{place} is not a folder of tracepoints", "pass the folder that holds 'events'"
        ) from None


def _all_names(place: str, pattern: str = "*") -> Iterator[str]:
    if ":" not in pattern and pattern != "*":
        pattern = f"*:{pattern}" if "*" in pattern else f"{pattern}:*"
    wanted = pattern.partition(":")[0] if pattern != "*" else "*"
    for category in _folders(f"{place}/events"):
        if fnmatchcase(category, wanted):
            for event in _folders(f"{place}/events/{category}"):
                name = f"{category}:{event}"
                if fnmatchcase(name, pattern):
                    yield name

"""What bcc's tool tplist says of tracepoints: names and types, without offsets, sizes or holes.

tplist reads the format files too, and prints less than they hold; set beside them it shows what
it leaves out: the common fields, offset, size, sign, holes, and how the kernel prints the record.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from tracekit.errors import RequirementMissing, TracefsUnavailable, UnknownTracepoint
from tracekit.tracepoints.catalogue import kernels_with
from tracekit.tracepoints.names import nearest_names
from tracekit.tracepoints.tracefs import find_tracefs, find_tracepoints

__all__ = ("TplistEvent", "TplistOutput", "parse_tplist", "tplist")

# The path is written into tplist (tools/tplist.py of bcc 0.26); its folder belongs to root.
_LOOKS_IN = "/sys/kernel/debug/tracing"
_TIMEOUT = 60.0
_SHOWN = 28


@dataclass(frozen=True, slots=True)
class TplistEvent:
    """One tracepoint in tplist's words: ``fields`` are declarations, without the semicolon."""

    category: str
    event: str
    fields: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """``category:event``."""
        return f"{self.category}:{self.event}"


@dataclass(frozen=True, slots=True, repr=False)
class TplistOutput(Sequence[TplistEvent]):
    """What one run of tplist printed: ``text`` as it came, ``events`` taken from it, in its order.

    ``command`` is what was run. ``notes`` say what a reader of the text alone would not know.
    """

    command: str
    text: str
    events: tuple[TplistEvent, ...]
    notes: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> TplistEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TplistEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> TplistEvent | tuple[TplistEvent, ...]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[TplistEvent]:
        return iter(self.events)

    def __repr__(self) -> str:
        lines = self.text.splitlines()
        shown = lines[:_SHOWN]
        if len(lines) > _SHOWN:
            shown.append(f"… and {len(lines) - _SHOWN} more lines")
        return "\n".join((f"# {self.command}", *shown, *(f"# {note}" for note in self.notes)))


def parse_tplist(text: str) -> tuple[TplistEvent, ...]:
    """The events in a text that tplist, or ``tplist -v``, printed.

    A line that is neither a name nor a field is one of tplist's own errors, which it prints like
    a result: :class:`~tracekit.errors.TracefsUnavailable` with that line.

    >>> parse_tplist("random:urandom_read\\n    int got_bits;\\n    int pool_left;\\n")[0].fields
    ('int got_bits', 'int pool_left')
    """
    events: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("    ") and line.endswith(";") and events:
            events[-1][2].append(line[4:-1])
        elif re.fullmatch(r"[\w.-]+:[\w.-]+", line):
            category, _, event = line.partition(":")
            events.append((category, event, []))
        elif line.strip():
            raise TracefsUnavailable(
                f"tplist printed an error in place of a result (exit code 0): {line.strip()}",
                f"tplist reads {_LOOKS_IN}: sudo mount -t debugfs debugfs /sys/kernel/debug, "
                "and run it as root",
            )
    return tuple(TplistEvent(category, event, tuple(fields)) for category, event, fields in events)


def tplist(
    pattern: str = "*", *, verbose: bool = True, root: str | Path | None = None
) -> TplistOutput:
    """Run tplist (``tplist -v`` unless ``verbose`` is false) and take its output apart.

    ``pattern`` is the shell's, over ``category:event``. ``root`` is a folder that tplist shall
    take for tracefs, such as one of the catalogue's. tplist can only look in
    ``/sys/kernel/debug/tracing``; where that is not the root asked for, or is not readable, it
    runs in a mount namespace of its own in which it is. That needs no privilege where the system
    lets users make namespaces.

    Raises :class:`~tracekit.errors.UnknownTracepoint` for a name without ``*`` that is not there
    (tplist prints nothing, with exit code 0), :class:`~tracekit.errors.RequirementMissing`
    without tplist, and :class:`~tracekit.errors.TracefsUnavailable`.

    Its value looks like what the tool prints:

    >>> text = "random:urandom_read\\n    int got_bits;\\n    int pool_left;\\n"
    >>> TplistOutput("tplist -v random:urandom_read", text, parse_tplist(text))
    # tplist -v random:urandom_read
    random:urandom_read
        int got_bits;
        int pool_left;
    """
    tool = _find_tool()
    words = [*(["-v"] if verbose else []), "--", pattern]
    direct = root is None and os.access(f"{_LOOKS_IN}/events", os.R_OK | os.X_OK)
    place = Path(_LOOKS_IN) if direct else (Path(root).resolve() if root else find_tracefs())
    prefix = [] if direct else _own_namespace(place)
    done = subprocess.run(
        [*prefix, tool, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise _explain(done.stderr, in_namespace=not direct)
    events = parse_tplist(done.stdout)
    if not events and not re.search(r"[*?\[]", pattern):
        raise UnknownTracepoint(
            pattern,
            where="what tplist lists (it prints nothing, with exit code 0)",
            nearest=nearest_names(pattern, find_tracepoints("*", place)),
            kernels=kernels_with(pattern),
        )
    command = " ".join(word for word in ("tplist", *words) if word != "--")
    return TplistOutput(command, done.stdout, events, tuple(_notes(events)))


def _notes(events: Sequence[TplistEvent]) -> Iterator[str]:
    if not events:
        yield "no name matches; tplist prints nothing then, with exit code 0"
    pseudo = sum(event.category == "ftrace" for event in events)
    if pseudo:
        yield f"{pseudo} of these are ftrace:*, to which nothing can be attached"


def _find_tool() -> str:
    # An ordinary user's PATH on Debian lacks the folder of the distribution's bcc tools.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/share/bcc/tools"))
    for name in ("tplist-bpfcc", "tplist"):
        found = shutil.which(name, path=path)
        if found:
            return found
    raise RequirementMissing(
        "bcc's tool tplist is not installed",
        "sudo apt-get install bpfcc-tools (Fedora, RHEL: sudo dnf install bcc-tools)",
    )


def _own_namespace(place: Path) -> list[str]:
    # In a mount namespace of its own the command sees `place` where tplist looks; nobody else
    # does. Root needs no user namespace for that, and some systems forbid it to others.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = (
        "mount -t tmpfs tmpfs /sys/kernel/debug && mkdir /sys/kernel/debug/tracing && "
        'mount --rbind "$0" /sys/kernel/debug/tracing && exec "$@"'
    )
    return ["unshare", *user, "--mount", "--", "sh", "-c", script, str(place)]


def _explain(stderr: str, *, in_namespace: bool) -> RequirementMissing | TracefsUnavailable:
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    if in_namespace and last.startswith(("unshare:", "mount:", "mkdir:")):
        return TracefsUnavailable(
            f"tplist reads {_LOOKS_IN}, which this user may not, and a mount namespace that "
            f"shows it there is refused: {last}",
            "sudo mount -t debugfs debugfs /sys/kernel/debug, and run tplist as root",
        )
    return RequirementMissing(
        f"tplist failed: {last}", "python3 -m tracekit doctor checks the installation of bcc"
    )

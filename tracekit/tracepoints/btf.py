"""The structs of events in BTF, the types that the kernel carries inside itself.

The kernel's build makes a ``struct trace_event_raw_<class>`` for every class of events
(``DECLARE_EVENT_CLASS`` in include/trace/trace_events.h, Linux 6.1), and the kernel fills the
record through it. BTF (Documentation/bpf/btf.rst) holds its members with types and offsets, and so
confirms the format file from another side. It has no ID and no ``print fmt``, and no such struct
for the events of a single system call.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

from tracekit.errors import RequirementMissing, UnknownTracepoint
from tracekit.tracepoints.names import nearest_names
from tracekit.tracepoints.table import Row, html_table, text_table

__all__ = ("EventStruct", "Member", "event_struct", "event_struct_names", "parse_btf")

VMLINUX = "/sys/kernel/btf/vmlinux"
_PREFIX = "trace_event_raw_"
_COLUMNS = ("offset", "size", "declaration")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a struct: its C declaration, its name, its offset and size in bytes."""

    declaration: str
    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, repr=False)
class EventStruct:
    """One ``struct trace_event_raw_*``: its name, its size with padding, its members.

    Its first member ``ent`` is what format files call the common fields; its last, ``__data``,
    has no size and stands for what ``__data_loc`` members point to.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    def __repr__(self) -> str:
        return f"{self._title}\n{text_table(_COLUMNS, self._rows, right=(0, 1))}"

    def _repr_html_(self) -> str:
        return html_table(self._title, _COLUMNS, self._rows, right=(0, 1))

    @property
    def _title(self) -> str:
        return f"struct {self.name} · {self.size} bytes"

    @property
    def _rows(self) -> list[Row]:
        return [Row((str(m.offset), str(m.size), m.declaration)) for m in self.members]


class _Types:
    # One dump of bpftool: its entries stay text until somebody asks for one.

    def __init__(self, dump: str) -> None:
        # Entry n is number n + 1: types are numbered from 1, in order.
        self.entries = dump.removeprefix("[").rstrip("\n").split("\n[")
        self.structs = {
            match[1]: index
            for index, entry in enumerate(self.entries)
            if (match := re.match(r"\d+\] STRUCT '(\w+)'", entry)) and match[1].startswith(_PREFIX)
        }
        self._known: dict[int, tuple[str, str, int]] = {0: ("void", "", 0)}

    def struct(self, name: str) -> EventStruct:
        head, *lines = self.entries[self.structs[name]].split("\n")
        members = []
        for line in lines:
            match = re.match(r"\t'([^']*)' type_id=(\d+) bits_offset=(\d+)", line)
            if match:
                before, after, size = self.describe(int(match[2]))
                blank = "" if before.endswith("*") else " "
                declaration = f"{before}{blank}{match[1]}{after}"
                members.append(Member(declaration, match[1], int(match[3]) // 8, size))
        return EventStruct(name, _number(head, "size"), tuple(members))

    def describe(self, type_id: int) -> tuple[str, str, int]:
        # What stands before the name, what behind it, and the size in bytes.
        if type_id not in self._known:
            self._known[type_id] = self._describe(self.entries[type_id - 1].split("\n", 1)[0])
        return self._known[type_id]

    def _describe(self, head: str) -> tuple[str, str, int]:
        match = re.match(r"\d+\] (\w+) '([^']*)'", head)
        if match is None:
            return "?", "", 0
        kind, name = match.groups()
        if kind in ("INT", "FLOAT"):
            return name, "", _number(head, "size")
        if kind in ("STRUCT", "UNION", "ENUM", "ENUM64"):
            return f"{kind.lower().removesuffix('64')} {name}", "", _number(head, "size")
        if kind == "FWD":
            return f"struct {name}", "", 0
        if kind == "FUNC_PROTO":
            return "function", "", 0
        before, after, size = self.describe(_number(head, "type_id"))
        if kind == "TYPEDEF":
            return name, "", size
        if kind == "PTR":
            return f"{before}{'' if before.endswith('*') else ' '}*", after, 8
        if kind == "ARRAY":
            count = _number(head, "nr_elems")
            return before, f"[{count}]{after}", count * size
        if kind in ("CONST", "VOLATILE", "RESTRICT"):
            word = kind.lower()
            return (f"{before} {word}" if before.endswith("*") else f"{word} {before}"), after, size
        return before, after, size  # TYPE_TAG and whatever comes: the type it marks


def _number(head: str, key: str) -> int:
    match = re.search(rf"\b{key}=(\d+)", head)
    return int(match[1]) if match else 0


def parse_btf(dump: str) -> dict[str, EventStruct]:
    """All ``struct trace_event_raw_*`` in a text of ``bpftool btf dump … format raw``, by name.

    >>> text = '''[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
    ... [2] STRUCT 'trace_event_raw_x' size=8 vlen=1
    ... \\t'pid' type_id=1 bits_offset=32'''
    >>> parse_btf(text)["trace_event_raw_x"].members
    (Member(declaration='int pid', name='pid', offset=4, size=4),)
    """
    types = _Types(dump)
    return {name: types.struct(name) for name in types.structs}


def event_struct(name: str, *, path: str = VMLINUX) -> EventStruct:
    """The struct of an event, ``category:event``, or of a class of events, in the BTF at ``path``.

    The first call runs bpftool and takes about half a second. Events that share a class have no
    struct of their own, and an event of a module is in the module's BTF; for them
    :class:`~tracekit.errors.UnknownTracepoint` is raised. Without BTF or bpftool it is
    :class:`~tracekit.errors.RequirementMissing`.

    The value's repr is a table:

    >>> EventStruct("trace_event_raw_x", 16, (Member("int pid", "pid", 8, 4),))
    struct trace_event_raw_x · 16 bytes
    offset  size  declaration
         8     4  int pid
    """
    types = _load(path)
    struct = _PREFIX + name.rpartition(":")[2].removeprefix(_PREFIX)
    if struct not in types.structs:
        classes = (f":{known.removeprefix(_PREFIX)}" for known in types.structs)
        nearest = nearest_names(struct.removeprefix(_PREFIX), classes)
        raise UnknownTracepoint(
            name,
            where=f"{path} (events of one class share the struct of the class)",
            nearest=[known.removeprefix(":") for known in nearest],
        )
    return types.struct(struct)


def event_struct_names(*, path: str = VMLINUX) -> tuple[str, ...]:
    """The names of all structs of events in the BTF at ``path``, without ``trace_event_raw_``.

    They are names of classes of events: of an event's own, or of one that several events share.
    """
    return tuple(sorted(name.removeprefix(_PREFIX) for name in _load(path).structs))


@lru_cache(maxsize=2)
def _load(path: str) -> _Types:
    if not os.path.exists(path):
        raise RequirementMissing(
            f"this kernel has no BTF: {path} does not exist",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels are",
        )
    # An ordinary user's PATH on Debian lacks /usr/sbin.
    tool = shutil.which("bpftool", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if tool is None:
        raise RequirementMissing("bpftool is not installed", "sudo apt-get install bpftool")
    done = subprocess.run(
        [tool, "btf", "dump", "file", path, "format", "raw"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RequirementMissing(f"bpftool could not read {path}: {done.stderr.strip()}")
    return _Types(done.stdout)

"""How often the kernel did not run a program, because another BPF program was in the way.

A program of a tracepoint does not interrupt another one. Where an interrupt brings a tracepoint
while such a program runs on the same processor, the kernel goes on without running the one of the
interrupt: ``trace_call_bpf`` in kernel/trace/bpf_trace.c looks at ``bpf_prog_active``, of which
every processor has one. The same holds while the kernel changes a BPF map for a system call
(``bpf_disable_instrumentation`` in include/linux/bpf.h).

The kernel counts these misses for each program, and shows them as ``recursion_misses`` in
/proc/PID/fdinfo/FD of a program's descriptor: since Linux 5.12 (commit 9ed9e9ba2337), for programs
of tracepoints since Linux 6.7 (commit dd8657894c11); in between the number is there and stays 0.

There is a second guard that nobody counts. perf itself gives a tracepoint that is reached within
another one of the same context (task, softirq, hard interrupt, NMI) to no program at all
(``perf_swevent_get_recursion_context`` in kernel/events/core.c). That concerns tracepoints that a
program reaches by what it does: its own ``bpf_trace_printk`` is one of ``bpf_trace``, and a program
that sits there is not run for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import weakref
from collections.abc import Iterable
from functools import cache

from tracekit.tracepoints.btf import VMLINUX

__all__ = ("Misses", "kernel_counts_misses")

_MISSES = re.compile(rb"^recursion_misses:\s*(\d+)", re.MULTILINE)
_HEADER = struct.Struct("=HBBIIIII")  # struct btf_header, include/uapi/linux/btf.h
_MAGIC = 0xEB9F


class Misses:
    """The misses of the programs of one probe, summed; each look takes some microseconds.

    It holds open files of /proc, which keep neither the programs nor the process alive.

    :param counted: whether this kernel counts them for tracepoints, see
        :func:`kernel_counts_misses`.
    """

    def __init__(self, *, counted: bool) -> None:
        self._counted = counted
        self._files: tuple[_Descriptor, ...] = ()
        self._last = 0

    def add(self, files: Iterable[io.FileIO]) -> None:
        """Watch further programs; the files are those of /proc/PID/fdinfo, and are closed here."""
        added = []
        for file in files:
            with file:
                added.append(_Descriptor(os.dup(file.fileno())))
        self._files += tuple(added)

    @property
    def total(self) -> int | None:
        """How often the programs were not run; None where the kernel does not count it.

        Where the process that holds the programs is gone, it is what it was at the last look.
        """
        files = self._files
        with contextlib.suppress(OSError):
            found = [_MISSES.search(os.pread(file.number, 4096, 0)) for file in files]
            if found:
                self._last = sum(int(match[1]) for match in found if match is not None)
        # More than 0 is counted, whatever else this kernel says.
        return self._last if self._counted or self._last else None

    def release(self) -> None:
        """Close the files, as soon as no other thread looks."""
        self._files = ()


class _Descriptor:
    # Closed with the last reference to it: io.FileIO would warn of that.

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


@cache
def kernel_counts_misses(path: str = VMLINUX) -> bool:
    """Whether this kernel counts the misses of programs of tracepoints; False where it is unknown.

    Nothing in the kernel says so by itself. The patches that brought it (Linux 6.7) brought also
    the member ``missed`` of what the kernel tells of a link to kprobes (commit e2b2cd592adb), and
    that can be seen in BTF (Documentation/bpf/btf.rst), the types the kernel carries inside itself:
    in ``struct bpf_link_info`` the members ``addrs``, ``count``, ``flags`` and ``missed`` follow
    each other, as they do nowhere else. Takes some 10 ms, once.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return False
    if len(data) < _HEADER.size:
        return False
    magic, _, _, length, *sections = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        return False
    types, names = (
        data[length + begin : length + begin + size] for begin, size in (sections[:2], sections[2:])
    )
    members = []
    for name in (b"addrs", b"count", b"flags", b"missed"):
        position = names.find(b"\0%b\0" % name) + 1
        if not position:
            return False
        # struct btf_member begins with the offset of its name, and has 8 bytes more.
        members.append(re.escape(struct.pack("=I", position)))
    return re.search(rb".{8}".join(members), types, re.DOTALL) is not None

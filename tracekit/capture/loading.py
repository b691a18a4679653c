"""From a C program to one that runs: worker started, compiled, readers opened, attached."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.channel import Reply
from tracekit.capture.diagnostics import compile_error, parse_diagnostics
from tracekit.capture.misses import Misses, kernel_counts_misses
from tracekit.capture.process import RequestFailed, WorkerProcess
from tracekit.capture.program import Program
from tracekit.capture.record_type import record_dtype
from tracekit.capture.refusals import not_permitted, refusal
from tracekit.capture.ring import RingBuffer, can_map_rings
from tracekit.errors import (
    Diagnostic,
    RecordTypeError,
    RequirementMissing,
    TracefsUnavailable,
    WorkerDied,
)
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.host.rights import may_load_programs, mount_point, sudo_asks_nothing
from tracekit.tracepoints.tracefs import find_tracefs, read_format

__all__ = (
    "Loaded",
    "check_tracepoint",
    "compiler_options",
    "load",
    "start_worker",
    "watch_misses",
)

_ARRAY, _PERF_EVENT_ARRAY, _RINGBUF = 2, 4, 27  # enum bpf_map_type, include/uapi/linux/bpf.h
_MMAPABLE = 1024  # BPF_F_MMAPABLE


@dataclass(slots=True)
class Loaded:
    """What a loaded program lends: its record's dtype and, where it has them, ring and counters.

    ``dtype`` is None for a program that prints or sends nothing; ``ring`` is None where the worker
    reads (perf buffers); ``counters`` is a live view of seen, sent and dropped, shape (3,), or
    None; ``attached`` are the tracepoints (``category:event``); ``misses`` is None where nobody can
    say how often the kernel did not run the program.
    """

    dtype: np.dtype[Any] | None
    ring: RingBuffer | None
    counters: NDArray[np.uint64] | None
    counts_losses: bool
    diagnostics: tuple[Diagnostic, ...]
    attached: tuple[str, ...]
    misses: Misses | None = None

    def release(self) -> None:
        """Give the mapped ring buffer and counters back to the kernel, and close files."""
        self.ring = self.counters = None
        if self.misses is not None:
            self.misses.release()
            self.misses = None


def check_tracepoint(tracepoint: str) -> None:
    """Make sure that this kernel has ``category:event``, before anything is compiled.

    clang's message for a missing one speaks of a struct that "will not be visible outside of this
    function".

    :raises UnknownTracepoint: it does not have it.
    :raises TracefsUnavailable: tracefs is not mounted, or neither this process nor the worker may
        read it.
    """
    try:
        read_format(tracepoint)
    except TracefsUnavailable:
        if may_load_programs():
            raise
        # a worker under sudo may read what this process may not


def start_worker() -> WorkerProcess:
    """Start a worker under the Python that has bcc, through ``sudo -n`` where that is needed.

    :raises RequirementMissing: there is no bcc here, or no right to load programs.
    """
    python = str(find_bcc_python())
    if may_load_programs():
        command = [python]
    elif sudo_asks_nothing():
        command = ["sudo", "-n", python]
    else:
        raise not_permitted()
    try:
        return WorkerProcess(command)
    except WorkerDied as death:
        if "from bcc import" not in death.output:
            raise
        last = death.output.strip().splitlines()[-1]
        raise RequirementMissing(
            f"the bcc of {python} can't be imported: {last}",
            "python3 -m tracekit doctor says which bcc it is; reinstall the distribution's package",
        ) from None


def compiler_options(program: Program) -> dict[str, Any]:
    """What a request to compile must say beside the text.

    :raises RequirementMissing: there are no kernel headers bcc could use.
    """
    headers = find_headers()
    # the worker may run under sudo, which clears the environment
    own = os.environ.get("BCC_KERNEL_SOURCE", "")
    return {
        "cflags": program.flags,
        "kernel_source": str(headers.path) if headers is not None else own,
    }


def load(worker: WorkerProcess, program: Program, *, perf_pages: int) -> Loaded:
    """Compile a program in ``worker``, open its readers, then load and attach it.

    :param perf_pages: pages of each processor's perf buffer, a power of two.
    :raises CompileError, VerifierError, AttachError, RecordTypeError, RequirementMissing,
    WorkerDied:
        see :meth:`tracekit.capture.probe.Probe.from_file`.
    """
    options = compiler_options(program)
    try:
        compiled = worker.request("compile", text=program.compiled_text, **options)
    except WorkerDied as death:
        # where LLVM refuses, bcc says where and leaves by exit(1)
        if death.returncode == 1 and "error: " in death.output:
            raise compile_error(death.output, program) from None
        raise
    except RequestFailed as failure:
        if "could not open bpf map" in failure.output:
            # it compiled: a container or the kernel's lockdown forbids what the capabilities allow
            raise not_permitted() from None
        raise compile_error(failure.output, program) from None
    diagnostics = parse_diagnostics(worker.new_output(), program)

    def describe(text: str, table: str) -> Any:
        try:
            return worker.request("describe", text=text, table=table, **options)["leaf"]
        except RequestFailed:
            return None
        finally:
            worker.new_output()

    tables = {table["name"]: table for table in compiled["tables"]}
    senders = [t for t in tables.values() if t["type"] in (_PERF_EVENT_ARRAY, _RINGBUF)]
    _check_one_way(senders, program)
    dtypes = {
        t["name"]: record_dtype(program, t["name"], [(n, c) for n, c in t["record"]], describe)
        for t in senders
    }
    maps = [t["name"] for t in senders if t["type"] == _RINGBUF and can_map_rings()]
    if _can_count(tables.get("counters")):
        maps.append("counters")
    try:
        started = worker.request(
            "start",
            records={name: dtype.itemsize for name, dtype in dtypes.items()},
            pages=perf_pages,
            maps=maps,
            printk=program.prints,
            tracefs=_tracefs_of_worker() if program.prints else "",
        )
    except RequestFailed as failure:
        raise refusal(failure, program, ", ".join(program.tracepoints)) from None
    if started["made"]:
        worker.removes(started["made"])
    ring, counters = _map(started, tables, dtypes)
    loaded = Loaded(
        dtype=next(iter(dtypes.values()), None),
        ring=ring,
        counters=counters,
        counts_losses=program.prints or any(t["type"] == _PERF_EVENT_ARRAY for t in senders),
        diagnostics=diagnostics,
        attached=_attached(program, compiled["functions"]),
        misses=Misses(counted=kernel_counts_misses()),
    )
    watch_misses(worker, loaded)
    return loaded


def watch_misses(worker: WorkerProcess, loaded: Loaded) -> None:
    """Begin to count the misses of the functions that the worker has loaded since the last call.

    :raises ProbeClosed, WorkerDied: the worker is gone.
    """
    misses = loaded.misses
    while misses is not None:
        try:
            files = worker.request("programs").descriptors
        except RequestFailed:
            # There is no /proc there: some misses would be counted and others not.
            loaded.misses = None
            misses.release()
            return
        if not files:
            return
        misses.add(files.values())


def _tracefs_of_worker() -> str:
    try:
        return str(find_tracefs())
    except TracefsUnavailable:
        if may_load_programs():
            raise
        # a worker under sudo may read what this process may not
        return str(mount_point("tracefs") or "/sys/kernel/tracing")


def _attached(program: Program, functions: list[str]) -> tuple[str, ...]:
    """The tracepoints bcc attached to, which the preprocessor may have made fewer than written."""
    written = {f"tracepoint__{tp.replace(':', '__')}": tp for tp in program.tracepoints}
    prefix = "tracepoint__"
    others = [name for name in functions if name.startswith(prefix) and name not in written]
    return tuple(tp for name, tp in written.items() if name in functions) + tuple(
        name.removeprefix(prefix).replace("__", ":") for name in others
    )


def _can_count(table: Mapping[str, Any] | None) -> bool:
    """Whether a table is that of ``bpf/counters.h``: three u64 in a mappable array."""
    return (
        table is not None
        and table["type"] == _ARRAY
        and bool(table["flags"] & _MMAPABLE)
        and table["entries"] == 3
        and table["leaf"] == "unsigned long long"
    )


def _check_one_way(senders: list[dict[str, Any]], program: Program) -> None:
    ways = [table["name"] for table in senders] + ["bpf_trace_printk"] * program.prints
    if len(ways) > 1:
        raise RecordTypeError(
            f"{program.file} sends its events in {len(ways)} ways: {', '.join(ways)}",
            "a probe reads one: make a probe of its own for each",
        )


def _map(
    started: Reply, tables: Mapping[str, Any], dtypes: Mapping[str, np.dtype[Any]]
) -> tuple[RingBuffer | None, NDArray[np.uint64] | None]:
    ring, counters = None, None
    for name, descriptor in started.descriptors.items():
        # A mapping holds the map by itself: the descriptor is not needed any more.
        with descriptor:
            if tables[name]["type"] == _RINGBUF:
                ring = RingBuffer(descriptor.fileno(), tables[name]["entries"], dtypes[name])
            else:
                view = mmap.mmap(
                    descriptor.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ
                )
                counters = np.frombuffer(view, np.uint64, 3)
    return ring, counters

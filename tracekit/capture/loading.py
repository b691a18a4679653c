"""From a C program to one that runs: worker started, compiled, readers opened, attached."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.capture.diagnostics import compile_error, parse_diagnostics
from tracekit.capture.process import Reply, RequestFailed, WorkerProcess
from tracekit.capture.program import Program
from tracekit.capture.record_type import record_dtype
from tracekit.capture.refusals import not_permitted, refusal
from tracekit.capture.ring import RingBuffer, can_map_rings
from tracekit.errors import Diagnostic, RecordTypeError, TracefsUnavailable, WorkerDied
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.host.rights import may_load_programs, sudo_asks_nothing
from tracekit.tracepoints.tracefs import find_tracefs, read_format

__all__ = ("Loaded", "check_tracepoint", "compiler_options", "load", "start_worker")

_PERF_EVENT_ARRAY, _RINGBUF = 4, 27  # enum bpf_map_type, include/uapi/linux/bpf.h


@dataclass(slots=True)
class Loaded:
    """What a loaded program lends: its record's dtype and, where it has them, ring and counters.

    ``dtype`` is None for a program that prints or sends nothing; ``ring`` is None where the worker
    reads (perf buffers); ``counters`` is a live view of seen, sent and dropped, shape (3,), or
    None.
    """

    dtype: np.dtype[Any] | None
    ring: RingBuffer | None
    counters: NDArray[np.uint64] | None
    counts_losses: bool
    diagnostics: tuple[Diagnostic, ...]

    def release(self) -> None:
        """Give the mapped ring buffer and counters back to the kernel."""
        self.ring = self.counters = None


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
        return WorkerProcess([python])
    if sudo_asks_nothing():
        return WorkerProcess(["sudo", "-n", python])
    raise not_permitted()


def compiler_options(program: Program) -> dict[str, Any]:
    """What a request to compile must say beside the text.

    :raises RequirementMissing: there are no kernel headers bcc could use.
    """
    headers = find_headers()
    return {
        "cflags": program.flags,
        "kernel_source": str(headers.path) if headers is not None else "",
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
        raise compile_error(failure.output, program) from None
    diagnostics = parse_diagnostics(worker.new_output(), program)

    def describe(text: str, table: str) -> Any:
        try:
            return worker.request("describe", text=text, table=table, **options)["leaf"]
        except RequestFailed:
            return None
        finally:
            worker.new_output()

    senders = [t for t in compiled["tables"] if t["type"] in (_PERF_EVENT_ARRAY, _RINGBUF)]
    _check_one_way(senders, program)
    dtypes = {t["name"]: record_dtype(program, t["name"], t["record"], describe) for t in senders}
    try:
        started = worker.request(
            "start",
            records={name: dtype.itemsize for name, dtype in dtypes.items()},
            pages=perf_pages,
            map_rings=can_map_rings(),
            printk=program.prints,
            tracefs=str(find_tracefs()) if program.prints else "",
        )
    except RequestFailed as failure:
        raise refusal(failure, program, ", ".join(program.tracepoints)) from None
    ring, counters = _map(started, {t["name"]: t for t in compiled["tables"]}, dtypes)
    return Loaded(
        dtype=next(iter(dtypes.values()), None),
        ring=ring,
        counters=counters,
        counts_losses=program.prints or any(t["type"] == _PERF_EVENT_ARRAY for t in senders),
        diagnostics=diagnostics,
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
        entries = tables[name]["entries"]
        # A mapping holds the map by itself: the descriptor is not needed any more.
        try:
            if tables[name]["type"] == _RINGBUF:
                ring = RingBuffer(descriptor, entries, dtypes[name])
            elif name == "counters":
                view = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
                counters = np.frombuffer(view, np.uint64, entries)
        finally:
            os.close(descriptor)
    return ring, counters

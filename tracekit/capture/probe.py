"""Probe: a C program attached to tracepoints, and the events it sends."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tracekit.capture import registry
from tracekit.capture.events import Counts, Events, Origin
from tracekit.capture.listing import LISTINGS, plain_listing
from tracekit.capture.loading import check_tracepoint, load, start_worker
from tracekit.capture.process import RequestFailed
from tracekit.capture.program import Program, read_program
from tracekit.capture.reader import Reader
from tracekit.capture.refusals import refusal
from tracekit.capture.script import stand_alone_script
from tracekit.errors import Diagnostic, ProbeClosed

__all__ = ("PROGRAMS", "Probe")

#: The folder of the course's C programs.
PROGRAMS = Path(__file__).resolve().parents[2] / "bpf"

_POLL = 0.01  # seconds between two looks at the buffers while read() waits
_opened = itertools.count()


class Probe:
    """A C program that runs in the kernel each time its tracepoints are reached.

    Made with :meth:`from_file` or :meth:`from_text`; compiled and attached in a child process of
    its own, so that nothing the program makes bcc, clang or the verifier do can harm the notebook.
    Use it in a ``with``, or :meth:`close` it; running the cell that made it again closes it too,
    as do garbage collection and the end of the notebook's kernel, however that comes about.
    """

    def __init__(self, program: Program, *, name: str, perf_pages: int = 64) -> None:
        """Compile, load and attach; :meth:`from_file` and :meth:`from_text` are easier to call."""
        self.program = program
        self.name = name
        self.cell = registry.running_cell()
        self.opened = next(_opened)
        for tracepoint in program.certain_tracepoints:
            check_tracepoint(tracepoint)
        registry.close_replaced(name, self.cell)
        self._attached_by_hand: tuple[tuple[str, str], ...] = ()
        self._worker = start_worker()
        try:
            loaded = load(self._worker, program, perf_pages=perf_pages)
            self.attached = loaded.attached
            #: When it was attached last, CLOCK_MONOTONIC in nanoseconds, as records' ``ts`` are.
            self.attached_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self._diagnostics = loaded.diagnostics
            self._reader = Reader(self._worker, loaded, prints=program.prints)
            registry.register(self)
        except BaseException:
            self._worker.close()
            raise

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        defines: Mapping[str, object] | None = None,
        name: str | None = None,
    ) -> Probe:
        """A probe from a C file; a relative path is looked for here, then in ``bpf/``.

        :param defines: macros set for the compiler, as ``-DNAME=VALUE`` would.
        :param name: a new probe closes an open one of the same name; the file's name, unless given.
        :raises UnknownTracepoint: ``TRACEPOINT_PROBE`` names a tracepoint this kernel lacks.
        :raises CompileError: there is no such file, or the compiler refused it: with its own lines.
        :raises VerifierError: the kernel's verifier refused it.
        :raises AttachError: the kernel loaded it but did not attach it.
        :raises RecordTypeError: what it sends can't be described to Python.
        :raises RequirementMissing: bcc, headers or a capability are missing here.
        :raises TracefsUnavailable: tracefs is not mounted or not readable.
        :raises WorkerDied: the child process crashed.
        """
        program = read_program(path, (PROGRAMS,), defines)
        return cls(program, name=name or Path(program.file).stem)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        defines: Mapping[str, object] | None = None,
        name: str | None = None,
    ) -> Probe:
        """A probe from C text; raises what :meth:`from_file` raises.

        Without a ``name`` the text is its own: only the same text replaces it, or another run of
        the same cell.
        """
        name = name or f"text-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return cls(Program(text, f"{name}.c", PROGRAMS, dict(defines or {})), name=name)

    def attach_tracepoint(self, tp: str, fn_name: str) -> Probe:
        """Attach a function of the program to a tracepoint, as bcc's ``attach_tracepoint`` does.

        The function's argument is a struct the program defines itself; nobody checks it against the
        format file. Returns the probe.

        :param tp: ``category:event``.
        :param fn_name: the C function's name.
        :raises UnknownTracepoint: this kernel has no such tracepoint.
        :raises VerifierError: the verifier refused the function.
        :raises AttachError: there is no such function, or the kernel refused: the function reads
            past the end of the record, or 64 programs are attached to this tracepoint already.
        """
        self._check_open()
        check_tracepoint(tp)
        try:
            self._worker.request("attach", tp=tp, fn_name=fn_name)
            self._reader.watch_misses()
        except RequestFailed as failure:
            raise refusal(failure, self.program, tp) from None
        except BaseException:
            # an interrupt: whether it was attached is not known
            self.close()
            raise
        self.attached += (tp,)
        self.attached_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self._attached_by_hand += ((tp, fn_name),)
        return self

    # reading ------------------------------------------------------------------------------

    def read(
        self, *, count: int | None = None, seconds: float | None = None, timeout: float = 10.0
    ) -> Events:
        """The events since the last read, ordered by time.

        Without arguments: those there are now. With ``count``: waits until there are that many, and
        gives exactly that many; the rest stays for the next read. With ``seconds``: collects for
        that long. With both: whichever comes first.

        :param timeout: seconds to wait for ``count`` events at most; then it gives what there is.
        :raises ValueError: ``count`` is negative.
        :raises RecordTypeError: the program sent a record of another length; it is passed over.
        :raises ProbeClosed: the probe was closed or replaced.
        :raises WorkerDied: the child process crashed.
        """
        if count is not None and count < 0:
            raise ValueError(f"count must not be negative, and is {count}")
        self._check_open()
        wait = seconds if seconds is not None else timeout if count else 0
        deadline = time.monotonic() + wait
        self._reader.collect()
        while not (count and self._reader.waiting >= count):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(_POLL, left))
            self._check_open()
            self._reader.collect()
        records, counts = self._reader.take(count)
        return Events(records, Origin(self.name, os.uname().release, "live"), counts)

    def stream(
        self, *, seconds: float, interval: float = 0.1, count: int | None = None
    ) -> Iterator[Events]:
        """Batches of events every ``interval`` seconds, for ``seconds``, or until ``count`` came.

        A batch may be empty. Closing the probe ends it.
        """
        end = time.monotonic() + seconds
        so_far = 0
        while (left := end - time.monotonic()) > 0 and not self.closed:
            wanted = None if count is None else count - so_far
            try:
                events = self.read(seconds=min(interval, left), count=wanted)
            except ProbeClosed:
                return
            yield events
            so_far += len(events)
            if count is not None and so_far >= count:
                return

    @property
    def counts(self) -> Counts:
        """What was seen, sent, dropped and missed since the probe was attached."""
        return self._reader.counts

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its events; how long printed messages are, the events themselves tell."""
        return self._reader.dtype

    def script(self) -> str:
        """The same program as a stand-alone bcc script, without tracekit."""
        listing = LISTINGS.get(self.name) or plain_listing(self.dtype)
        return stand_alone_script(self.program, listing, attach=self._attached_by_hand)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The compiler's warnings."""
        return self._diagnostics

    @property
    def closed(self) -> bool:
        """Whether the probe was closed or replaced, or its child process died."""
        return self._worker.ended

    @property
    def pid(self) -> int:
        """The process id of the child process that holds the program."""
        return self._worker.pid

    def close(self) -> None:
        """Detach and free everything the kernel lent; may be called again, from any thread."""
        self.release()
        self._worker.close()

    def release(self) -> None:
        """Give back what this process has mapped; :meth:`close` does it, and so does a fork."""
        self._reader.release()

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"Probe {self.name}: closed, nothing is attached"
        where = ", ".join(self.attached) or "nothing yet: attach_tracepoint(tp, fn_name)"
        text = f"Probe {self.name}: attached to {where}\nlive · Linux {os.uname().release}"
        return "\n".join([text, *(str(d) for d in self.diagnostics)])

    def _check_open(self) -> None:
        if self._worker.closed:
            raise ProbeClosed(
                f"the probe {self.name} is closed, so nothing is attached",
                "run the cell that makes it again",
            )
        self._worker.check()

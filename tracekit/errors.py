"""What can go wrong, as types: every message says the fact, then the next step.

>>> raise TracefsUnavailable("tracefs is not mounted", "python3 -m tracekit setup")
Traceback (most recent call last):
...
tracekit.errors.TracefsUnavailable: tracefs is not mounted
  next: python3 -m tracekit setup
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

__all__ = (
    "AttachError",
    "CompileError",
    "Diagnostic",
    "FormatError",
    "ProbeClosed",
    "RecordError",
    "RecordTypeError",
    "RequirementMissing",
    "TracefsUnavailable",
    "TracekitError",
    "TrafficError",
    "UnknownClaim",
    "UnknownExercise",
    "UnknownFailure",
    "UnknownField",
    "UnknownKernel",
    "UnknownTracepoint",
    "VerdictError",
    "VerifierError",
    "WorkerDied",
)


class TracekitError(Exception):
    """The base of every error of tracekit: a fact and, where there is one, the next step."""

    def __init__(self, fact: str, next_step: str = "") -> None:
        self.fact = fact
        self.next_step = next_step
        super().__init__(f"{fact}\n  next: {next_step}" if next_step else fact)

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines in place of the traceback: a learner reads
        # the message, not forty lines of our own frames.
        lines = f"{type(self).__name__}: {self.fact}".splitlines()
        # A compiler's lines keep their columns, for the marks below them; ours are wrapped.
        step = wrap(f"next: {self.next_step}", 78) if self.next_step else []
        return [*lines, *(f"  {line}" for line in step)]


class FormatError(TracekitError, ValueError):
    """A format file's text that does not parse, at ``line_number`` (from 1), which is ``line``."""

    def __init__(
        self, fact: str, next_step: str = "", *, line_number: int = 0, line: str = ""
    ) -> None:
        self.line_number = line_number
        self.line = line
        if line_number:
            fact = f"format file, line {line_number}: {fact}\n  {line.strip()}"
        super().__init__(fact, next_step)


class UnknownTracepoint(TracekitError, LookupError):
    """A tracepoint this kernel does not have.

    ``nearest`` are up to three names it does have; ``kernels`` those of the catalogue that had
    the one asked for.
    """

    def __init__(
        self, name: str, *, where: str, nearest: Sequence[str] = (), kernels: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        self.kernels = tuple(kernels)
        steps = []
        if nearest:
            steps.append(f"nearest names: {', '.join(nearest)}")
        if kernels:
            steps.append(f"kernels of the catalogue that have it: {', '.join(kernels)}")
        super().__init__(
            f"no tracepoint {name} in {where}",
            "; ".join(steps) or "find_tracepoints() lists the names there are",
        )


class UnknownField(TracekitError, LookupError):
    """A field the record does not have; ``nearest`` are up to three names it does have."""

    def __init__(self, name: str, *, where: str, nearest: Sequence[str] = ()) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        super().__init__(
            f"{where} has no field {name}",
            f"nearest names: {', '.join(nearest)}" if nearest else "its repr lists its fields",
        )


class UnknownKernel(TracekitError, LookupError):
    """A kernel the catalogue of format files does not hold."""


class RecordError(TracekitError, ValueError):
    """Bytes that can't be the record, or the part of one, that they are said to be."""


class TracefsUnavailable(TracekitError):
    """tracefs is not mounted here, or this process may not read it."""


class RequirementMissing(TracekitError):
    """Something the machine must have is missing: bcc, kernel headers, a capability."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message of the compiler, at the place in the .c file it speaks of.

    ``line`` and ``column`` count from 1; both are 0 where the message names no place.
    """

    file: str
    line: int
    column: int
    severity: str
    message: str
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        text = f"{place}{self.severity}: {self.message}"
        return f"{text}\n{self.excerpt}" if self.excerpt else text


class CompileError(TracekitError):
    """The C program did not compile.

    ``diagnostics`` are the compiler's messages with the .c file's own name and lines; ``output``
    is everything it printed.
    """

    def __init__(
        self,
        fact: str,
        next_step: str = "",
        *,
        diagnostics: Sequence[Diagnostic] = (),
        output: str = "",
    ) -> None:
        self.diagnostics = tuple(diagnostics)
        self.output = output
        super().__init__(fact, next_step)


class VerifierError(TracekitError):
    """The kernel's verifier refused the program; ``log`` is the whole of what it printed."""

    def __init__(self, fact: str, next_step: str = "", *, log: str = "") -> None:
        self.log = log
        super().__init__(fact, next_step)


class AttachError(TracekitError):
    """The kernel loaded the program but refused to attach it to the tracepoint."""


class RecordTypeError(TracekitError):
    """The type of the records a program sends can't be described to Python."""


class WorkerDied(TracekitError):
    """The probe's child process ended unexpectedly.

    ``returncode`` is as in :class:`subprocess.Popen`: negative for a signal; ``output`` is what it
    printed before.
    """

    def __init__(
        self, fact: str, next_step: str = "", *, returncode: int | None = None, output: str = ""
    ) -> None:
        self.returncode = returncode
        self.output = output
        super().__init__(fact, next_step)


class ProbeClosed(TracekitError):
    """The probe was closed, or replaced by one of the same name; nothing is attached."""


class TrafficError(TracekitError):
    """The test traffic could not be made."""


class UnknownClaim(TracekitError, LookupError):
    """A number that no claim of the document has."""


class VerdictError(TracekitError, TypeError):
    """A verdict about a claim that is neither true nor false nor None."""


class UnknownExercise(TracekitError, LookupError):
    """An exercise or a prediction that the course does not have."""


class UnknownFailure(TracekitError, LookupError):
    """A failure that the gallery does not have."""

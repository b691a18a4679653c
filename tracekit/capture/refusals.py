"""What the kernel's refusal to load or attach a program means."""

from __future__ import annotations

import os
import re

from tracekit.capture.diagnostics import verifier_error
from tracekit.capture.process import RequestFailed
from tracekit.capture.program import Program
from tracekit.errors import AttachError, RequirementMissing, TracekitError, UnknownTracepoint

__all__ = ("not_permitted", "refusal")


def refusal(failure: RequestFailed, program: Program, tracepoint: str) -> TracekitError:
    """The error for a program that compiled but was not loaded or attached.

    :param failure: what bcc raised in the worker, and what libbcc and the kernel printed.
    :param tracepoint: ``category:event`` it was to be attached to.
    """
    message, output = failure.fact, failure.output
    if "Need super-user privileges" in message:
        return not_permitted()
    if loading := re.search(r"Failed to load BPF program b'(\w+)'", message):
        if "processed" in output or "invalid" in output:
            return verifier_error(output, program, loading[1].removeprefix("tracepoint__"))
        return AttachError(f"the kernel did not load {loading[1]}: {output.strip() or message}")
    if unknown := re.search(r"Unknown program b'(\w*)'", message):
        return AttachError(
            f"{program.file} has no function {unknown[1]!r}",
            "fn_name is the name of the C function that takes the struct",
        )
    if "Failed to attach" in message:
        # of a program with several functions bcc says which tracepoint it was
        named = re.search(r"to tracepoint b'([^']+)'", message)
        return _attach_error(output, named[1] if named else tracepoint)
    if "tracefs instance" in message:
        return RequirementMissing(
            message,
            "close another probe that prints, or start the notebook with"
            " python3 -m tracekit lab, which prepares some instances",
        )
    return AttachError(f"{message}\n{output.strip()}".strip())


def not_permitted() -> RequirementMissing:
    """The error for a process that may not load BPF programs."""
    return RequirementMissing(
        "this process may not load BPF programs: it has neither CAP_BPF and CAP_PERFMON nor a sudo"
        " that asks for no password",
        "start the notebook with: python3 -m tracekit lab",
    )


def _attach_error(output: str, tracepoint: str) -> TracekitError:
    # libbpf prints errno's text, e.g. "ioctl(PERF_EVENT_IOC_SET_BPF): Permission denied"
    if "Argument list too long" in output:
        return AttachError(
            f"{tracepoint} has 64 programs attached, and the kernel allows no more",
            "close probes that are no longer needed; bpftool perf list shows whose they are",
        )
    if "SET_BPF): Permission denied" in output:
        return AttachError(
            f"the program reads past the end of the record of {tracepoint}",
            f"compare its struct with read_format({tracepoint!r})",
        )
    if "File exists" in output:
        return AttachError(
            f"this function is attached to {tracepoint} already", "attach each function once"
        )
    if tracepoint.startswith("ftrace:"):
        return AttachError(
            f"{tracepoint} is written by ftrace itself: nothing can be attached to it",
            "choose a tracepoint of another category",
        )
    if "perf_event_open(" in output and "Operation not permitted" in output:
        # TRACE_EVENT_PERF_PERM in arch/x86/include/asm/trace/irq_vectors.h, Linux 6.18
        return AttachError(
            f"the kernel does not permit a perf event on {tracepoint}, which bcc attaches with",
            "choose another; where others work, this is one like irq_vectors:irq_work_exit, where"
            " handling an event would cause the next one, without end",
        )
    if "No such file" in output:
        return UnknownTracepoint(tracepoint, where=f"Linux {os.uname().release}")
    said = output.strip().splitlines()[-1:] or ["it gave no reason"]
    return AttachError(f"the kernel refused to attach to {tracepoint}: {said[0]}")

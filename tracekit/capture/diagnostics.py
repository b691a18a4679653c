"""What clang, LLVM and the verifier print, turned into errors that name the learner's own lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tracekit.capture.program import Program
from tracekit.errors import CompileError, Diagnostic, VerifierError

__all__ = ("compile_error", "parse_diagnostics", "verifier_error")

_CLANG = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): "
    r"(?P<severity>fatal error|error|warning|note): (?P<message>.*)$"
)
# LLVM, behind clang: "error: main.c:26:34: in function NAME TYPE: too many args to 0x3d10e240: …"
_LLVM = re.compile(
    r"^(?P<severity>error): (?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): "
    r"in function (?P<function>\S+) .*?\): (?P<message>.*)$"
)
_SOURCE_OF_INSTRUCTION = re.compile(r"^; ?.*@ (?P<file>[^:\n]+):(?P<line>\d+)")
_INSTRUCTION = re.compile(r"^\d+: \(")
_CARET = re.compile(r"[ \t~]*\^[ \t~^]*")
_GENERATED = "the struct TRACEPOINT_PROBE wrote"

# What a message means for a learner: the first that is found in it is given as the next step.
_COMPILE_STEPS = (
    (
        "too many args to",
        "bpf_trace_printk takes three values at most: print fewer, or send a struct with"
        " perf_submit or ringbuf_output",
    ),
    (
        "incomplete type 'struct sockaddr_in6'",
        "put #include <uapi/linux/in6.h> at the top: it defines the struct",
    ),
    (
        "file not found",
        "a BPF program is compiled against the kernel's headers, not those of /usr/include: look"
        " for the kernel's header that has what you need",
    ),
    (
        "no member named 'common_",
        "the common fields are not members of args: bpf_get_current_pid_tgid() and"
        " bpf_get_current_comm() give the process",
    ),
    (
        "redefinition of 'tracepoint__",
        "one function for each tracepoint: put what both do into one",
    ),
    ("no member named", "read_format('category:event') shows the fields there are"),
    (
        "will not be visible outside of this function",
        "check the category and the event with find_tracepoints()",
    ),
    ("cannot use builtin inside a macro", "write the call itself in place of the macro"),
)
_VERIFIER_STEPS = (
    (
        re.compile(r"invalid bpf_context access off=[0-7] "),
        "the first 8 bytes of the context are no common fields here: they hold a pointer of the"
        " kernel's, which a program may not read; begin your struct with u64 __unused__",
    ),
    (
        re.compile(r"invalid bpf_context access"),
        "a tracepoint's context is read at its fields' own offsets and sizes, and never written:"
        " compare your struct with read_format()",
    ),
    (
        re.compile(r"variable ctx access|math between ctx pointer"),
        "the index must be a number the compiler knows: copy the array first, with"
        " bpf_probe_read_kernel",
    ),
    (
        re.compile(r"invalid mem access 'scalar'|invalid mem access 'inv'"),
        "a pointer that was read from a record must be followed with bpf_probe_read_kernel",
    ),
    (
        re.compile(r"invalid mem access '.*_or_null'"),
        "compare the pointer with 0 before it is used: a look-up may find nothing",
    ),
    (
        re.compile(r"infinite loop|back-edge|program is too large|jumps is too complex"),
        "give the loop a bound the compiler knows",
    ),
    (
        re.compile(r"invalid (indirect )?read from stack|invalid indirect access to stack"),
        "set every byte of the struct first, holes included: struct event_t event = {};",
    ),
    (re.compile(r"unknown func|program of this type cannot use helper"), "use another helper"),
)


def parse_diagnostics(output: str, program: Program) -> tuple[Diagnostic, ...]:
    """The compiler's messages in ``output``, each with the place in the program's own file.

    A message about the struct that bcc generates for ``TRACEPOINT_PROBE`` says so in place of a
    file.
    """
    found: list[Diagnostic] = []
    lines = output.splitlines()
    for number, line in enumerate(lines):
        match = _CLANG.match(line) or _LLVM.match(line)
        if not match:
            continue
        excerpt = _excerpt(lines[number + 1 : number + 4])
        message = match["message"]
        if message.startswith("too many args to"):
            message = "too many arguments in this call"
        file, at = match["file"], int(match["line"])
        if file == program.file:
            file, at = _true_place(program, at, excerpt)
        found.append(
            Diagnostic(
                file, at, int(match["column"]), match["severity"], message, "\n".join(excerpt)
            )
        )
    return tuple(found)


def _excerpt(following: Sequence[str]) -> list[str]:
    """The line clang quotes, the line with the caret, and what it would insert there."""
    if len(following) < 2 or not _CARET.fullmatch(following[1]):
        return []
    return [line for n, line in enumerate(following) if n < 2 or line[:1] in (" ", "\t")]


def _true_place(program: Program, line: int, excerpt: Sequence[str]) -> tuple[str, int]:
    # What is within the struct that bcc wrote has a line, but not one of the program's; and where a
    # function is declared in an unusual way, clang counts the struct's lines too. The line it
    # quotes tells.
    if not excerpt:
        return program.file, line
    quoted = excerpt[0].strip()
    source = [text.strip() for text in program.lines]
    if line <= len(source) and quoted in source[line - 1]:
        return program.file, line
    # it counts too far, never too little
    candidates = [n for n, text in enumerate(source, 1) if text and quoted in text and n <= line]
    return (program.file, candidates[-1]) if candidates else (_GENERATED, line)


def compile_error(output: str, program: Program) -> CompileError:
    """The error for a program that did not compile, from everything the compiler printed."""
    diagnostics = parse_diagnostics(output, program)
    errors = [d for d in diagnostics if d.severity in ("error", "fatal error")]
    shown = (
        "\n".join(str(d) for d in errors[:3])
        or output.strip()[-600:]
        or "the compiler said nothing"
    )
    if len(errors) > 3:
        shown += f"\n… and {len(errors) - 3} more errors"
    first = errors[0].message if errors else output
    step = next(
        (step for part, step in _COMPILE_STEPS if part in first),
        f"change {program.file} and run the cell again",
    )
    if "too many arguments in this call" in first:
        step = _COMPILE_STEPS[0][1]
    return CompileError(
        f"{program.file} does not compile:\n{shown}",
        step,
        diagnostics=diagnostics,
        output=output,
    )


def verifier_error(output: str, program: Program, function: str) -> VerifierError:
    """The error for a program the verifier refused; the last lines of its log say why."""
    lines = [line for line in output.splitlines() if line.strip()]
    source = [text.strip() for text in program.lines]
    place = 0
    reasons: list[str] = []
    for line in lines:
        if match := _SOURCE_OF_INSTRUCTION.match(line):
            if match["file"] == program.file:
                place = int(match["line"])
        elif line.startswith("; "):
            # older kernels quote the line and do not say which it is
            quoted = [n for n, text in enumerate(source, 1) if text == line[2:].strip()]
            place = quoted[0] if len(quoted) == 1 else 0
        elif _INSTRUCTION.match(line):
            reasons = []
        elif not line.startswith(("processed ", "bpf: ", ";")):
            reasons.append(line.strip())
    reason = "\n".join(reasons[-3:]) or "it gave no reason"
    where = ""
    if 0 < place <= len(program.lines):
        where = f"{program.file}:{place}: {program.lines[place - 1].strip()}\n"
    step = next(
        (step for pattern, step in _VERIFIER_STEPS if pattern.search(reason)),
        "the whole log is in the error's .log: the last instruction in it is the refused one",
    )
    return VerifierError(
        f"the kernel's verifier refused {function}, so nothing was loaded:\n{where}{reason}",
        step,
        log=output,
    )

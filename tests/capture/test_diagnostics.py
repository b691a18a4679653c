"""What clang 14, LLVM and Linux 6.18's verifier print, and what a learner is told."""

import pytest

from tracekit.capture.diagnostics import compile_error, parse_diagnostics, verifier_error
from tracekit.capture.program import Program

TEXT = """\
BPF_HASH(seen);

TRACEPOINT_PROBE(tcp, tcp_probe) { u64 k = 1; nosuch(k); return 0; }
TRACEPOINT_PROBE(sched, sched_switch)
{
\tu64 k = args->nofield;
\treturn zzz;
}
"""
PROGRAM = Program(TEXT, "mine.c")

CLANG = """\
mine.c:3:47: warning: implicit declaration of function 'nosuch' is invalid in C99 [-Wimplicit]
TRACEPOINT_PROBE(tcp, tcp_probe) { u64 k = 1; nosuch(k); return 0; }
                                              ^
mine.c:6:16: error: no member named 'nofield' in 'struct tracepoint__sched__sched_switch'
\tu64 k = args->nofield;
\t        ~~~~  ^
mine.c:7:9: error: use of undeclared identifier 'zzz'; did you mean 'yyy'?
\treturn zzz;
\t       ^~~
\t       yyy
/virtual/include/bcc/helpers.h:1435:5: note: expanded from macro 'TRACEPOINT_PROBE'
int tracepoint__##category##__##event(struct tracepoint__##category##__##event *args)
    ^
1 warning and 2 errors generated.
"""


def test_each_message_has_its_place_and_the_line_it_quotes():
    warning, member, name, note = parse_diagnostics(CLANG, PROGRAM)
    assert (warning.file, warning.line, warning.column) == ("mine.c", 3, 47)
    assert warning.severity == "warning"
    assert warning.excerpt.split("\n")[0] == TEXT.split("\n")[2]
    assert warning.excerpt.split("\n")[1].index("^") == 46
    assert (member.line, member.severity) == (6, "error")
    assert name.excerpt == "\treturn zzz;\n\t       ^~~\n\t       yyy"
    assert (note.file, note.severity) == ("/virtual/include/bcc/helpers.h", "note")


def test_the_error_shows_errors_only_and_the_next_step_of_the_first():
    error = compile_error(CLANG, PROGRAM)
    assert str(error).startswith("mine.c does not compile:\nmine.c:6:16: error: no member named")
    assert "nosuch" not in str(error)
    assert "read_format" in error.next_step
    assert len(error.diagnostics) == 4
    assert error.output == CLANG


@pytest.mark.parametrize("quoted", ["BPF_HASH(seen);", "return 0; }"])
def test_a_message_without_a_quote_or_with_a_part_of_a_line_keeps_its_line(quoted):
    line = 1 if "HASH" in quoted else 3
    found = parse_diagnostics(f"mine.c:{line}:1: error: x\n  {quoted}\n  ^\n", PROGRAM)
    assert [(d.file, d.line) for d in found] == [("mine.c", line)]
    (bare,) = parse_diagnostics("mine.c:2:2: error: nothing\n", PROGRAM)
    assert (bare.line, bare.excerpt) == (2, "")


def test_a_line_that_was_counted_too_far_is_found_by_its_quote():
    output = "mine.c:40:1: error: x\nTRACEPOINT_PROBE(sched, sched_switch)\n^\n"
    (found,) = parse_diagnostics(output, PROGRAM)
    assert (found.file, found.line) == ("mine.c", 4)


def test_a_line_of_the_generated_struct_is_none_of_the_programs():
    output = "mine.c:5:2: error: unknown type name 'xfs_ino_t'\n\txfs_ino_t ino;\n\t^\n"
    (found,) = parse_diagnostics(output, PROGRAM)
    assert found.file == "the struct TRACEPOINT_PROBE wrote"


def test_the_message_of_llvm_is_put_into_words():
    output = (
        "error: mine.c:6:34: in function tracepoint__sched__sched_switch i32 (ptr):"
        " too many args to 0x55f0a8a8d2d0: i64 = Constant<6>\n"
    )
    error = compile_error(output, PROGRAM)
    (found,) = error.diagnostics
    assert (found.file, found.line, found.column) == ("mine.c", 6, 34)
    assert "0x55" not in found.message
    assert "three values" in error.next_step


def test_output_without_a_message_is_shown_at_its_end():
    assert "boom" in str(compile_error("x\nboom\n", PROGRAM))
    assert "said nothing" in str(compile_error("", PROGRAM))


VERIFIER = """\
bpf: Failed to load program: Permission denied
0: R1=ctx() R10=fp0
;  @ mine.c:6
0: (79) r1 = *(u64 *)(r1 +0)
invalid bpf_context access off=0 size=8
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

"""


def test_the_verifiers_reason_and_the_line_it_is_about():
    error = verifier_error(VERIFIER, PROGRAM, "sched__sched_switch")
    assert "mine.c:6: u64 k = args->nofield;" in error.fact
    assert "invalid bpf_context access off=0 size=8" in error.fact
    assert "u64 __unused__" in error.next_step
    assert error.log == VERIFIER


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("invalid bpf_context access off=200 size=8", "read_format"),
        ("R1 invalid mem access 'scalar'", "bpf_probe_read_kernel"),
        ("R0 invalid mem access 'map_value_or_null'", "compare the pointer with 0"),
        ("BPF program is too large. Processed 1000001 insn", "bound"),
        ("math between ctx pointer and register with unbounded min value", "copy the array"),
        ("invalid indirect read from stack R2 off -8+0 size 8", "every byte"),
        ("something new", ".log"),
    ],
)
def test_each_reason_has_a_next_step(reason, word):
    log = f"0: (79) r1 = *(u64 *)(r1 +0)\n{reason}\nprocessed 1 insns\n"
    error = verifier_error(log, PROGRAM, "f")
    assert reason in error.fact
    assert word in error.next_step


def test_a_log_without_places_or_reason():
    error = verifier_error("", PROGRAM, "f")
    assert "it gave no reason" in error.fact
    older = "; return zzz;\n0: (79) r1 = *(u64 *)(r1 +0)\ninvalid\nprocessed 1 insns\n"
    assert "mine.c:7: return zzz;" in verifier_error(older, PROGRAM, "f").fact

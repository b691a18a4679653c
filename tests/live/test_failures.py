"""Every bad program gets its own error, with the learner's own lines, and leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tracekit as tk
from tracekit.capture import loading
from tracekit.errors import (
    AttachError,
    CompileError,
    ProbeClosed,
    RecordTypeError,
    RequirementMissing,
    TracefsUnavailable,
    UnknownTracepoint,
    VerifierError,
    WorkerDied,
)

pytestmark = pytest.mark.live

GETPGID = "TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)"


def line_of(text: str, marker: str) -> int:
    """The line, from 1, where the marker is in the text the learner wrote."""
    (line,) = [n for n, there in enumerate(text.split("\n"), 1) if marker in there]
    return line


@pytest.fixture(autouse=True)
def nothing_stays(kernel):
    """After each failure nothing is attached and the next probe works."""
    yield
    assert not tk.open_probes()
    assert not kernel.programs_of(os.getpid())


def fails(error, text, **options):
    with pytest.raises(error) as caught:
        tk.Probe.from_text(text, name="mine", **options).close()
    assert caught.value.fact
    assert caught.value.next_step
    return caught.value


# the compiler's messages and their lines --------------------------------------------------

THREE = """\
// TRACEPOINT_PROBE(in, a_comment) {{ {{
#include <uapi/linux/in6.h>
/* a brace { and
   another { */
static inline int helper(int n)
{{
	return n + {helper};
}}

TRACEPOINT_PROBE(tcp, tcp_probe)
{{
	char text[] = "}} TRACEPOINT_PROBE(in, text) {{";

	bpf_trace_printk("%d", {first});
	return helper(1);
}}

TRACEPOINT_PROBE(sched, sched_switch) {{ u64 x = {second}; return x; }}

TRACEPOINT_PROBE(syscalls,
		sys_enter_openat)
{{
	u64 y = args->dfd;
	/* more
	lines */
	return {third};
}}
static inline int last(void) {{ return {last}; }}
""".replace("{ and", "{{ and").replace("another {", "another {{")
PLACES = ("helper", "first", "second", "third", "last")


@pytest.mark.parametrize("wrong", PLACES)
def test_an_error_is_told_at_its_true_line(wrong):
    text = THREE.format(**{place: "0" for place in PLACES} | {wrong: "MISTAKE"})
    error = fails(CompileError, text)
    (diagnostic,) = [d for d in error.diagnostics if d.severity == "error"]
    assert (diagnostic.file, diagnostic.line) == ("mine.c", line_of(text, "MISTAKE"))
    source = text.split("\n")[diagnostic.line - 1]
    assert source[diagnostic.column - 1 :].startswith("MISTAKE")
    assert f"mine.c:{diagnostic.line}:{diagnostic.column}: error" in str(error)
    assert "MISTAKE" in diagnostic.excerpt


def test_several_errors_are_told_each_at_its_line():
    text = THREE.format(helper="M1", first="M2", second="M3", third="M4", last="M5")
    error = fails(CompileError, text)
    found = {d.line for d in error.diagnostics if d.severity == "error"}
    assert found == {line_of(text, f"M{n}") for n in range(1, 6)}
    assert "and 2 more errors" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        # on the header line itself, in a function of one line, before any probe, at the end
        f"int a;\n\n{GETPGID.replace(')', ') MISTAKE')}\n{{ return 0; }}\n",
        f"{GETPGID} {{ u64 a = MISTAKE; return 0; }}",
        f"\n\nint x = MISTAKE;\n{GETPGID} {{ return 0; }}\n",
        f"{GETPGID} {{ return 0; }}\n\n\nint x = MISTAKE;",
        f"int before; {GETPGID} {{ return MISTAKE; }}",
        f"#define WRONG MISTAKE_X\n{GETPGID}\n{{\n\treturn 0;\n}}\nMISTAKE\n",
        f"{GETPGID}\n{{\n\treturn args->MISTAKE;\n}}\n",
        "int tracepoint__tcp__tcp_probe(struct tracepoint__tcp__tcp_probe *args)\n"
        "{\n\treturn args->MISTAKE;\n}\n",
        "#include <linux/MISTAKE.h>\n" + GETPGID + " { return 0; }",
        '#include "MISTAKE.h"\n' + GETPGID + " { return 0; }",
        "// \"\n#error MISTAKE don't\n" + GETPGID + " { return 0; }",
    ],
)
def test_an_error_anywhere_is_told_at_its_line(text):
    error = fails(CompileError, text)
    first = next(d for d in error.diagnostics if "error" in d.severity)
    lines = [n for n, there in enumerate(text.split("\n"), 1) if "MISTAKE" in there]
    assert first.file == "mine.c"
    assert first.line in lines
    # clang quotes no line for what the preprocessor refuses
    assert "MISTAKE" in first.excerpt + first.message


def test_the_same_tracepoint_twice_is_told_at_the_second():
    text = f"{GETPGID}\n{{ return 0; }}\n\n{GETPGID}\n{{ return 1; }}\n"
    error = fails(CompileError, text)
    errors = [(d.file, d.line) for d in error.diagnostics if d.severity == "error"]
    assert ("mine.c", 4) in errors
    assert "one function" in error.next_step


def test_an_error_in_a_header_of_ours_names_the_header(tmp_path):
    (tmp_path / "mine.h").write_text("// first\n\nstatic int f(void) { return MISTAKE; }\n")
    (tmp_path / "own.c").write_text(f'\n#include "mine.h"\n{GETPGID}\n{{\n\treturn OTHER;\n}}\n')
    with pytest.raises(CompileError) as caught:
        tk.Probe.from_file(tmp_path / "own.c")
    places = [(d.file, d.line) for d in caught.value.diagnostics if d.severity == "error"]
    assert places == [("mine.h", 3), ("own.c", 5)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"{GETPGID} {{ return args->common_pid; }}", "bpf_get_current_pid_tgid"),
        (f"{GETPGID} {{ return args->nothing; }}", "read_format"),
        (f"#include <stdio.h>\n{GETPGID} {{ return 0; }}", "/usr/include"),
    ],
)
def test_an_error_says_what_to_do(text, word):
    assert word in fails(CompileError, text).next_step


def test_a_fourth_value_to_print_ends_bcc_but_not_us():
    text = f'\n{GETPGID}\n{{\n\tbpf_trace_printk("%d %d %d %d", 1, 2, 3, 4);\n\treturn 0;\n}}\n'
    error = fails(CompileError, text)
    assert "three values" in error.next_step
    assert f"mine.c:{line_of(text, '%d %d')}" in str(error)


def test_clang_aborts_and_the_notebook_goes_on():
    text = (
        "BPF_RINGBUF_OUTPUT(events, 4);\n"
        f"{GETPGID}\n{{ char x[20] = {{}}; events.ringbuf_output(x, 20, 0); return 0; }}"
    )
    error = fails(WorkerDied, text)
    assert error.returncode == -6
    assert "SIGABRT" in str(error)
    with tk.Probe.from_text(f"{GETPGID} {{ return 0; }}", name="next") as probe:
        assert probe.attached


def test_a_file_that_is_missing():
    with pytest.raises(CompileError, match=r"tcp_probe\.c"):
        tk.Probe.from_file("no_such_file.c")


# the verifier and attaching ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("\tu64 n = *(u64 *)((char *)args); // HERE\n\tcount.increment(n);", "u64 __unused__"),
        ("\tu64 n = 5;\n\targs->pid = 1; // HERE\n\tcount.increment(n);", "never written"),
        ("\tu64 k = 5;\n\tu64 *v = count.lookup(&k);\n\t*v += 1; // HERE", "compare the pointer"),
    ],
)
def test_a_rejection_of_the_verifier_names_the_true_line(body, word):
    text = f"BPF_HASH(count);\n\nTRACEPOINT_PROBE(tcp, tcp_probe)\n{{ return 0; }}\n{GETPGID}\n"
    text += f"{{\n{body}\n\treturn 0;\n}}\n"
    error = fails(VerifierError, text)
    assert "sys_enter_getpgid" in error.fact
    assert "processed" in error.log
    assert word in error.next_step
    line = int(error.fact.split("mine.c:")[1].split(":")[0])
    assert line == line_of(text, "HERE")


def test_a_struct_that_reads_past_the_record_is_not_attached():
    text = "struct args_t { u64 a[20]; };\nint f(struct args_t *args) { return args->a[19]; }"
    with tk.Probe.from_text(text, name="mine") as probe:
        with pytest.raises(AttachError, match="past the end of the record of syscalls:sys_enter"):
            probe.attach_tracepoint("syscalls:sys_enter_getpgid", "f")
        assert probe.attached == ()


def test_a_function_that_is_not_there():
    with (
        tk.Probe.from_text("int f(void *args) { return 0; }", name="mine") as probe,
        pytest.raises(AttachError, match="no function 'g'"),
    ):
        probe.attach_tracepoint("syscalls:sys_enter_getpgid", "g")


def test_the_65th_program_on_a_tracepoint():
    text = "".join(f"int f{n}(void *args) {{ return 0; }}\n" for n in range(65))
    with tk.Probe.from_text(text, name="mine") as probe:
        for n in range(64):
            probe.attach_tracepoint("syscalls:sys_enter_acct", f"f{n}")
        with pytest.raises(AttachError, match="64 programs attached"):
            probe.attach_tracepoint("syscalls:sys_enter_acct", "f64")
        assert len(probe.attached) == 64
        # a TRACEPOINT_PROBE is told the same
        acct = GETPGID.replace("getpgid", "acct")
        with pytest.raises(AttachError, match="sys_enter_acct has 64"):
            tk.Probe.from_text(f"{acct} {{ return 0; }}", name="one more")


# record types --------------------------------------------------------------------------------

SEND = GETPGID + " { %s; events.perf_submit(args, &e, sizeof(e)); return 0; }"


@pytest.mark.parametrize(
    ("definition", "declared", "word"),
    [
        ("struct ev { u32 a : 3; u64 b; };", "struct ev e = {}", "bit-field"),
        ("struct in { u32 x; }; struct ev { struct in a; };", "struct ev e = {}", "a struct in"),
        ("struct ev { union { u32 x; u64 y; }; u64 b; };", "struct ev e = {}", "without a name"),
        ("struct ev { struct sock *sk; };", "struct ev e = {}", "struct sock *"),
        ("struct ev { u32 n; u8 rest[0]; };", "struct ev e = {}", "without a length"),
        ("typedef u32 mine_t; struct ev { mine_t a; };", "struct ev e = {}", "a mine_t"),
        ("", "u64 e = 1", "no struct"),
        ("", "char e[8] = {}", "no struct"),
        ("", "struct { u64 a; } e = {}", "no definition"),
        ("", "struct ev { u64 a; }; struct ev e = {}", "no definition"),
    ],
)
def test_a_record_type_that_bcc_cannot_describe(definition, declared, word):
    text = f"{definition}\nBPF_PERF_OUTPUT(events);\n{SEND % declared}"
    error = fails(RecordTypeError, text)
    assert word in error.fact


@pytest.mark.parametrize("more", ["BPF_PERF_OUTPUT(others);", "BPF_RINGBUF_OUTPUT(others, 4);"])
def test_two_outputs_are_one_too_many(more):
    sent = "others.perf_submit" if "PERF" in more else "others.ringbuf_output"
    first = "args, &e, sizeof(e)" if "PERF" in more else "&e, sizeof(e), 0"
    text = "struct ev { u64 a; };\nBPF_PERF_OUTPUT(events);\n" + more + "\n"
    text += SEND % f"struct ev e = {{}}; {sent}({first})"
    assert "events, others" in fails(RecordTypeError, text).fact


def test_printing_and_sending_is_one_too_many():
    text = "struct ev { u64 a; };\nBPF_PERF_OUTPUT(events);\n"
    text += SEND % 'struct ev e = {}; bpf_trace_printk("x")'
    assert "bpf_trace_printk" in fails(RecordTypeError, text).fact


# what is not there -----------------------------------------------------------------------------


def test_an_unknown_tracepoint_has_three_near_names():
    error = fails(UnknownTracepoint, "TRACEPOINT_PROBE(tcp, tcp_prob) { return 0; }")
    assert error.name == "tcp:tcp_prob"
    assert len(error.nearest) == 3
    assert error.nearest[0] == "tcp:tcp_probe"
    with (
        tk.Probe.from_text("int f(void *args) { return 0; }", name="mine") as probe,
        pytest.raises(UnknownTracepoint, match="tcp:tcp_probe"),
    ):
        probe.attach_tracepoint("tcp:tcp_prob", "f")


def test_an_unknown_tracepoint_names_the_kernels_that_had_it():
    if Path("/sys/kernel/tracing/events/random/urandom_read").exists():
        return  # an early 5.4: it is there
    error = fails(UnknownTracepoint, "TRACEPOINT_PROBE(random, urandom_read) { return 0; }")
    assert "ubuntu-20.04_5.4" in error.kernels
    assert "ubuntu-20.04_5.4" in str(error)


def test_an_old_probe_stays_when_the_name_of_the_new_is_wrong():
    with tk.Probe.from_text(f"{GETPGID} {{ return 0; }}", name="mine") as probe:
        with pytest.raises(UnknownTracepoint):
            tk.Probe.from_text("TRACEPOINT_PROBE(no, such) { return 0; }", name="mine")
        assert not probe.closed


def test_no_headers(monkeypatch):
    def none():
        raise RequirementMissing("no kernel headers are installed", "install them")

    monkeypatch.setattr(loading, "find_headers", none)
    error = fails(RequirementMissing, f"{GETPGID} {{ return 0; }}")
    assert "headers" in error.fact


def python_with(folder: Path, bcc: str) -> Path:
    """An interpreter whose bcc is the given text."""
    package = folder / "site/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(bcc)
    (package / "libbcc.py").write_text("")
    python = folder / "python3"
    python.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -I ] && shift\nPYTHONPATH={folder}/site exec /usr/bin/python3 -s "$@"\n'
    )
    python.chmod(0o755)
    return python


def test_a_bcc_that_cannot_be_imported(monkeypatch, tmp_path):
    broken = python_with(tmp_path, "raise OSError('libbcc.so.0: cannot open shared object file')")
    monkeypatch.setattr(loading, "find_bcc_python", lambda: broken)
    error = fails(RequirementMissing, f"{GETPGID} {{ return 0; }}")
    assert "libbcc.so.0: cannot open" in error.fact


def test_a_bcc_that_is_another_package(monkeypatch, tmp_path):
    """What PyPI and conda call bcc has no BPF."""
    other = python_with(tmp_path, "def lattice(): pass")
    monkeypatch.setattr(loading, "find_bcc_python", lambda: other)
    error = fails(RequirementMissing, f"{GETPGID} {{ return 0; }}")
    assert "BPF" in error.fact


def test_no_python_with_bcc(tmp_path):
    """In a process of its own, because the answer is kept for a process's life."""
    script = (
        "import tracekit as tk\n"
        "from tracekit.host import interpreters\n"
        f"interpreters._candidates = lambda: iter([interpreters.Path({sys.executable!r})])\n"
        "try:\n    tk.Probe.from_file('getrandom.c')\n"
        "except tk.errors.RequirementMissing as error:\n    print(error)\n"
    ).replace("tk.errors", "__import__('tracekit.errors').errors")
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "no Python on this machine has bcc" in asked.stdout, asked.stderr
    assert "never with pip or conda" in asked.stdout


def test_no_capability_and_no_sudo(monkeypatch):
    monkeypatch.setattr(loading, "may_load_programs", lambda: False)
    monkeypatch.setattr(loading, "sudo_asks_nothing", lambda: False)
    error = fails(RequirementMissing, f"{GETPGID} {{ return 0; }}")
    assert "CAP_BPF" in error.fact
    assert "tracekit lab" in error.next_step


def test_a_worker_through_sudo(monkeypatch, tmp_path):
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\nenv -i "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(loading, "may_load_programs", lambda: False)
    with tk.Probe.from_file("getrandom.c") as probe:
        assert Path(f"/proc/{probe.pid}/cmdline").read_bytes().startswith(b"/bin/sh")
        os.getrandom(4099)
        events = probe.read()
        assert b"4099" in events["msg"][events["pid"] == os.getpid()].tolist()
    assert ProbeClosed  # closing a worker we may not signal works by its socket


def test_tracefs_that_cannot_be_read_is_no_hindrance_to_sudo(monkeypatch, tmp_path):
    def refused(*_):
        raise TracefsUnavailable("tracefs may not be read", "remount it")

    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(loading, "may_load_programs", lambda: False)
    monkeypatch.setattr(loading, "find_tracefs", refused)
    monkeypatch.setattr(loading, "read_format", refused)
    with tk.Probe.from_file("getrandom.c") as probe:
        os.getrandom(4099)
        events = probe.read()
        assert b"4099" in events["msg"][events["pid"] == os.getpid()].tolist()
        with pytest.raises(UnknownTracepoint):
            probe.attach_tracepoint("tcp:no_such", "tracepoint__syscalls__sys_enter_getrandom")

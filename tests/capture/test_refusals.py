"""What bcc raises and libbcc prints, by literal example, and the error it becomes."""

import pytest

from tracekit.capture.process import RequestFailed
from tracekit.capture.program import Program
from tracekit.capture.refusals import not_permitted, refusal
from tracekit.errors import AttachError, RequirementMissing, UnknownTracepoint, VerifierError

PROGRAM = Program("int f(void *args) { return 0; }", "mine.c")
ATTACH = "Failed to attach BPF program b'f' to tracepoint b'tcp:tcp_probe'"
IOCTL = "ioctl(PERF_EVENT_IOC_SET_BPF): "


@pytest.mark.parametrize(
    ("message", "output", "type_", "word"),
    [
        (ATTACH, IOCTL + "Argument list too long\n", AttachError, "tcp:tcp_probe has 64 programs"),
        (ATTACH, IOCTL + "Permission denied\n", AttachError, "past the end of the record"),
        (ATTACH, IOCTL + "File exists\n", AttachError, "already"),
        (ATTACH, IOCTL + "Something else\n", AttachError, "Something else"),
        (ATTACH, "", AttachError, "it gave no reason"),
        (
            ATTACH,
            "open(/sys/kernel/tracing/events/tcp/tcp_probe/id): No such file or directory\n",
            UnknownTracepoint,
            "no tracepoint tcp:tcp_probe",
        ),
        (
            ATTACH,
            "perf_event_open(/sys/kernel/tracing/events/a/b/id): Operation not permitted\n",
            AttachError,
            "does not permit a perf event on tcp:tcp_probe",
        ),
        ("Unknown program b'g'", "", AttachError, "mine.c has no function 'g'"),
        (
            "Failed to load BPF program b'f': Permission denied",
            "bpf: Failed to load program: Permission denied\nR1 bad\nprocessed 1 insns\n",
            VerifierError,
            "R1 bad",
        ),
        (
            "Failed to load BPF program b'f': Cannot allocate memory",
            "bpf: Failed to load program: Cannot allocate memory\n",
            AttachError,
            "Cannot allocate memory",
        ),
        ("Need super-user privileges to run", "", RequirementMissing, "CAP_BPF"),
        (
            "this process may not make a tracefs instance, and none was prepared",
            "",
            RequirementMissing,
            "none was prepared",
        ),
        ("what is this", "and this", AttachError, "what is this\nand this"),
    ],
)
def test_a_refusal_becomes_an_error_with_its_reason(message, output, type_, word):
    error = refusal(RequestFailed(message, 0, output), PROGRAM, "sched:sched_switch")
    assert type(error) is type_
    assert word in error.fact


def test_the_tracepoint_is_the_one_bcc_names_or_the_one_asked_for():
    named = refusal(RequestFailed(ATTACH, 0, ""), PROGRAM, "a:b, tcp:tcp_probe")
    assert "attach to tcp:tcp_probe:" in named.fact
    unnamed = refusal(RequestFailed("Failed to attach it", 0, ""), PROGRAM, "a:b")
    assert "attach to a:b:" in unnamed.fact


def test_what_ftrace_writes_cannot_be_attached_to():
    message = ATTACH.replace("tcp:tcp_probe", "ftrace:print")
    error = refusal(RequestFailed(message, 0, ""), PROGRAM, "ftrace:print")
    assert "ftrace itself" in error.fact


def test_who_may_not_load_programs_is_told_how_to_start():
    assert "tracekit lab" in not_permitted().next_step

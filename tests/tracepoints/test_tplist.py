import os
import stat

import pytest

from tracekit.errors import RequirementMissing, TracefsUnavailable, UnknownTracepoint
from tracekit.tracepoints import tplist as module
from tracekit.tracepoints.catalogue import catalogue_root
from tracekit.tracepoints.tplist import TplistEvent, TplistOutput, parse_tplist, tplist

TEXT = """tcp:tcp_probe
    __u8 saddr[sizeof(struct sockaddr_in6)];
    __u16 sport;
    const void * skbaddr;
ftrace:print
    unsigned long ip;
xhci-hcd:xhci_dbg_address
"""


def test_names_and_fields():
    assert parse_tplist(TEXT) == (
        TplistEvent(
            "tcp",
            "tcp_probe",
            ("__u8 saddr[sizeof(struct sockaddr_in6)]", "__u16 sport", "const void * skbaddr"),
        ),
        TplistEvent("ftrace", "print", ("unsigned long ip",)),
        TplistEvent("xhci-hcd", "xhci_dbg_address"),
    )
    assert parse_tplist("") == ()
    assert parse_tplist(TEXT)[0].full_name == "tcp:tcp_probe"


@pytest.mark.parametrize(
    "line",
    [
        "[Errno 13] Permission denied: '/sys/kernel/debug/tracing/events'",
        "[Errno 2] No such file or directory: '/sys/kernel/debug/tracing/events'",
    ],
)
def test_an_error_among_the_results_is_an_error(line):
    with pytest.raises(TracefsUnavailable) as caught:
        parse_tplist(f"{line}\n")
    assert line in caught.value.fact
    assert "/sys/kernel/debug" in caught.value.next_step


def test_repr_is_bounded():
    text = "".join(f"a:e{i}\n" for i in range(2323))
    output = TplistOutput("tplist *", text, parse_tplist(text), ("a note",))
    lines = repr(output).splitlines()
    assert len(lines) <= 31
    assert (lines[0], lines[1], lines[-1]) == ("# tplist *", "a:e0", "# a note")
    assert lines[-2] == "… and 2295 more lines"
    assert (len(output), output[0].event, output[-1].event) == (2323, "e0", "e2322")
    assert output[:2] == output.events[:2]
    assert list(output)[5] is output[5]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    # A program in tplist's place, which prints what the test says. It is called without a
    # namespace: that is what the live tests are for.
    def make(body):
        path = tmp_path / "tplist-bpfcc"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(module, "_own_namespace", lambda place: [])

    return make


ROOT = catalogue_root("debian-12_6.1")


def test_command_and_notes(stand_in):
    stand_in('printf "%s\\n" "$*" | sed "s/.*/ftrace:print/"; echo "    unsigned long ip;"')
    output = tplist("ftrace:*", root=ROOT)
    assert output.command == "tplist -v ftrace:*"
    assert output.notes == ("1 of these are ftrace:*, to which nothing can be attached",)
    assert tplist("ftrace:*", verbose=False, root=ROOT).command == "tplist ftrace:*"


def test_silence_is_an_unknown_name_or_no_match(stand_in):
    stand_in("exit 0")
    with pytest.raises(UnknownTracepoint) as caught:
        tplist("random:urandom_read", root=ROOT)
    assert caught.value.kernels == ("ubuntu-20.04_5.4",)
    assert "prints nothing, with exit code 0" in caught.value.fact
    output = tplist("random:*", root=ROOT)
    assert (len(output), output.text) == (0, "")
    assert output.notes == ("no name matches; tplist prints nothing then, with exit code 0",)


def test_failures_are_typed(stand_in):
    stand_in("echo \"ModuleNotFoundError: No module named 'bcc'\" >&2; exit 1")
    with pytest.raises(RequirementMissing, match="No module named 'bcc'"):
        tplist("tcp:*", root=ROOT)
    stand_in("echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
    with pytest.raises(TracefsUnavailable, match="unshare failed"):
        tplist("tcp:*", root=ROOT)
    stand_in("echo \"[Errno 13] Permission denied: '/sys/kernel/debug/tracing/events'\"")
    with pytest.raises(TracefsUnavailable, match="Errno 13"):
        tplist("tcp:*", root=ROOT)


def test_without_the_tool(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name, path: None)
    with pytest.raises(RequirementMissing, match="bpfcc-tools"):
        tplist("tcp:*", root=ROOT)

"""The tool tplist itself, run on this kernel and on the catalogue, beside our own reading."""

import os

import pytest

import tracekit as tk
from tracekit.errors import UnknownTracepoint
from tracekit.tracepoints import tplist as module

pytestmark = pytest.mark.live


def one_blank(declaration):
    return " ".join(declaration.split())


def test_names_and_types_of_every_event():
    output = tk.tplist("*")
    found = tk.find_tracepoints()
    assert sorted(event.full_name for event in output) == sorted((*found, *found.pseudo))
    fields = 0
    for event in output:
        fmt = tk.read_format(event.full_name)
        # tplist knows common fields by their prefix alone, ftrace's own records have some too.
        ours = [f for f in fmt if not f.name.startswith("common_")]
        assert list(event.fields) == [one_blank(f.declaration) for f in ours], event.full_name
        fields += len(ours)
    assert output.notes == (
        f"{len(found.pseudo)} of these are ftrace:*, to which nothing can be attached",
    )
    print(f"tplist -v: {len(output)} events, {fields} fields: all equal")


def test_without_v_it_prints_names_alone():
    output = tk.tplist("tcp:*", verbose=False)
    assert sorted(output.text.split()) == sorted(tk.find_tracepoints("tcp"))
    assert {event.fields for event in output} == {()}
    assert output.notes == ()


@pytest.mark.parametrize("kernel", tk.kernels())
def test_the_tool_reads_the_catalogue_too(kernel):
    output = tk.tplist("tcp:tcp_probe", root=tk.catalogue_root(kernel))
    fmt = tk.read_format("tcp:tcp_probe", kernel=kernel)
    assert [event.full_name for event in output] == ["tcp:tcp_probe"]
    assert list(output[0].fields) == [one_blank(f.declaration) for f in fmt.fields]


def test_what_the_document_prints():
    output = tk.tplist("random:urandom_read", root=tk.catalogue_root("ubuntu-20.04_5.4"))
    assert output.text == (
        "random:urandom_read\n    int got_bits;\n    int pool_left;\n    int input_left;\n"
    )


def test_no_privilege_but_a_user_namespace(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert "--user" in module._own_namespace(tk.catalogue_root("linux_6.18"))
    output = tk.tplist("tcp:tcp_probe", root=tk.catalogue_root("linux_6.18"))
    assert [event.full_name for event in output] == ["tcp:tcp_probe"]


def test_an_unknown_name_is_an_error_and_leaves_no_mount():
    tk.tplist("tcp:tcp_probe")  # a debugfs that is mounted mounts tracefs at its first use
    with open("/proc/self/mounts") as table:
        before = table.read()
    with pytest.raises(UnknownTracepoint) as caught:
        tk.tplist("tcp:tcp_prob")
    assert caught.value.nearest[0] == "tcp:tcp_probe"
    assert len(tk.tplist("tcp:nothing*")) == 0
    with open("/proc/self/mounts") as table:
        assert table.read() == before
    assert os.path.isdir("/sys/kernel/debug")

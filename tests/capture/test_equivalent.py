from __future__ import annotations

import ast
import re

import pytest

import tracekit as tk
from tracekit.capture.equivalent import equivalent_program
from tracekit.capture.watch import DYNAMIC_SIZE

KERNEL = "debian-12_6.1"
HEAD = "name: made_up\nID: 7\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"


def made_up(*lines, category="fs"):
    text = HEAD + "".join(f"\tfield:{line}\n" for line in lines) + '\nprint fmt: ""'
    return tk.parse_format(text, category)


def lines_of(program):
    return [line.strip() for line in program.text.splitlines()]


def test_every_field_is_declared_once_and_copied_once():
    fmt = tk.read_format("tcp:tcp_probe", kernel=KERNEL)
    lines = lines_of(equivalent_program(fmt))
    for field in fmt.fields:
        declared = [line for line in lines if re.fullmatch(rf"\w+ {field.name}(\[\d+\])?;", line)]
        assert len(declared) == 1, field.name
        copies = [line for line in lines if f"event->{field.name} =" in line]
        copies += [line for line in lines if f"(event->{field.name}, " in line]
        assert len(copies) == 1, field.name


def test_the_types_are_the_sizes_and_signs_of_the_format_file():
    program = equivalent_program(
        made_up(
            "int dfd;\toffset:8;\tsize:8;\tsigned:0;",
            "const char * filename;\toffset:16;\tsize:8;\tsigned:0;",
            "s8 small;\toffset:24;\tsize:1;\tsigned:1;",
            "char name[4];\toffset:25;\tsize:4;\tsigned:0;",
            "unsigned long args[6];\toffset:32;\tsize:48;\tsigned:0;",
            "__data_loc char[] text;\toffset:80;\tsize:4;\tsigned:0;",
            "__data_loc u32[] numbers;\toffset:84;\tsize:4;\tsigned:0;",
        )
    )
    assert program.by_hand == ""
    lines = lines_of(program)
    start = lines.index("char common_comm[16];") + 1
    assert lines[start : start + 7] == [
        "u64 dfd;",
        "u64 filename;",
        "s8 small;",
        "char name[4];",
        "u64 args[6];",
        f"char text[{DYNAMIC_SIZE}];",
        f"u32 numbers[{DYNAMIC_SIZE // 4}];",
    ]
    assert "event->filename = (u64)args->filename;" in lines
    assert "bpf_probe_read_kernel(event->args, sizeof(event->args), args->args);" in lines
    assert "copy_dynamic(event->text, sizeof(event->text), args, args->data_loc_text);" in lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("enum lru_list lru;\toffset:8;\tsize:4;\tsigned:0;", "no definition of enum lru_list"),
        ("xfs_ino_t ino;\toffset:8;\tsize:8;\tsigned:0;", "no definition of xfs_ino_t"),
        ("umode_t mode;\toffset:8;\tsize:8;\tsigned:0;", "mode has 8 bytes, and its type umode_t"),
        ("__rel_loc char text[];\toffset:8;\tsize:4;\tsigned:0;", "does not know __rel_loc"),
        (
            "__u8 saddr[sizeof(struct sockaddr_in6)];\toffset:8;\tsize:28;\tsigned:0;",
            "the length of the array saddr is not written as a number",
        ),
    ],
)
def test_what_bcc_can_not_generate_is_written_by_hand(line, reason):
    fmt = made_up(line)
    program = equivalent_program(fmt)
    assert reason in program.by_hand
    comment = " ".join(part.removeprefix("// ") for part in program.text.splitlines()[:9])
    assert reason in comment
    assert program.program.tracepoints == ()
    assert program.attach == ("fs:made_up", "send_event")
    assert "struct made_up_args {" in program.text
    assert "TRACEPOINT_PROBE(" not in program.text
    assert 'b.attach_tracepoint(tp="fs:made_up", fn_name="send_event")' in program.script()


def test_a_relative_location_counts_from_the_fields_end():
    program = equivalent_program(made_up("__rel_loc char t[];\toffset:8;\tsize:4;\tsigned:0;"))
    assert "copy_dynamic(event->t, sizeof(event->t), args, args->rel_loc_t + 12);" in program.text


def test_two_fields_of_one_name_stay_two():
    """Linux 5.10: the ``type`` of regmap:regcache_sync."""
    program = equivalent_program(
        made_up(
            "__data_loc char[] type;\toffset:8;\tsize:4;\tsigned:0;",
            "int type;\toffset:12;\tsize:4;\tsigned:1;",
        )
    )
    lines = lines_of(program)
    assert f"char __data_loc_type[{DYNAMIC_SIZE}];" in lines
    assert "s32 type;" in lines
    assert any("event->__data_loc_type)" in line and "data_loc_type" in line for line in lines)


@pytest.mark.parametrize("kernel", tk.kernels())
def test_every_format_of_the_catalogue_becomes_a_program_and_a_script(kernel):
    for name in tk.find_tracepoints("*", root=tk.catalogue_root(kernel)).names:
        program = equivalent_program(tk.read_format(name, kernel=kernel))
        assert max(map(len, program.text.expandtabs(8).splitlines())) <= 132, name
        assert program.program.tracepoints == (() if program.by_hand else (name,))
        ast.parse(program.script())


def test_the_script_needs_nothing_of_tracekit():
    fmt = tk.read_format("sched:sched_process_exec", kernel=KERNEL)
    script = equivalent_program(fmt).script()
    assert '#include "' not in script
    assert "enum { SEEN, SENT, DROPPED };" in script
    assert "event.filename.decode(" in script
    assert script.count("TRACEPOINT_PROBE(sched, sched_process_exec)") == 1


def test_it_shows_itself_as_its_text_and_in_show_source():
    program = equivalent_program(tk.read_format("tcp:tcp_probe", kernel=KERNEL))
    assert repr(program) == program.text
    assert tk.show_source(program).title == "tcp_probe.c"

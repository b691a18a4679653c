import ast

import numpy as np
import pytest

from tracekit.capture.listing import LISTINGS, plain_listing
from tracekit.capture.probe import PROGRAMS
from tracekit.capture.program import Program, read_program
from tracekit.capture.script import stand_alone_script
from tracekit.errors import RecordTypeError


@pytest.mark.parametrize("name", sorted(LISTINGS))
def test_every_program_of_the_course_becomes_a_script(name):
    program = read_program(f"{name}.c", (PROGRAMS,))
    script = stand_alone_script(program, LISTINGS[name])
    tree = ast.parse(script)
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    assert [ast.unparse(node) for node in imported] == ["from bcc import BPF"]
    # the C text is within it as it is, its local headers pasted
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert any(program.self_contained_text.strip("\n") in text for text in texts)
    assert '#include "' not in script


def test_what_was_defined_and_attached_by_hand_is_in_it():
    program = Program(
        'int f(void *a) { bpf_trace_printk("1"); return 0; }', "x.c", defines={"A": 1}
    )
    script = stand_alone_script(
        program, LISTINGS["getrandom"], attach=[("tcp:tcp_probe", "f"), ("sched:sched_switch", "f")]
    )
    assert "-DA=1" in script
    assert script.count("b.attach_tracepoint(") == 2


def test_a_program_that_sends_nothing_has_no_script():
    with pytest.raises(RecordTypeError, match="sends nothing"):
        stand_alone_script(Program("int x;", "x.c"), plain_listing(np.dtype([])))


def test_a_field_may_have_a_name_that_python_keeps_for_itself():
    text = "BPF_RINGBUF_OUTPUT(events, 1); TRACEPOINT_PROBE(a, b) { return 0; }"
    dtype = np.dtype([("from", "u4"), ("pass", "u8", (2,)), ("name", "S4")])
    script = stand_alone_script(Program(text, "x.c"), plain_listing(dtype))
    ast.parse(script)
    assert "getattr(event, 'from')" in script
    assert "list(getattr(event, 'pass'))" in script

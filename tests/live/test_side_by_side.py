"""Structs written by hand and by the library, held against TRACEPOINT_PROBE on real events."""

import numpy as np
import pytest

import tracekit as tk
from tracekit.lesson.side_by_side import side_by_side

pytestmark = pytest.mark.live

TRACEPOINT = "tcp:tcp_probe"
KEYS = ("sock_cookie", "snd_nxt", "snd_una")


def document_struct():
    text = tk.show_source("tcp_probe_attach_tracepoint.c").text
    return text[text.index("#include") : text.index("};") + 3]


def without_first_member():
    return "".join(line for line in document_struct().splitlines(True) if "__unused__" not in line)


def generated():
    return tk.read_format(TRACEPOINT).c_struct("tcp_probe_args", asserts=True) + "\n"


@pytest.mark.parametrize("struct", [document_struct, without_first_member, generated])
@pytest.mark.parametrize("family", [4, 6])
def test_every_field_of_every_event_reads_what_compare_predicts(struct, family):
    fmt = tk.read_format(TRACEPOINT)
    text = struct()
    comparison = tk.compare(tk.lay_out_struct(text), fmt)
    places = {f"{name.upper()}_AT": fmt[name].offset for name in KEYS}
    sending = text + '#include "counters.h"\n#include "send_args.h"\n'
    fields = {"FAMILY": 1} if "family" in fmt else {}
    with (
        tk.Probe.from_file("tcp_probe_fields.c", defines=fields) as theirs,
        tk.Probe.from_text(sending, defines=places, name="ours") as ours,
    ):
        ours.attach_tracepoint(TRACEPOINT, "send_args")
        moved = tk.exchange(count=23, size=1000, family=family)
        both = side_by_side(
            # The last segments of a closed connection may still be on their way.
            ours.read(seconds=0.3),
            theirs.read(),
            comparison,
            cookies=moved.cookies,
        )
    assert both.alone == (0, 0)
    assert len(both) >= 2 * moved.messages
    assert both.confirmed
    # every member that reads any field of the record was judged
    assert set(both.equal) == {
        reading.field.name
        for reading in comparison
        if reading.field.name in both.ours.dtype.names
        and any(piece.kind == "field" for piece in reading.pieces)
    }
    # The pairing is by keys and order; time, which it does not look at, agrees: between two events
    # of a socket, each program ran once.
    for cookie in moved.cookies:
        chosen = both.theirs["sock_cookie"] == cookie
        first, second = both.theirs["ts"][chosen], both.ours["ts"][chosen]
        assert np.all(first < second)
        assert np.all(second[:-1] < first[1:])


def test_the_generated_struct_reads_what_tracepoint_probe_reads():
    comparison = tk.compare(tk.lay_out_struct(generated()), tk.read_format(TRACEPOINT))
    assert comparison.agrees
    assert comparison.missing == ()

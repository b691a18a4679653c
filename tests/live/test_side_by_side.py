"""Structs written by hand and by the library, held against TRACEPOINT_PROBE on real events."""

import numpy as np
import pytest

import tracekit as tk
from tracekit.lesson.side_by_side import side_by_side
from tracekit.traffic.connection import socket_cookie
from tracekit.traffic.stream import pump
from tracekit.traffic.tcp import connected

pytestmark = pytest.mark.live

TRACEPOINT = "tcp:tcp_probe"
MESSAGES = 23
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
    sending = text + '#include "counters.h"\n#include "send_args.h"\n'
    fields = {"FAMILY": 1} if "family" in fmt else {}
    with connected(family=family) as connection:
        client, server = connection.client, connection.server
        cookies = [socket_cookie(end) for end in (client, server)]
        wanted = {"WANTED": "||".join(f"cookie=={cookie}" for cookie in cookies)}
        places = {f"{name.upper()}_AT": fmt[name].offset for name in KEYS}
        with (
            tk.Probe.from_file("tcp_probe_fields.c", defines=fields | wanted) as theirs,
            tk.Probe.from_text(
                sending, defines=places | wanted | {"RECORD_SIZE": fmt.size}, name="ours"
            ) as ours,
        ):
            ours.attach_tracepoint(TRACEPOINT, "send_args")
            for _ in range(MESSAGES):
                pump(client, server, size=1000, timeout=10)
                pump(server, client, size=1000, timeout=10)
            # The program that runs first at each event is read last: it has all that ours has.
            parts = [ours.read(count=2 * MESSAGES), ours.read()]
            real = theirs.read()
    assert [part.dropped for part in (*parts, real)] == [0, 0, 0]
    sent = np.concatenate([part.records for part in parts])
    both = side_by_side(sent, real, comparison)
    assert both.alone[0] == 0
    assert len(both) >= 2 * MESSAGES
    assert both.confirmed
    # The same, from the bytes of the record: the format file's dtype is a third reader.
    raw = tk.decode(fmt, both.ours["record"].tobytes())
    for field in ("saddr", "dport", "mark", "snd_cwnd", "sock_cookie"):
        assert np.array_equal(raw[field], both.theirs[field])
    # every member that reads any field of the record was judged
    assert set(both.equal) == {
        reading.field.name
        for reading in comparison
        if reading.field.name in both.ours.dtype.names
        and any(piece.kind == "field" for piece in reading.pieces)
    }
    # The pairing is by keys and order; time, which it does not look at, agrees: between two events
    # of a socket, each program ran once.
    for cookie in cookies:
        chosen = both.theirs["sock_cookie"] == cookie
        first, second = both.theirs["ts"][chosen], both.ours["ts"][chosen]
        assert np.all(first < second)
        assert np.all(second[:-1] < first[1:])


def test_the_generated_struct_reads_what_tracepoint_probe_reads():
    comparison = tk.compare(tk.lay_out_struct(generated()), tk.read_format(TRACEPOINT))
    assert comparison.agrees
    assert comparison.missing == ()

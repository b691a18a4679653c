"""Lines of a trace_pipe. Their shapes: kernel/trace/trace_output.c, trace_print_context()."""

import numpy as np
import pytest

from tracekit.capture.printk import join_printk, parse_printk, printk_dtype


def one(line: bytes) -> tuple:
    records, lost = parse_printk(line + b"\n")
    assert len(records) == 1
    assert lost == 0
    return records[0].item()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b"            ping-4711    [002] ...21   758.636305: bpf_trace_printk: 2 0 1",
            (b"ping", 4711, 2, b"...21", 758.636305, b"2 0 1"),
        ),
        (
            b"          <idle>-0       [000] ..s41 12345.000001: bpf_trace_printk: x",
            (b"<idle>", 0, 0, b"..s41", 12345.000001, b"x"),
        ),
        (
            b"           <...>-1234567 [011] d..31     0.000000: bpf_trace_printk: x",
            (b"<...>", 1234567, 11, b"d..31", 0.0, b"x"),
        ),
        # a name as long as it may be
        (
            b" systemd-journal-233     [001] ...21    99.100000: bpf_trace_printk: hello world",
            (b"systemd-journal", 233, 1, b"...21", 99.1, b"hello world"),
        ),
        # names with dashes and numbers, colons, brackets, blanks
        (
            b"       a-7 [3] 4.5-89      [001] ...21     1.500000: bpf_trace_printk: m",
            (b"a-7 [3] 4.5", 89, 1, b"...21", 1.5, b"m"),
        ),
        (
            b"    kworker/0:1H-12      [000] ...21     1.500000: bpf_trace_printk: m",
            (b"kworker/0:1H", 12, 0, b"...21", 1.5, b"m"),
        ),
        (
            b"  Web Content: 1-12      [000] ...21     1.500000: bpf_trace_printk: m",
            (b"Web Content: 1", 12, 0, b"...21", 1.5, b"m"),
        ),
        (
            b"          (sd-pam)-12      [000] ...21     1.500000: bpf_trace_printk: m",
            (b"(sd-pam)", 12, 0, b"...21", 1.5, b"m"),
        ),
        (
            b"           name -12      [000] ...21     1.500000: bpf_trace_printk: m",
            (b"name ", 12, 0, b"...21", 1.5, b"m"),
        ),
        # a message that looks like a line
        (
            b"     ping-1       [000] ...21     1.500000: bpf_trace_printk: a-1 [0] x 1.0: y: z",
            (b"ping", 1, 0, b"...21", 1.5, b"a-1 [0] x 1.0: y: z"),
        ),
        (
            b"            ping-1       [000] ...21     1.500000: bpf_trace_printk: ",
            (b"ping", 1, 0, b"...21", 1.5, b""),
        ),
        (
            b"            ping-1       [000] ...21     1.500000: bpf_trace_printk:   two",
            (b"ping", 1, 0, b"...21", 1.5, b"  two"),
        ),
        # the option record-tgid
        (
            b"            ping-4712    (   4711) [002] ...21   758.636305: bpf_trace_printk: x",
            (b"ping", 4712, 2, b"...21", 758.636305, b"x"),
        ),
        (
            b"          <idle>-0       (-------) [002] ...21   758.636305: bpf_trace_printk: x",
            (b"<idle>", 0, 2, b"...21", 758.636305, b"x"),
        ),
        # without irq-info there are no flags
        (
            b"            ping-4711    [002]   758.636305: bpf_trace_printk: 2 0 1",
            (b"ping", 4711, 2, b"", 758.636305, b"2 0 1"),
        ),
        # an address in place of the name (4.13 to 5.8), nothing (up to 4.12)
        (
            b"            ping-4711  [002] ....   758.636305: 0x00000001: 2 0 1",
            (b"ping", 4711, 2, b"....", 758.636305, b"2 0 1"),
        ),
        (
            b"            ping-4711  [002] ....   758.636305: : 2 0 1",
            (b"ping", 4711, 2, b"....", 758.636305, b"2 0 1"),
        ),
    ],
)
def test_a_line_becomes_six_columns(line, expected):
    assert one(line) == expected


LINE = b"            ping-4711    [002] ...21   758.636305: bpf_trace_printk: %s\n"


def test_empty_lines_are_no_events():
    records, lost = parse_printk(b"\n" + LINE % b"a" + b"\n\n" + LINE % b"b" + b"\n")
    assert (records["msg"].tolist(), lost) == ([b"a", b"b"], 0)


def test_a_message_of_several_lines_is_one_event():
    records, _ = parse_printk(LINE % b"one\ntwo\n\nthree" + LINE % b"next")
    assert records["msg"].tolist() == [b"one\ntwo\nthree", b"next"]


def test_bytes_of_other_encodings_and_carriage_returns_stay_in_the_message():
    records, _ = parse_printk(LINE % b"\xff\r\xfe")
    assert records["msg"].tolist() == [b"\xff\r\xfe"]


def test_notices_of_losses_are_added_up():
    text = b"CPU:1 [LOST 15 EVENTS]\n" + LINE % b"a" + b"CPU:0 [LOST 2 EVENTS]\n" + LINE % b"b"
    records, lost = parse_printk(text)
    assert (records["msg"].tolist(), lost) == ([b"a", b"b"], 17)


def test_nothing_gives_no_records():
    for text in (b"", b"\n", b"what is this\n"):
        records, lost = parse_printk(text)
        assert (len(records), lost) == (0, 0)
        assert records.dtype.names == printk_dtype(1).names


def test_joined_batches_are_as_wide_as_the_widest_message():
    batches = [parse_printk(LINE % message)[0] for message in (b"a", b"long message", b"")]
    joined = join_printk(batches)
    assert joined["msg"].tolist() == [b"a", b"long message", b""]
    assert joined.dtype == printk_dtype(len(b"long message"))


def test_times_keep_their_microseconds():
    records, _ = parse_printk(LINE.replace(b"758.636305", b"9876543.210987") % b"x")
    assert np.round(records["ts"][0] * 1e6) == 9876543210987

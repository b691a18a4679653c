import numpy as np
import pytest

from tracekit.capture.listing import LISTINGS, Column, Listing, plain_listing
from tracekit.capture.probe import PROGRAMS


def test_every_program_of_the_course_that_is_listed_exists():
    assert {f"{name}.c" for name in LISTINGS} <= {path.name for path in PROGRAMS.glob("*.c")}


def test_a_line_has_the_columns_of_its_header():
    listing = LISTINGS["tcp_probe"]
    dtype = [("comm", "S16"), ("pid", "u4"), ("sport", "u2"), ("dport", "u2"), ("more", "u8")]
    (record,) = np.array([(b"iperf3", 4711, 40000, 5201, 9)], dtype)
    assert listing.header == "COMM             PID    sport  dport"
    assert listing.line(record) == "iperf3           4711   40000  5201"


def test_a_printed_line_has_time_command_process_and_message():
    dtype = [("ts", "f8"), ("task", "S16"), ("pid", "i4"), ("msg", "S9")]
    (record,) = np.array([(758.636305, b"ping", 4711, b"2 0 1")], dtype)
    assert LISTINGS["tcp_probe_simple"].line(record) == (
        "758.636305000      ping             4711   2 0 1"
    )


def test_any_record_can_be_listed():
    dtype = np.dtype([("n", "u8"), ("name", "S4"), ("raw", "u1", (3,)), ("two", "u8", (2,))])
    listing = plain_listing(dtype)
    (record,) = np.array([(7, b"ab", (1, 2, 255), (8, 9))], dtype)
    assert listing.header == "n name raw two"
    assert listing.line(record) == "7 ab 01 02 ff [8, 9]"


@pytest.mark.parametrize(("form", "width"), [("<16", 16), ("<18.9f", 18), ("", 0)])
def test_a_columns_width_is_in_its_form(form, width):
    assert Column("x", "X", form).width == width
    assert Listing((Column("x", "X", form),)).header == "X"

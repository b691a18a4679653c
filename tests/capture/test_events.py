import numpy as np
import pytest

from tracekit.capture.events import Counts, Events, Origin, show_value

DTYPE = [("ts", "u8"), ("port", ">u2"), ("comm", "S16"), ("addr", "u1", (28,)), ("ok", "?")]
LIVE = Origin("tcp_probe", "6.18.44", "live")


ALL = Counts(3, 3, 0)


def make(count: int = 3, counts: Counts = ALL) -> Events:
    records = np.zeros(count, DTYPE)
    records["ts"] = np.arange(count) * 10
    records["port"] = 443
    records["comm"] = b"curl"
    records["addr"][:, 0] = 2
    return Events(records, LIVE, counts)


def test_a_field_gives_its_column_and_an_unknown_one_names_those_there_are():
    events = make()
    assert events["ts"].tolist() == [0, 10, 20]
    assert events["addr"].shape == (3, 28)
    with pytest.raises(KeyError, match="no field 'sport'; the fields are ts, port, comm"):
        events["sport"]


def test_slices_masks_and_lists_give_fewer_events_of_the_same_origin():
    events = make()
    for chosen in (events[1:], events[events["ts"] > 5], events[[1, 2]]):
        assert isinstance(chosen, Events)
        assert chosen["ts"].tolist() == [10, 20]
        assert (chosen.origin, chosen.counts) == (events.origin, events.counts)
    assert events[1]["ts"] == 10
    assert [record["ts"] for record in events] == [0, 10, 20]


def test_numpy_takes_them_as_their_records():
    events = make()
    assert np.asarray(events).dtype == events.dtype
    assert np.array(events)["ts"].tolist() == [0, 10, 20]
    ports = Events(events.records[["port"]], LIVE)
    assert np.asarray(ports, dtype=[("port", "u4")])["port"].tolist() == [443] * 3


def test_counts_add_up_and_what_nobody_counted_stays_unknown():
    assert Counts(5, 4, 1) + Counts(1, 1, 0) == Counts(6, 5, 1)
    assert Counts(5, 4, 1) - Counts() == Counts(5, 4, 1)
    assert Counts() - Counts() == Counts(None, None, None)
    assert Counts(5, 4, 1, 7) - Counts(1, 1, 0, 3) == Counts(4, 3, 1, 4)
    assert Counts(missed=2) + Counts(missed=3) == Counts(missed=5)
    assert Counts(5) - Counts(5, 5, 0, 2) == Counts(0)
    assert make(counts=Counts()).dropped is None
    assert make(counts=Counts(dropped=7)).dropped == 7


def test_the_text_says_how_many_where_from_and_what_was_lost():
    assert repr(make()).split("\n")[0] == "3 events · tcp_probe · live · Linux 6.18.44 · 0 dropped"
    assert "1 event ·" in repr(make(1))
    assert "drops not counted" in repr(make(counts=Counts()))
    assert "1,234 dropped" in repr(make(counts=Counts(dropped=1234)))
    for missed, end in ((None, "0 dropped"), (0, "0 dropped"), (4321, "0 dropped · 4,321 missed")):
        first = repr(make(counts=Counts(3, 3, 0, missed))).split("\n")[0]
        assert first == f"3 events · tcp_probe · live · Linux 6.18.44 · {end}"
    recorded = Events(make().records, Origin("x", "5.4.0-28", "recorded"))
    assert "recorded on Linux 5.4.0-28" in repr(recorded)
    assert repr(make(0)).count("\n") == 0


def test_the_table_is_bounded_in_both_directions():
    text = repr(make(500))
    assert len(text.split("\n")) == 1 + 1 + 10 + 1
    assert text.endswith("and 490 more")
    wide = np.zeros(1, [(f"a_long_name_of_a_field_{n}", "u8") for n in range(9)])
    lines = repr(Events(wide, LIVE)).split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert "a_long_name_of_a_field_8" in lines[-1]


def test_html_is_escaped_and_says_the_same():
    events = make()
    events.records["comm"] = b"<script>"
    shown = events._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "3 events · tcp_probe" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"curl", "curl"),
        ("größe".encode(), "größe"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"a\x1b[31m\n", r"a\x1b[31m\n"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.array([1, 171], "u1"), "01 ab"),
        (np.arange(9, dtype="u1"), "00 01 02 03 04 05 06 07 …"),
        (np.array([[1, 2]], "u2"), "[[1, 2]]"),
        (np.bool_(True), "True"),
    ],
)
def test_one_value_as_short_text(value, text):
    assert show_value(value) == text


def test_a_data_frame_has_the_same_columns():
    pandas = pytest.importorskip("pandas")
    frame = make().to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == [name for name, *_ in DTYPE]
    assert frame["addr"][0] == bytes([2]) + bytes(27)
    # big endian columns can be computed with
    assert frame.sort_values("port")["port"].sum() == 3 * 443

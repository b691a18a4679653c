import numpy as np
import pytest

from tracekit.capture.events import Events, Origin
from tracekit.errors import TracekitError
from tracekit.lesson.live.panel import Marks, Panel, Traces

SECONDS = 10.0


def events(rows, *names):
    dtype = [(name, "u8") for name in names]
    return Events(np.array([tuple(row) for row in rows], dtype), Origin("probe", "6.1", "live"))


def drawn(panel, *batches):
    """Draw batches of rows (second, flow, window) and give the lines by their labels."""
    traces = Traces(panel, SECONDS)
    for rows in batches:
        come = events(rows, "ts", "flow", "window")
        traces.add(come, come["ts"].astype(float))
    return traces, {line.label: line for line in traces.drawing(SECONDS).lines}


ROWS = [(0, 7, 10), (1, 8, 20), (2, 7, 11), (3, 8, 21)]


def test_one_line_of_a_field():
    _, lines = drawn(Panel("window, segments", "window"), ROWS[:2], ROWS[2:])
    assert list(lines) == ["window"]
    assert lines["window"].x.tolist() == [0, 1, 2, 3]
    assert lines["window"].y.tolist() == [10, 20, 11, 21]
    assert lines["window"].last == 21


def test_a_line_for_each_flow():
    _, lines = drawn(Panel("window", "window", by="flow"), ROWS)
    assert {label: line.y.tolist() for label, line in lines.items()} == {
        "flow 7": [10, 11],
        "flow 8": [20, 21],
    }


def test_functions_give_values_and_flows():
    panel = Panel("half", lambda e: e["window"] / 2, by=lambda e: e["flow"] % 2)
    _, lines = drawn(panel, ROWS)
    assert sorted(line.y.tolist() for line in lines.values()) == [[5, 5.5], [10, 10.5]]


def test_several_columns_of_each_flow_have_both_names():
    double = {"window": "window", "double": lambda e: e["window"] * 2}
    _, lines = drawn(Panel("", double, by="flow", names={7: "reno", 8: "cubic"}), ROWS)
    assert list(lines) == ["reno window", "reno double", "cubic window", "cubic double"]
    assert lines["cubic double"].y.tolist() == [40, 42]


def test_names_may_come_late_and_what_has_none_is_not_drawn():
    names = {}
    traces, lines = drawn(Panel("", "window", by="flow", names=names), ROWS)
    assert lines == {}
    names[8] = "cubic"
    assert [line.label for line in traces.drawing(SECONDS).lines] == ["cubic"]
    assert traces.drawing(SECONDS).lines[0].y.tolist() == [20, 21]


def test_without_a_column_events_are_counted():
    _, lines = drawn(Panel("events a second"), [(3, 0, 0)] * 5)
    (line,) = lines.values()
    assert line.stepped
    assert line.y.max() * SECONDS / (len(line.y) - 1) == pytest.approx(5)
    _, lines = drawn(Panel("rate", by="flow", names={7: "seven", 8: "eight"}), ROWS)
    assert list(lines) == ["seven", "eight"]


def test_more_lines_than_can_be_told_apart_are_not_drawn_and_that_is_said():
    traces, lines = drawn(Panel("", "window", by="flow"), [(0, n, n) for n in range(9)])
    assert list(lines) == [f"flow {n}" for n in range(6)]
    assert "there are more" in traces.drawing(SECONDS).note
    traces, _ = drawn(Panel("", "window", by="flow"), [(0, n, n) for n in range(6)])
    assert traces.drawing(SECONDS).note == ""


def test_a_named_flow_finds_room_after_many_others():
    names = {99: "ours"}
    rows = [(0, n, n) for n in range(90)]
    traces, lines = drawn(Panel("", "window", by="flow", names=names), rows, [(1, 99, 5)])
    assert lines["ours"].y.tolist() == [5]
    assert traces.drawing(SECONDS).note == ""


def test_marks_stand_on_the_line_of_their_flow():
    panel = Panel("", "window", by="flow", marks=Marks("resent", probe="resent", by="port"))
    traces, _ = drawn(panel, ROWS)
    lost = events([(1, 7), (2, 8), (3, 8), (3, 55)], "ts", "port")
    traces.add_marks(lost, lost["ts"].astype(float))
    seven, eight = traces.drawing(SECONDS).lines
    assert (seven.marked, seven.mark_x.tolist(), seven.mark_y.tolist()) == ("resent", [1], [10])
    assert (eight.mark_x.tolist(), eight.mark_y.tolist()) == ([2, 3], [20, 21])


def test_every_mark_is_counted_and_the_last_are_kept():
    traces, _ = drawn(Panel("", "window", marks=Marks("lost", "other")), [(0, 0, 1)])
    for _ in range(3):
        many = events([(1,)] * 300, "ts")
        traces.add_marks(many, np.ones(300))
    (line,) = traces.drawing(SECONDS).lines
    assert (line.mark_count, len(line.mark_x)) == (900, 500)


def test_a_mark_before_the_first_value_has_no_place():
    traces, _ = drawn(Panel("", "window", marks=Marks("lost", "other")), [(5, 0, 1)])
    early = events([(1,)], "ts")
    traces.add_marks(early, np.array([1.0]))
    assert traces.drawing(SECONDS).lines[0].marked == ""


def test_a_line_is_interrupted_where_nothing_came():
    rows = [(0, 7, 10), (1, 7, 11), (5, 7, 12), (6, 7, 13)]
    _, lines = drawn(Panel("", "window", gap=2.0), rows)
    assert lines["window"].x.tolist() == [0, 1, 1, 5, 6]
    assert np.isnan(lines["window"].y).tolist() == [False, False, True, False, False]
    _, lines = drawn(Panel("", "window", gap=4.0), rows)
    assert lines["window"].y.tolist() == [10, 11, 12, 13]


def test_lines_come_in_the_order_of_their_names():
    names = {8: "cubic", 5: "nobody", 7: "reno"}
    _, lines = drawn(Panel("", "window", by="flow", names=names), ROWS)
    assert list(lines) == ["cubic", "reno"]


def test_what_is_not_one_number_an_event_is_refused():
    def the_sum(e):
        return e["window"].sum()

    with pytest.raises(TracekitError, match=r"the_sum gives an array of shape \(\) for 4 events"):
        drawn(Panel("", the_sum), ROWS)
    with pytest.raises(KeyError, match="no field 'widow'; the fields are ts, flow, window"):
        drawn(Panel("", "widow"), ROWS)

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np

from tracekit.lesson.live.drawing import Drawing, Line
from tracekit.lesson.live.picture import Picture

SVG = "{http://www.w3.org/2000/svg}"
X = np.array([0.0, 1.0, 2.0])
LINE = Line("window", X, np.array([10.0, 40.0, 20.0]), 20.0)


def image(*lines, seconds=4.0, note=""):
    picture = Picture((Drawing("segments", seconds, lines, note),), "caption")
    return ElementTree.fromstring(picture.svg())


def lines_of(drawn):
    return [path for path in drawn.iter(f"{SVG}path") if path.get("class") == "line"]


def corners(line):
    """The pieces of a line, each as its points."""
    pieces = line.get("d").split("M")[1:]
    return [np.array([pair.split(",") for pair in p.split()], float) for p in pieces]


def test_points_are_drawn_where_they_are():
    """The axis has numbers at known places, so each pixel can be read back."""
    drawn = image(LINE)
    (line,) = lines_of(drawn)
    texts = [(t.text, float(t.get("x")), float(t.get("y"))) for t in drawn.iter(f"{SVG}text")]
    # numbers of the value axis end at its left, those of the seconds are centred below it
    numbers = [t for t in drawn.iter(f"{SVG}text") if t.get("text-anchor") == "end"]
    down = {float(t.text): float(t.get("y")) - 4 for t in numbers if t.text != "seconds"}
    across = {
        float(t.text): float(t.get("x"))
        for t in drawn.iter(f"{SVG}text")
        if t.get("text-anchor") == "middle"
    }
    assert texts
    assert {0.0, 4.0} <= across.keys()
    assert {0.0, 40.0} <= down.keys()
    for (x, y), second, value in zip(corners(line)[0], LINE.x, LINE.y, strict=True):
        assert abs(x - np.interp(second, [0, 4], [across[0], across[4]])) < 0.2
        assert abs(y - np.interp(value, [0, 40], [down[0], down[40]])) < 0.2


def test_a_stepped_line_holds_each_value_until_the_next():
    (line,) = lines_of(image(replace(LINE, stepped=True)))
    steps = np.diff(corners(line)[0], axis=0)
    assert len(steps) == 4
    assert (steps == 0).any(axis=1).all()  # across or down, never both
    assert steps[0][1] == 0


def test_a_line_is_interrupted_where_it_has_no_value():
    broken = Line("w", np.array([0.0, 1, 1, 3, 4]), np.array([1.0, 2, np.nan, 3, 1]), 1.0)
    (line,) = lines_of(image(broken))
    assert [len(piece) for piece in corners(line)] == [2, 2]
    text = repr(Picture((Drawing("segments", 4.0, (broken,)),), ""))
    assert re.search(r"w +4 +1 +1 +3 +1\n", text)
    assert re.search(r"w  ▁+ +█+$", text)


def test_marks_and_lines_have_a_legend_and_are_not_told_by_colour_alone():
    marked = replace(LINE, marked="resent", mark_x=X[1:], mark_y=LINE.y[1:])
    drawn = image(marked, replace(LINE, label="half"))
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"window", "resent", "half"} <= set(texts)
    strokes = [(p.get("stroke"), p.get("stroke-dasharray")) for p in lines_of(drawn)]
    assert len({dash for _, dash in strokes}) == 2
    triangles = [p for p in drawn.iter(f"{SVG}path") if p.get("d").endswith("z")]
    assert len(triangles) == 2 + 1  # and the one of the legend


def test_text_in_the_picture_is_escaped():
    assert image(replace(LINE, label="<a & b>")) is not None


def test_nothing_is_drawn_and_said_of_no_events():
    empty = Picture((Drawing("segments", 4.0, ()),), "0 events")
    assert "no events" in empty.svg()
    assert repr(empty) == "0 events\nsegments\nno events"
    # a flow that is known and sent nothing that can be drawn
    nothing = Line("window", np.empty(0), np.empty(0))
    assert "no events" in Picture((Drawing("s", 4.0, (nothing,)),), "").svg()
    assert re.search(r"window +0", repr(Picture((Drawing("s", 4.0, (nothing,)),), "")))


def test_the_text_has_the_numbers_and_the_shape():
    text = repr(Picture((Drawing("segments", 3.0, (LINE,)),), "caption"))
    assert text.splitlines()[0] == "caption"
    assert re.search(r"window +3 +10 +10 +40 +20\n", text)
    shape = text.splitlines()[-1].removeprefix("window  ")
    assert re.fullmatch("▁+█+▃", shape)
    assert len(shape) == 48 * 2 // 3 + 1  # nothing behind the last point


def test_the_html_holds_image_and_table():
    html = Picture((Drawing("segments", 3.0, (LINE,), "a note"),), "cap<tion")._repr_html_()
    assert "cap&lt;tion" in html
    assert "<svg" in html
    assert "<table" in html
    assert "a note" in html

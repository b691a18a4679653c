import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tracekit.lesson.curves import curves


def points(drawing):
    lines = ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}polyline")
    return [
        np.array([pair.split(",") for pair in line.attrib["points"].split()], float)
        for line in lines
    ]


def test_a_straight_line_is_straight_and_rises():
    (drawn,) = points(curves({"a": np.arange(50)}).svg())
    assert len(drawn) == 50
    steps = np.diff(drawn, axis=0)
    assert np.all(steps[:, 0] > 0)
    assert np.all(steps[:, 1] < 0)  # y counts downwards
    assert np.allclose(steps, steps[0], atol=0.11)


def test_each_curve_has_its_own_scale():
    first, second = points(curves({"a": [1, 2, 3], "b": [1000, 3000, 2000]}).svg())
    assert np.ptp(first[:, 1]) == np.ptp(second[:, 1]) > 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "no values"),
        ([7], "always 7, 1 values"),
        ([5, 5], "always 5, 2 values"),
        (np.array([4294967295, 1], np.uint32), "from 1 to 4294967295, 2 values"),
    ],
)
def test_the_range_is_said(values, text):
    drawn = curves({"<a>": values})
    assert text in repr(drawn)
    assert text in " ".join(ElementTree.fromstring(drawn.svg()).itertext())


def test_many_values_fit_a_line_of_text():
    lines = repr(curves({"a": np.arange(100_000)})).splitlines()
    assert len(lines[1]) <= 80
    assert lines[1][0] == "▁"
    assert lines[1][-1] == "█"
    (drawn,) = points(curves({"a": np.arange(100_000)}).svg())
    assert len(drawn) < 1000


def test_numbers_as_large_as_sequence_numbers_keep_their_shape():
    """The kernel's are u32; a difference of them must not wrap."""
    text = repr(curves({"a": np.array([4294967290, 0, 4294967295], np.uint32)}))
    assert text.splitlines()[1] == "█▁█"

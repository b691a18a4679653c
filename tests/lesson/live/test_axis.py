import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.lesson.live.axis import round_ticks, value_axis

numbers = st.floats(-1e12, 1e12).map(lambda x: round(x, 6))


@given(numbers, st.one_of(st.just(0.0), st.floats(1e-9, 1e12)))
def test_all_values_fit_between_few_round_ticks(low, more):
    high = low + more
    axis = value_axis(low, high)
    size = max(abs(axis.low), abs(axis.high))
    assert axis.low <= low + size * 1e-8
    assert axis.high >= high - size * 1e-8
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)
    steps = np.diff(axis.ticks)
    assert np.allclose(steps, steps[0], rtol=1e-2)
    digits = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-6)
    assert np.isclose(digits, [1, 2, 5, 10], rtol=1e-2).any()


def test_zero_is_on_it_unless_all_is_far_above():
    assert value_axis(10, 90).low == 0
    assert value_axis(7, 7).low == 0
    assert value_axis(-3, 5).low < 0 < value_axis(-3, 5).high
    assert value_axis(1_000_000, 1_000_100).low == 1_000_000


@given(st.floats(0.5, 10_000))
def test_seconds_are_ticked_inside_the_axis(seconds):
    ticks = round_ticks(0, seconds, 8)
    assert ticks[0] == 0
    assert ticks[-1] <= seconds * (1 + 1e-8)
    assert 3 <= len(ticks) <= 10

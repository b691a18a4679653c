import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.lesson.live.series import Rate, Series

SECONDS, BINS = 2.0, 8
values = st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 3))
times = st.lists(st.tuples(st.floats(0, SECONDS), values), max_size=60).map(
    lambda pairs: sorted(pairs, key=lambda pair: pair[0])
)


def filled(pairs, chunks=1):
    line = Series(SECONDS, BINS)
    for part in np.array_split(np.array(pairs, float).reshape(-1, 2), chunks):
        line.add(part[:, 0], part[:, 1])
    return line


def in_bin(t):
    return min(int(t * BINS / SECONDS), BINS - 1)


@given(times)
def test_each_bin_keeps_its_smallest_and_its_largest_value(pairs):
    x, y = filled(pairs).points()
    for number in range(BINS):
        came = [v for t, v in pairs if in_bin(t) == number]
        drawn = [v for t, v in zip(x, y, strict=True) if in_bin(t) == number]
        assert bool(came) == bool(drawn)
        if came:
            assert (min(drawn), max(drawn)) == (min(came), max(came))


@given(times)
def test_what_is_drawn_came_so_and_in_this_order(pairs):
    x, y = filled(pairs).points()
    assert set(zip(x.tolist(), y.tolist(), strict=True)) <= set(pairs)
    assert (np.diff(x) >= 0).all()
    assert len(x) <= 2 * BINS + 1
    if pairs:
        assert (x[-1], y[-1]) == pairs[-1]


@given(times, st.integers(1, 9))
def test_batches_make_no_difference(pairs, chunks):
    whole, parts = filled(pairs), filled(pairs, chunks)
    assert [c.tolist() for c in whole.points()] == [c.tolist() for c in parts.points()]
    assert (
        (whole.count, whole.last)
        == (parts.count, parts.last)
        == (
            len(pairs),
            pairs[-1][1] if pairs else None,
        )
    )


def test_a_few_values_are_drawn_as_they_are():
    line = filled([(0.1, 4), (0.2, 2), (0.3, 4), (1.9, 7)])
    assert [c.tolist() for c in line.points()] == [[0.1, 0.2, 0.3, 1.9], [4, 2, 4, 7]]


def test_one_peak_among_a_million_is_drawn():
    line = Series(10.0)
    noise = np.random.default_rng(1).normal(size=1_000_000)
    noise[654_321] = 1000.0
    moments = np.linspace(0, 10, len(noise))
    for part in np.array_split(np.arange(len(noise)), 200):
        line.add(moments[part], noise[part])
    x, y = line.points()
    assert len(x) <= 1001
    assert x[y.argmax()] == moments[654_321]
    assert y.min() == noise.min()


def test_what_is_not_a_number_is_left_out():
    line = Series(1.0)
    line.add([0.1, 0.2, 0.3], [np.nan, 5, np.nan])
    assert [c.tolist() for c in line.points()] == [[0.2], [5.0]]
    line.add([0.4], [np.nan])
    assert (line.count, line.last) == (1, 5.0)


def test_times_outside_fall_into_the_ends():
    line = filled([(-0.5, 1), (2.5, 3)])
    assert [c.tolist() for c in line.points()] == [[-0.5, 2.5], [1, 3]]


@given(times)
def test_the_value_at_a_time_is_the_last_before(pairs):
    line = filled(pairs)
    x, y = line.points()
    for t in (0.0, 0.4, 1.99):
        before = [v for at, v in zip(x, y, strict=True) if at <= t]
        assert np.array_equal(line.values_at([t])[0], before[-1] if before else np.nan, True)


@given(st.lists(st.floats(0, 1.999), max_size=80))
def test_the_steps_of_a_rate_hold_every_event(moments):
    rate = Rate(SECONDS, BINS)
    for part in np.array_split(np.array(moments), 3):
        rate.add(part)
    x, y = rate.points(until=SECONDS)
    assert len(x) == BINS + 1
    assert round(float((y[:-1] * np.diff(x)).sum())) == len(moments) == rate.count
    assert y[-1] == y[-2]


def test_a_part_that_is_not_over_is_not_drawn():
    rate = Rate(1.0, 10)
    rate.add([0.05, 0.15, 0.25])
    assert [len(column) for column in rate.points(until=0.09)] == [0, 0]
    x, y = rate.points(until=0.29)
    assert np.allclose(x, [0, 0.1, 0.2])
    assert np.allclose(y, 10)

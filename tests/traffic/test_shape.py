"""The shape of a link: defaults, limits, words."""

import pytest

from tracekit.errors import TrafficError
from tracekit.traffic.shape import parse_shape


def test_the_queue_is_forty_milliseconds_unless_given():
    assert parse_shape("100mbit").queue == 100_000_000 / 8 * 0.04
    assert parse_shape("100mbit", "64kb").queue == 65536


def test_a_slow_link_s_queue_still_holds_ten_packets():
    assert parse_shape("100kbit").queue == 10 * 1514


@pytest.mark.parametrize(
    ("queue", "delay", "fact"),
    [(3027, None, "queue of 3,027 bytes"), ("4gb", None, "queue"), (None, "11s", "delay of 11 s")],
)
def test_what_no_link_can_have_is_refused(queue, delay, fact):
    with pytest.raises(TrafficError, match=fact) as caught:
        parse_shape("1mbit", queue, delay)
    assert caught.value.next_step


def test_words():
    assert str(parse_shape("1.5mbit", "30kb")) == "1.5 Mbit/s, queue 30 KiB"
    assert str(parse_shape(10**9, 50_000, "1ms", "2%")) == (
        "1 Gbit/s, queue 50,000 bytes, delay 1 ms, loss 2 %"
    )

"""Rates, sizes, times and fractions: the same as tc takes them for."""

import json
import os
import subprocess

import pytest

from tracekit.errors import TrafficError
from tracekit.traffic.units import parse_fraction, parse_rate, parse_size, parse_time

RATES = ["20mbit", "2.5Mbps", "1gbit", "800kbit", "100kbps", "16Kibit", "3Mibps", "64000"]


def test_rates_are_what_tc_makes_of_them():
    script = "ip link add name probe type veth && for rate in \"$@\"; do " \
        "tc qdisc replace dev probe root tbf rate $rate burst 1mb limit 1mb && " \
        "tc -j qdisc show dev probe || exit 1; done"  # fmt: skip
    shown = subprocess.run(
        ["unshare", "-Urn", "sh", "-c", script, "sh", *RATES],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    ).stdout  # fmt: skip
    tc = [json.loads(line)[0]["options"]["rate"] * 8 for line in shown.splitlines()]
    assert [parse_rate(rate) for rate in RATES] == tc


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1500", 1500), ("1500b", 1500), ("100k", 102_400), ("100KB", 102_400),
     ("1.5mb", 1_572_864), (7, 7)],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("10ms", 0.01), ("250us", 0.00025), ("1.5s", 1.5), (2, 2.0)]
)
def test_times(text, seconds):
    assert parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "fraction"), [("1%", 0.01), ("100 %", 1.0), (0.25, 0.25)])
def test_fractions(text, fraction):
    assert parse_fraction(text) == fraction


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse, text) for parse in (parse_rate, parse_size, parse_time, parse_fraction)
     for text in ("", "fast", "-1", "1 parsec", "1e3", "nan", float("nan"), float("inf"), -1)]
    + [(parse_rate, "0"), (parse_rate, "1kbit"), (parse_rate, "33gbit"), (parse_fraction, "101%")],
)  # fmt: skip
def test_what_is_no_such_value_is_refused_with_an_example(parse, text):
    with pytest.raises(TrafficError) as caught:
        parse(text)
    assert "such as" in caught.value.next_step

"""Rates, sizes, times and fractions, written as tc(8) writes them: 20mbit, 100kb, 10ms, 1%."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracekit.errors import TrafficError

__all__ = ("format_rate", "format_size", "parse_fraction", "parse_rate", "parse_size", "parse_time")

# The units of tc(8), section UNITS (iproute2 6.1). For rates k is 1000 and Ki 1024; "bit" counts
# bits and "bps" bytes. For sizes tc counts k as 1024.
_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_RATES = {
    f"{prefix}{unit}": factor * bits
    for prefix, factor in {**_PREFIXES, **_BINARY}.items()
    for unit, bits in {"bit": 1, "bps": 8}.items()
}
_SIZES = {"": 1, "b": 1, "k": 2**10, "kb": 2**10, "m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30}
_TIMES = {"s": 1.0, "sec": 1.0, "secs": 1.0, "ms": 1e-3, "msec": 1e-3, "msecs": 1e-3}
_TIMES |= {"us": 1e-6, "usec": 1e-6, "usecs": 1e-6}


def parse_rate(rate: str | int | float) -> int:
    """Give a rate in bits a second; a number is bits a second already.

    Raises :class:`~tracekit.errors.TrafficError` for a text that is no rate, and for one that is
    not between 8 kbit/s and 32 Gbit/s, what one 32-bit number of bytes a second can hold.

    >>> parse_rate("20mbit"), parse_rate("2.5Mbps"), parse_rate("16Kibit")
    (20000000, 20000000, 16384)
    """
    bits = _parse(rate, _RATES, "rate", "20mbit")
    if not 8_000 <= bits <= 32_000_000_000:
        raise TrafficError(
            f"the rate {rate!r} can't be set", "give one between 8kbit and 32gbit, such as 20mbit"
        )
    return round(bits)


def parse_size(size: str | int | float) -> int:
    """Give a size in bytes; a number is bytes already, and tc's ``k`` is 1024.

    >>> parse_size("100kb"), parse_size(3000)
    (102400, 3000)
    """
    return round(_parse(size, _SIZES, "size", "100kb"))


def parse_time(time: str | int | float) -> float:
    """Give a time in seconds; a number is seconds already (tc itself takes it as microseconds).

    >>> parse_time("10ms"), parse_time(0.25)
    (0.01, 0.25)
    """
    return _parse(time, _TIMES, "time", "10ms")


def parse_fraction(fraction: str | int | float) -> float:
    """Give a fraction between 0 and 1; with ``%`` a text is that many hundredths.

    >>> parse_fraction("1%"), parse_fraction(0.5)
    (0.01, 0.5)
    """
    share = _parse(fraction, {"": 1.0, "%": 0.01}, "fraction", "1%")
    if share > 1:
        raise TrafficError(f"the fraction {fraction!r} is more than all", 'give one such as "1%"')
    return share


def format_rate(bits: float) -> str:
    """Write a number of bits a second with three digits.

    >>> format_rate(20_000_000), format_rate(1234), format_rate(37.2e9)
    ('20 Mbit/s', '1.23 kbit/s', '37.2 Gbit/s')
    """
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bits >= factor:
            return f"{bits / factor:.3g} {prefix}bit/s"
    return f"{bits:.3g} bit/s"


def format_size(size: int) -> str:
    """Write a number of bytes in KiB where that is exact.

    >>> format_size(102400), format_size(3000)
    ('100 KiB', '3,000 bytes')
    """
    return f"{size // 1024:,} KiB" if size and size % 1024 == 0 else f"{size:,} bytes"


def _parse(text: str | int | float, units: Mapping[str, float], what: str, example: str) -> float:
    factor = 1.0
    if isinstance(text, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z%]*)\s*", text.lower())
        if found is None or (found[2] and found[2] not in units):
            raise _no_such(text, what, example)
        number, factor = float(found[1]), float(units.get(found[2], 1))
    else:
        number = float(text)
    if not 0 <= number < float("inf"):
        raise _no_such(text, what, example)
    return number * factor


def _no_such(text: object, what: str, example: str) -> TrafficError:
    return TrafficError(f"{text!r} is no {what}", f'write it as tc does, such as "{example}"')

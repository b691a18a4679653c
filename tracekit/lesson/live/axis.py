"""Axes with round numbers, the same on the page and in the picture that is left.

>>> value_axis(3.0, 92.0)
ValueAxis(low=0.0, high=100.0, ticks=(0.0, 20.0, 40.0, 60.0, 80.0, 100.0))
>>> value_axis(1010.0, 1030.0).low
1010.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ("ValueAxis", "round_ticks", "value_axis")

_ALIKE = 1e-9  # values closer than this part of their size are drawn as one


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """From ``low`` to ``high``, with a number at each of ``ticks``."""

    low: float
    high: float
    ticks: tuple[float, ...]


def value_axis(low: float, high: float) -> ValueAxis:
    """An axis on which values from ``low`` to ``high`` fit: from zero, unless they are far above.

    It ends on round numbers, so that it does not move with every value.
    """
    alike = high - low <= _ALIKE * max(abs(low), abs(high))
    if low >= 0 and (low <= high / 2 or alike):
        low = 0.0
    elif high <= 0 and alike:
        high = 0.0
    if low == high:
        high = 1.0
    step = _step(low, high, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(_round(index * step) for index in range(first, last + 1))
    return ValueAxis(ticks[0], ticks[-1], ticks)


def round_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """Round numbers between ``low`` and ``high``, at most about ``most``.

    >>> round_ticks(0, 12, 8)
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
    """
    step = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(_round(index * step) for index in range(first, last + 1))


def _round(tick: float) -> float:
    # 0.30000000000000004 is meant to be 0.3
    return float(f"{tick:.12g}")


def _step(low: float, high: float, most: int) -> float:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)

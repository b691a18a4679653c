"""What a link does to packets: rate, queue, delay and loss; and what its queue has done."""

from __future__ import annotations

from dataclasses import dataclass

from tracekit.errors import TrafficError
from tracekit.traffic.units import (
    format_rate,
    format_size,
    parse_fraction,
    parse_rate,
    parse_size,
    parse_time,
)

__all__ = ("QueueStatistics", "Shape", "parse_shape")

# How long the queue takes to empty when its size is left to us, in seconds: enough for a
# congestion window to be seen climbing and falling, short enough for several times in a lesson.
_QUEUE_SECONDS = 0.04
# Two full Ethernet frames; below that, TCP's segments would never pass.
_SMALLEST_QUEUE = 2 * 1514


@dataclass(frozen=True, slots=True)
class Shape:
    """Rate, queue, delay and loss of a link.

    ``rate``, bits a second each way; ``queue``, bytes that may wait each way; ``delay``,
    seconds on the way, each way; ``loss``, the fraction of packets lost from client to server.

    >>> print(Shape(20_000_000, 102_400, 0.01, 0.005))
    20 Mbit/s, queue 100 KiB, delay 10 ms, loss 0.5 %
    """

    rate: int
    queue: int
    delay: float = 0.0
    loss: float = 0.0

    def __str__(self) -> str:
        """The four in words, those that are nothing left out."""
        words = [format_rate(self.rate), f"queue {format_size(self.queue)}"]
        if self.delay:
            words.append(f"delay {self.delay * 1e3:g} ms")
        if self.loss:
            words.append(f"loss {self.loss * 100:g} %")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """The router's queue towards the server: what it has let pass and dropped so far, and holds."""

    packets: int
    bytes: int
    dropped: int
    waiting_packets: int
    waiting_bytes: int


def parse_shape(
    rate: str | int,
    queue: str | int | None = None,
    delay: str | float | None = None,
    loss: str | float | None = None,
) -> Shape:
    """Give the Shape of values written as tc does; the queue is by default 40 ms of the rate.

    Raises :class:`~tracekit.errors.TrafficError` for a text that is no such value, or a value no
    link can have.

    >>> parse_shape("20mbit", delay="5ms")
    Shape(rate=20000000, queue=100000, delay=0.005, loss=0.0)
    """
    bits = parse_rate(rate)
    size = max(round(bits / 8 * _QUEUE_SECONDS), 10 * 1514) if queue is None else parse_size(queue)
    if not _SMALLEST_QUEUE <= size < 2**32:
        raise TrafficError(
            f"a queue of {size:,} bytes can't be set",
            f"give at least {_SMALLEST_QUEUE}, two full packets, and less than 4 GiB",
        )
    seconds = parse_time(delay or 0)
    if seconds > 10:
        raise TrafficError(f"a delay of {seconds:g} s can't be set", "give at most 10 s")
    return Shape(bits, size, seconds, parse_fraction(loss or 0))

"""Lists of tracepoint names, and the names nearest to a mistyped one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import overload

from tracekit.tracepoints.table import Row, html_table

__all__ = ("TracepointNames", "nearest_names")

_SHOWN = 25
_LIKE = 0.4  # of 1: names less like than this are no help


@dataclass(frozen=True, slots=True, repr=False)
class TracepointNames(Sequence[str]):
    """Names ``category:event`` in order, with what was asked (``pattern``) and of whom (``where``).

    ``pseudo`` are names left out: they have a format file, but no program can be attached to them.

    >>> TracepointNames(("tcp:tcp_probe", "tcp:tcp_send_reset"), "tcp:*", "Linux 6.18")
    2 tracepoints match tcp:* in Linux 6.18
      tcp:tcp_probe
      tcp:tcp_send_reset
    """

    names: tuple[str, ...]
    pattern: str
    where: str
    pseudo: tuple[str, ...] = ()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.names[index]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def categories(self) -> dict[str, int]:
        """How many of the names each category has."""
        return dict(Counter(name.partition(":")[0] for name in self.names))

    @property
    def _title(self) -> str:
        count = f"{len(self)} tracepoint{'' if len(self) == 1 else 's'}"
        return f"{count} match{'es' if len(self) == 1 else ''} {self.pattern} in {self.where}"

    @property
    def _notes(self) -> list[str]:
        notes = []
        if len(self) > _SHOWN:
            notes.append(f"… and {len(self) - _SHOWN} more")
        if self.pseudo:
            notes.append(
                f"left out: {len(self.pseudo)} of ftrace:*, whose format files describe ftrace's "
                "own records; nothing can be attached to them"
            )
        return notes

    def __repr__(self) -> str:
        lines = (*self.names[:_SHOWN], *self._notes)
        return "\n".join((self._title, *(f"  {line}" for line in lines)))

    def _repr_html_(self) -> str:
        rows = [Row(tuple(name.split(":", 1))) for name in self.names[:_SHOWN]]
        table = html_table(self._title, ("category", "event"), rows)
        return table + "".join(f"<p>{note}</p>" for note in self._notes)


def nearest_names(name: str, names: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The ``count`` names most like ``name``, best first; those unlike it are left out.

    A name with the right event and another category, or with none, is as near as can be:

    >>> nearest_names("net:tcp_probe", ["dma:map_sg", "tcp:tcp_probe", "sched:sched_switch"])
    ('tcp:tcp_probe',)
    >>> nearest_names("tcp_prob", ["tcp:tcp_probe", "tcp:tcp_send_reset", "irq:irq_entry"])[0]
    'tcp:tcp_probe'
    """
    asked_category, colon, asked_event = name.lower().replace("/", ":").rpartition(":")
    whole, part = SequenceMatcher(autojunk=False), SequenceMatcher(autojunk=False)
    # SequenceMatcher keeps what it knows about its second text, so the asked name is that one.
    whole.set_seq2(f"{asked_category}{colon}{asked_event}")
    part.set_seq2(asked_event)
    scores: list[tuple[float, str]] = []
    for candidate in names:
        event = candidate.partition(":")[2]
        score = 0.0
        for matcher, text in ((part, event), (whole, candidate)):
            if matcher is whole and not colon:
                continue
            matcher.set_seq1(text)
            # The two cheap bounds spare nine tenths of the names the real comparison.
            if matcher.real_quick_ratio() > _LIKE and matcher.quick_ratio() > _LIKE:
                score = max(score, matcher.ratio())
        if len(asked_event) > 2 and asked_event in event:
            score = max(score, 0.75 + 0.2 * len(asked_event) / len(event))
        if score > _LIKE:
            same_category = candidate.startswith(f"{asked_category}:")
            scores.append((score + 0.01 * same_category, candidate))
    scores.sort(key=lambda pair: (-pair[0], pair[1]))
    return tuple(candidate for _, candidate in scores[:count])

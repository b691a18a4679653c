"""Finding tracepoints by their category, by words of their names, and by words of their fields."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.tracepoints.catalogue import catalogue_root
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

__all__ = ("Tracepoints",)


class Tracepoints:
    """The tracepoints of one kernel, to be searched.

    >>> all_of_them = Tracepoints("debian-12_6.1")
    >>> all_of_them.search("retransmit")
    ('tcp:tcp_retransmit_skb', 'tcp:tcp_retransmit_synack')
    >>> all_of_them.search("snd_cwnd"), all_of_them.search("snd_cwnd", fields=True)
    ((), ('tcp:tcp_probe',))
    """

    def __init__(self, kernel: str | None = None) -> None:
        """Read the names; ``kernel`` is one of the catalogue's, None the running one.

        :raises TracefsUnavailable: tracefs is not mounted or not readable.
        :raises UnknownKernel: the catalogue does not have it.
        """
        self.kernel = kernel
        root = None if kernel is None else catalogue_root(kernel)
        listed = find_tracepoints("*", root)
        self.names: Sequence[str] = listed.names
        self.where = listed.where
        self.categories = listed.categories
        self._fields: dict[str, str] = {}

    def search(
        self, text: str = "", *, category: str = "", fields: bool = False
    ) -> tuple[str, ...]:
        """The names that hold every word of ``text``, in whatever case.

        :param category: only this one's; all categories otherwise.
        :param fields: a word may be a part of a field's name instead.
        """
        words = text.lower().split()
        if fields and words and not self._fields:
            # 0.1 s for the 2,300 files of a kernel
            self._fields = {name: self._names_of_fields(name) for name in self.names}
        return tuple(
            name
            for name in self.names
            if not category or name.startswith(f"{category}:")
            if all(
                word in name.lower() or (fields and word in self._fields[name]) for word in words
            )
        )

    def format(self, name: str) -> Format:
        """The format of a tracepoint; raises what ``read_format`` does."""
        return read_format(name, kernel=self.kernel)

    def _names_of_fields(self, name: str) -> str:
        return " ".join(field.name.lower() for field in self.format(name).fields)

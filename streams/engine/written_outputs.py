"""The outputs that a take-over found written already: caused again, they are not written again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.engine.records import OutputRecord

REMEMBERED_MOST = 100_000
"""Outputs a partition, found at a take-over and not caused again, that are remembered."""

Id = tuple[str, bytes]
"""Topic and record id."""


class WrittenOutputs:
    """Those that source records are still to cause again (``awaits_any``), and those that no record did: a timer may.

    >>> written = WrittenOutputs()
    >>> written.add([("out", b"1"), ("out", b"2")])
    >>> outputs = [OutputRecord("out", None, b"", b"1"), OutputRecord("out", None, b"", b"3")]
    >>> [output.record_id for output in written.missing(outputs)]
    [b'3']
    >>> written.on_caused(outputs); written.awaits_any
    True
    """

    def __init__(self) -> None:
        self._awaited: set[Id] = set()
        self._remembered: set[Id] = set()

    @property
    def awaits_any(self) -> bool:
        return bool(self._awaited)

    def look_again(self) -> None:
        """A take-over begins: what is awaited is looked up anew."""
        self._awaited.clear()

    def add(self, ids: Iterable[Id]) -> None:
        self._awaited.update(ids)

    def missing(self, outputs: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
        """Without those that are written, and those that are not wanted where another one is."""
        if not self._awaited and not self._remembered:
            return outputs
        return [o for o in outputs if not self._has((o.topic, o.record_id)) and (o.unless is None or not self._has(o.unless))]

    def on_caused(self, outputs: Iterable[OutputRecord]) -> None:
        """These are done with: each comes but once more."""
        if self._awaited or self._remembered:
            again = {id_ for o in outputs for id_ in ((o.topic, o.record_id), o.unless) if id_ is not None}
            self._awaited -= again
            self._remembered -= again

    def await_no_more(self) -> None:
        """No source record is left that could cause them."""
        if len(self._remembered) < REMEMBERED_MOST:
            self._remembered |= self._awaited
        self._awaited.clear()

    def _has(self, id_: Id) -> bool:
        return id_ in self._awaited or id_ in self._remembered

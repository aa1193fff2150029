"""How often a shopper who allows no personalization gets a list without a search: as rarely as others do."""

from __future__ import annotations

from collections import OrderedDict

SHOPPERS_KEPT = 50_000


class Asks:
    """When the last such lists were asked for, in memory only: no profile says it. A record that is processed again gets the answer that it
    got."""

    def __init__(self, window_ms: int, kept: int = SHOPPERS_KEPT) -> None:
        self._window_ms = window_ms
        self._kept = kept
        self._last: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def allows(self, pseudonym: str, time_ms: int, place: int, offset: int) -> bool:
        """Whether an event may ask, which is then the last one that did. ``place`` and ``offset`` tell the record."""
        last = self._last.get(pseudonym)
        if last is not None and last[1:] != (place, offset) and abs(time_ms - last[0]) < self._window_ms:
            return False
        self._last[pseudonym] = (time_ms, place, offset)
        self._last.move_to_end(pseudonym)
        if len(self._last) > self._kept:
            self._last.popitem(last=False)
        return True

    def forget(self, pseudonym: str) -> None:
        self._last.pop(pseudonym, None)

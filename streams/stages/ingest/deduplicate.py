"""Drops events that a producer sent twice, by their id within a bounded window.

The window is in the worker's memory. On a take-over it is filled from the last clean events. It misses a duplicate that came through
another worker's partition, or an old one. The profile and feedback stages drop these: they keep the recent event ids of a user in
their state.
"""

from __future__ import annotations

from collections import OrderedDict


class RecentEvents:
    """The last ``size`` events that were passed on, with the source position of each.

    The position is kept so that the same record may be processed again after a failure without counting as a duplicate. Only events
    that were passed on are remembered: a refused event may be repaired and sent again.

    >>> recent = RecentEvents(100)
    >>> recent.remember("a", 0, 7)
    >>> recent.is_duplicate("a", 0, 7), recent.is_duplicate("a", 0, 8)
    (False, True)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def is_duplicate(self, event_id: str, partition: int, offset: int) -> bool:
        """Whether another record brought this event before."""
        first = self._seen.get(event_id)
        return first is not None and first != (partition, offset)

    def remember(self, event_id: str, partition: int, offset: int) -> None:
        """The event was passed on."""
        if self._size:
            self._seen[event_id] = (partition, offset)
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)

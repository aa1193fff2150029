"""Events that a producer sent twice: known by their id within a bounded window.

The window is a worker's own memory; what it misses (a duplicate through another partition, or after a restart) the profile
and feedback stages drop, which keep the recent event ids of a user in their state.
"""

from __future__ import annotations

from collections import OrderedDict


class RecentEvents:
    """The last ``size`` event ids and where each was first seen."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def is_duplicate(self, event_id: str, partition: int, offset: int) -> bool:
        """True where another record brought this event before. The record that brought it first may come again."""
        first = self._seen.get(event_id)
        if first is not None:
            return first != (partition, offset)
        if self._size:
            self._seen[event_id] = (partition, offset)
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
        return False

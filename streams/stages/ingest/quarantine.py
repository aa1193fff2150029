"""Sets a producer apart whose records are mostly refused, so that the others' events go on.

Each producer has a window of its last records, in each partition. Where more than the set share of a whole window was refused, all its
further records become dead letters (reason ``quarantined``; ``veilstream recover`` gives them back), for what is readable among rubbish
may be read wrongly. Its records are still looked at: when enough of a window is good again, it ends.

Whether a record is set apart depends on the earlier records of its producer in its partition, never on the clock or the bounds of
batches. A record that is handed over again gets the same answer. The memory is bounded and belongs to the worker: after a restart, a
window fills anew.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Sequence

PRODUCERS_KEPT = 500
_LONGEST = 64
_HEADERS = frozenset({"client-id", "client.id", "ce_source"})
_KEY_PREFIX = re.compile(rb"([A-Za-z0-9._-]{1,64}?)[:/|]")
_CHANGES_KEPT = 64


def producer_of(key: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """What tells a producer from others: a header, or what stands before a separator in the key. None if nothing does.

    It is a producer's own words, perhaps a name of a person. So it stays in this room's memory.

    >>> producer_of(b"shop-a:u1", ()), producer_of(b"u1", (("client-id", b"web"),)), producer_of(b"u1", ())
    (b'k:shop-a', b'h:web', None)
    """
    named = None
    for name, value in headers:
        if not value or name == "content-type":
            continue
        lowered = name.lower()
        if lowered == "veilstream-source":
            return b"h:" + value[:_LONGEST]
        if named is None and lowered in _HEADERS:
            named = b"h:" + value[:_LONGEST]
    if named is not None:
        return named
    if not key or (b":" not in key and b"/" not in key and b"|" not in key):
        return None
    found = _KEY_PREFIX.match(key)
    return b"k:" + found[1] if found is not None else None


class Window:
    """The last records of one producer in one partition."""

    __slots__ = ("_changes", "_last", "_max_share", "_refused", "_size", "_verdicts", "apart")

    def __init__(self, max_share: float, size: int) -> None:
        self._max_share = max_share
        self._size = size
        self._verdicts: deque[bool] = deque()
        self._refused = 0
        self._last = -1
        """The last source offset that counted."""
        self._changes: deque[tuple[int, bool]] = deque(maxlen=_CHANGES_KEPT)
        """From which offset on it was set apart, or no longer."""
        self.apart = False

    def is_apart(self, offset: int) -> bool:
        """Whether the record at an offset is set apart."""
        if offset > self._last:
            return self.apart
        apart = False
        for begins, is_apart in self._changes:
            if begins > offset:
                break
            apart = is_apart
        return apart

    def observe(self, offset: int, *, refused: bool) -> None:
        """Count a record by what was found in it, whether it was set apart or not. A record that was counted is not counted again."""
        if offset <= self._last:
            return
        self._last = offset
        verdicts = self._verdicts
        verdicts.append(refused)
        self._refused += refused
        if len(verdicts) <= self._size:
            if len(verdicts) < self._size:
                return
        else:
            self._refused -= verdicts.popleft()
        share = self._refused / self._size
        apart = share > (self._max_share / 2 if self.apart else self._max_share)
        if apart != self.apart:
            self.apart = apart
            self._changes.append((offset + 1, apart))


class Quarantine:
    """Windows of producers, by partition."""

    def __init__(self, max_share: float, window: int) -> None:
        self._max_share = max_share
        self._size = window
        self._windows: OrderedDict[tuple[str, int, bytes], Window] = OrderedDict()

    @property
    def apart(self) -> int:
        """How many producers are set apart now, each partition by itself."""
        return sum(window.apart for window in self._windows.values())

    def window(self, topic: str, partition: int, producer: bytes) -> Window:
        """The window of a producer in a topic's partition."""
        key = (topic, partition, producer)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(self._max_share, self._size)
            if len(self._windows) > PRODUCERS_KEPT:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        return window

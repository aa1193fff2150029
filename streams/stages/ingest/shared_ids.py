"""Finds ids that many people share: more events, or more sessions, in a day of event time than one person makes.

It only counts and tells. The memory is bounded and belongs to the worker; a day that was pushed out is counted from zero. Sessions are
counted by a bitmap (linear counting: Whang, Vander-Zanden and Taylor 1990, https://doi.org/10.1145/78922.78925), because a hostile
producer could fill the memory with the names of sessions.
"""

from __future__ import annotations

from collections import OrderedDict

_DAY_MS = 86_400_000
_USERS_KEPT = 50_000


class _Day:
    __slots__ = ("day", "events", "flagged", "sessions", "set_bits")

    def __init__(self, day: int) -> None:
        self.day = day
        self.events = 0
        self.sessions: bytearray | None = None
        """A bitmap."""
        self.set_bits = 0
        self.flagged = False


class SharedIds:
    """Counts events and sessions by pseudonym, for the newest day that each has.

    >>> shared = SharedIds(events=2, sessions=9)
    >>> [shared.observe("k1.a", 1_760_000_000_000, None) for _ in range(4)]
    [False, False, True, False]
    """

    def __init__(self, events: int, sessions: int, kept: int = _USERS_KEPT) -> None:
        self._events = events
        self._bits = 32 * max(sessions // 8 + 1, 16)
        # So many bits are set by as many sessions, on average. Of few sessions the count is exact, of 200 it is 3% off or less, mostly.
        self._set_bits = self._bits * (1 - (1 - 1 / self._bits) ** (sessions + 0.5))
        self._kept = kept
        self._days: OrderedDict[str, _Day] = OrderedDict()

    def observe(self, pseudonym: str, occurred_ms: int, session: str | None) -> bool:
        """Whether this event makes the id one that counts as shared: true once for an id and day. ``session`` is a session's hash in
        hexadecimal: its last characters are as good as random."""
        number = occurred_ms // _DAY_MS
        day = self._days.get(pseudonym)
        if day is None or day.day < number:
            day = self._days[pseudonym] = _Day(number)
            if len(self._days) > self._kept:
                self._days.popitem(last=False)
        elif day.day > number:
            return False
        self._days.move_to_end(pseudonym)
        day.events += 1
        if day.flagged:
            return False
        if session is not None:
            sessions = day.sessions
            if sessions is None:
                sessions = day.sessions = bytearray(self._bits // 8)
            place = int(session[-6:], 16) % self._bits
            mask = 1 << (place & 7)
            if not sessions[place >> 3] & mask:
                sessions[place >> 3] |= mask
                day.set_bits += 1
        if day.events > self._events or day.set_bits > self._set_bits:
            day.flagged = True
            day.sessions = None
            return True
        return False

"""Finds ids that many people share: more events, or more sessions, in a day of event time than one person makes.

It only counts and tells. The memory is bounded and belongs to the worker; a day that was pushed out is counted from zero.
"""

from __future__ import annotations

from collections import OrderedDict

_DAY_MS = 86_400_000
_USERS_KEPT = 50_000


class _Day:
    __slots__ = ("day", "events", "flagged", "sessions")

    def __init__(self, day: int) -> None:
        self.day = day
        self.events = 0
        self.sessions: set[str] | None = None
        self.flagged = False


class SharedIds:
    """Counts events and sessions by pseudonym, for the newest day that each has.

    >>> shared = SharedIds(events=2, sessions=9)
    >>> [shared.observe("k1.a", 1_760_000_000_000, None) for _ in range(4)]
    [False, False, True, False]
    """

    def __init__(self, events: int, sessions: int, kept: int = _USERS_KEPT) -> None:
        self._events = events
        self._sessions = sessions
        self._kept = kept
        self._days: OrderedDict[str, _Day] = OrderedDict()

    def observe(self, pseudonym: str, occurred_ms: int, session: str | None) -> bool:
        """Whether this event makes the id one that counts as shared: true once for an id and day."""
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
        if session is not None and not day.flagged:
            if day.sessions is None:
                day.sessions = set()
            day.sessions.add(session)
        if not day.flagged and (day.events > self._events or (day.sessions is not None and len(day.sessions) > self._sessions)):
            day.flagged = True
            day.sessions = None
            return True
        return False

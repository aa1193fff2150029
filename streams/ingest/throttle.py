"""Automated users: more events in a minute of event time than people make, or an agent string that says so.

Whether an event passes depends on the events of its user before it in the same partition, never on the wall clock or on
where a batch begins, as long as the user is remembered; the memory is bounded.
"""

from __future__ import annotations

import re
from collections import OrderedDict

_MINUTE_MS = 60_000
_USERS_KEPT = 100_000
_MINUTES_KEPT = 3
_BOT = re.compile(
    r"bot\b|crawl|spider|slurp|headless|phantomjs|selenium|puppeteer|playwright|curl/|wget/|python-requests|python-urllib|aiohttp/|scrapy|"
    r"go-http-client|java/|libwww|httpclient|okhttp/0|monitor(?:ing)?\b|lighthouse",
    re.IGNORECASE,
)


def is_automated_agent(user_agent: str | None) -> bool:
    """True where the agent string names a robot or a script."""
    return bool(user_agent) and _BOT.search(user_agent[:512] if user_agent else "") is not None


class Throttle:
    """Counts events per user and minute of event time."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._users: OrderedDict[str, dict[int, tuple[int, int]]] = OrderedDict()

    def allows(self, pseudonym: str, occurred_ms: int, position: int) -> bool:
        """Count an event at a source offset; False where it is one too many. The same position again counts once."""
        minute = occurred_ms // _MINUTE_MS
        minutes = self._users.get(pseudonym)
        if minutes is None:
            minutes = self._users[pseudonym] = {}
            if len(self._users) > _USERS_KEPT:
                self._users.popitem(last=False)
        count, last = minutes.get(minute, (0, -1))
        if position <= last:
            # Handed over again after a failure: it was counted, and passed if the count then was within the bound.
            return count <= self._per_minute
        minutes[minute] = (count + 1, position)
        if len(minutes) > _MINUTES_KEPT:
            del minutes[min(minutes)]
        return count < self._per_minute

"""Detects automated users: more events per minute of event time than a person makes, or a user agent that says so.

Whether an event passes depends on the earlier events of its user in the same partition. It never depends on the wall clock, or on where a
batch begins. Events of one minute may have the same timestamp (the lines of a large invoice do). So the limit should be some hundreds.

The memory is bounded and belongs to the worker. After a restart or a take-over, the current minute of a user is counted from zero
again. So at most one more limit's worth of events passes.
"""

from __future__ import annotations

import re
from collections import OrderedDict

_MINUTE_MS = 60_000
_MINUTES_KEPT = 20_000
"""Maximum number of user minutes that are counted at a time. An automated user returns long before so many others have passed."""
_AGENT_CHARACTERS = 512
_BOT = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|phantomjs|selenium|puppeteer|playwright|^curl/|wget/|python-requests|python-urllib|aiohttp/|"
    r"python-httpx|scrapy|go-http-client|^java/|libwww|httpclient|okhttp/0|postmanruntime|node-fetch|axios/|lighthouse|pingdom|uptimerobot",
    re.IGNORECASE,
)
"""Cubot is a maker of telephones."""


def is_automated_agent(user_agent: str) -> bool:
    """True if the agent string names a robot or a script.

    >>> is_automated_agent("Mozilla/5.0 (compatible; Examplebot/2.1)"), is_automated_agent("Mozilla/5.0 (Linux; Android 9; CUBOT X19)")
    (True, False)
    """
    return _BOT.search(user_agent[:_AGENT_CHARACTERS]) is not None


class _Minute:
    __slots__ = ("count", "full_at", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = -1
        """The last source offset counted."""
        self.full_at: int | None = None
        """The source offset of the first event above the bound."""


class Throttle:
    """Counts events per user and minute of event time."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minutes: OrderedDict[tuple[int, str, int], _Minute] = OrderedDict()

    def allows(self, pseudonym: str, occurred_ms: int, partition: int, offset: int) -> bool:
        """Count the event at a source position; False if it is one too many.

        An event that is handed over again, after a failure, is not counted again and gets the same answer.
        """
        key = (partition, pseudonym, occurred_ms // _MINUTE_MS)
        minute = self._minutes.get(key)
        if minute is None:
            minute = self._minutes[key] = _Minute()
            if len(self._minutes) > _MINUTES_KEPT:
                self._minutes.popitem(last=False)
        else:
            self._minutes.move_to_end(key)
        if offset > minute.last:
            minute.last = offset
            minute.count += 1
            if minute.count > self._per_minute and minute.full_at is None:
                minute.full_at = offset
        return minute.full_at is None or offset < minute.full_at

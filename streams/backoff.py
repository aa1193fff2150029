"""Trying again: how long to wait between attempts, and the loop around one call that may fail for a while."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Backoff:
    """Waits between attempts: ``first_s``, then each twice the one before, none longer than ``most_s``; ``reset`` begins anew.

    Chance takes up to the share ``jitter`` off each wait, so that all who lost the same broker do not come back at the same moment.
    Without it the waits are always the same, as the simulated schedules of the delivery engine need them.

    >>> backoff = Backoff(0.5, 3.0)
    >>> [backoff.next_s() for _ in range(5)]
    [0.5, 1.0, 2.0, 3.0, 3.0]
    """

    def __init__(self, first_s: float, most_s: float, *, jitter: float = 0.0, chance: Callable[[], float] = random.random) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._jitter, self._chance = jitter, chance
        self._wait_s = 0.0
        self.failures = 0
        """In a row, so far."""

    def next_s(self) -> float:
        """An attempt has failed; seconds to wait before the next one."""
        self.failures += 1
        self._wait_s = min(max(self._first_s, 2 * self._wait_s), self._most_s)
        return self._wait_s * (1.0 - self._jitter * self._chance()) if self._jitter else self._wait_s

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._wait_s, self.failures = 0.0, 0


async def retry(
    attempt: Callable[[], Awaitable[T]],
    *,
    transient: type[Exception] | tuple[type[Exception], ...],
    backoff: Backoff,
    on_retry: Callable[[Exception, float], object] = lambda error, wait_s: None,
    deadline_s: float = math.inf,
    stop: asyncio.Event | None = None,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """What ``attempt`` returns once it does; it is called again after each error that is ``transient``.

    ``on_retry`` hears of each error and of the seconds until the next attempt. The error itself is raised where that attempt would come
    more than ``deadline_s`` after the first, or ``stop`` is set; so is whatever ``pause`` raises, and any other error.
    """
    last_start = monotonic() + deadline_s
    while True:
        try:
            return await attempt()
        except transient as error:
            wait_s = backoff.next_s()
            if monotonic() + wait_s > last_start or (stop is not None and stop.is_set()):
                raise
            on_retry(error, wait_s)
            failure = error
        if stop is None:
            await pause(wait_s)
        elif await is_set_within(stop, wait_s):
            raise failure


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event, though no longer than this; None: for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # not wait_for, which in Python 3.11 may swallow that we are cancelled
            await event.wait()
    return event.is_set()

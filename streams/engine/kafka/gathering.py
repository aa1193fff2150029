"""How long a process under pressure waits before it fetches again, so that batches grow.

A batch of one record costs nearly as much as one of fifty. A stage with time to spare takes each record as it comes, which gives the
shortest latency. A stage whose thread works nearly always, or waits for a processor, gathers. Then records come in fewer and larger
batches. So a stage with time to spare takes no processor time from a stage that has too little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

_FROM, _TO = 0.25, 0.9
"""Shares of the time. Up to the first, nothing is gathered. From the second on, records are gathered for the maximum time."""
_MOST_S = 0.15
_AVERAGE_S = 0.1
_SCHEDSTAT = Path("/proc/self/schedstat")


class Pressure:
    """The share of the time in which the main thread ran or waited for a processor, as an exponential average over a tenth of a second.

    >>> samples = iter([(0.0, 0.0), (0.1, 0.1), (0.2, 0.1)])
    >>> pressure = Pressure(lambda: next(samples))
    >>> round(pressure.share(), 2), round(pressure.share(), 2)
    (0.63, 0.23)
    """

    def __init__(self, read: Callable[[], tuple[float, float]] | None = None) -> None:
        """``read`` tells the seconds on the clock, and those that the thread has run or waited for a processor."""
        self._read = read or (_with_waiting if _SCHEDSTAT.exists() else _running)
        self._at, self._wanted = self._read()
        self._share = 0.0

    def share(self) -> float:
        at, wanted = self._read()
        passed = at - self._at
        if passed > 0:
            weight = 1 - math.exp(-passed / _AVERAGE_S)
            self._share += weight * ((wanted - self._wanted) / passed - self._share)
            self._at, self._wanted = at, wanted
        return self._share


def gather_s(share: float) -> float:
    """How long to gather, in seconds. It grows with the square: little helps at first, and where a machine is full only much does.

    >>> gather_s(0.2), round(gather_s(0.45), 3), round(gather_s(0.65), 3), gather_s(1.0)
    (0.0, 0.014, 0.057, 0.15)
    """
    return _MOST_S * min(1.0, max(0.0, (share - _FROM) / (_TO - _FROM))) ** 2


def _with_waiting() -> tuple[float, float]:
    """As Linux tells it, of the main thread: nanoseconds on a processor, and in line for one
    (https://docs.kernel.org/scheduler/sched-stats.html)."""
    ran, waited, _ = _SCHEDSTAT.read_text().split()
    return time.monotonic(), (int(ran) + int(waited)) / 1e9


def _running() -> tuple[float, float]:
    """Where that is not told: what all threads ran."""
    return time.monotonic(), time.process_time()

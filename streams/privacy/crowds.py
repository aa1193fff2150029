"""Whether enough shoppers share something: k-anonymity (Samarati and Sweeney 1998, https://dataprivacylab.org/dataprivacy/projects/kanonymity/)
of what comes as a stream, where only what came before can be counted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Crowds:
    """Of each combination of attributes, the last ``k`` shoppers that had it, and when. Bounded: the combination that was met longest ago
    is forgotten, and counts from nothing again."""

    def __init__(self, k: int, window_ms: int, kept: int = 20_000) -> None:
        """Shoppers count together whose events lie at most ``window_ms`` apart from the event that asks."""
        self._k = k
        self._window_ms = window_ms
        self._kept = kept
        self._last: OrderedDict[Hashable, dict[int, int]] = OrderedDict()

    def meets(self, combination: Hashable, shopper: int, time_ms: int) -> bool:
        """Takes the shopper (any number that stands for her) in; whether ``k`` of them, this one among them, share the combination.

        >>> crowds = Crowds(2, 60_000)
        >>> [crowds.meets("DE", shopper, time) for shopper, time in [(1, 0), (1, 10), (2, 20), (1, 90_000)]]
        [False, False, True, False]
        """
        times = self._last.get(combination)
        if times is None:
            times = self._last[combination] = {}
            if len(self._last) > self._kept:
                self._last.popitem(last=False)
        else:
            self._last.move_to_end(combination)
        if times.get(shopper, time_ms - 1) < time_ms:
            times.pop(shopper, None)
            times[shopper] = time_ms  # the newest at the end, but for events out of order
            if len(times) > self._k:
                del times[min(times, key=times.__getitem__)]
        return self._is_enough(times, time_ms)

    def knows(self, combination: Hashable, time_ms: int) -> bool:
        """Whether ``k`` shoppers share the combination, without one more."""
        times = self._last.get(combination)
        return times is not None and self._is_enough(times, time_ms)

    def _is_enough(self, times: dict[int, int], time_ms: int) -> bool:
        if len(times) < self._k:
            return False
        return min(times.values()) >= time_ms - self._window_ms and max(times.values()) <= time_ms + self._window_ms


class CommonTexts:
    """Which texts at least ``k`` shoppers have written, of the ``kept`` that were met last. A text is kept as its hash."""

    def __init__(self, k: int, kept: int = 50_000) -> None:
        self._k = k
        self._kept = kept
        self._writers: OrderedDict[int, frozenset[int] | None] = OrderedDict()
        """None where there were enough."""

    def is_common(self, text: str, shopper: int) -> bool:
        """Takes the shopper in; whether she is at least the ``k``-th.

        >>> texts = CommonTexts(2)
        >>> [texts.is_common("red bag", shopper) for shopper in (1, 1, 2, 1)]
        [False, False, True, True]
        """
        name = hash(text)
        if name in self._writers:
            self._writers.move_to_end(name)
            known = self._writers[name]
            if known is None:
                return True
        else:
            known = frozenset()
            if len(self._writers) >= self._kept:
                self._writers.popitem(last=False)
        known |= {shopper}
        is_common = len(known) >= self._k
        self._writers[name] = None if is_common else known
        return is_common

"""Whether enough shoppers share something: k-anonymity (Samarati and Sweeney 1998, https://dataprivacylab.org/dataprivacy/projects/kanonymity/)
of what comes as a stream, where only what came before can be counted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_NEVER = -(2**62)


class _Crowd:
    """Who shares one combination. It is large enough for events between ``since`` and ``until``."""

    __slots__ = ("fresh_until", "since", "times", "until")

    def __init__(self) -> None:
        self.times: dict[int, int] = {}
        """The last ``k`` shoppers and when each was met last, milliseconds."""
        self.since = self.until = self.fresh_until = _NEVER


class Crowds:
    """Of each combination of attributes, the last ``k`` shoppers that had it, and when. Bounded: the combination that was looked at longest
    ago is forgotten, and counts from nothing again."""

    def __init__(self, k: int, window_ms: int, kept: int = 20_000) -> None:
        """Shoppers count together whose events lie at most ``window_ms`` apart from the event that asks. Of a crowd that is large enough
        nobody is looked at for half that time: one that half the window holds is found for certain."""
        self._k = k
        self._window_ms = window_ms
        self._kept = kept
        self._crowds: OrderedDict[Hashable, _Crowd] = OrderedDict()

    def meets(self, combination: Hashable, shopper: int, time_ms: int) -> bool:
        """Takes the shopper (any number that stands for her) in; whether ``k`` of them, this one among them, share the combination.

        >>> crowds = Crowds(2, 60_000)
        >>> [crowds.meets("DE", shopper, time) for shopper, time in [(1, 0), (1, 10), (2, 20), (1, 90_000)]]
        [False, False, True, False]
        """
        crowd = self._crowds.get(combination)
        if crowd is not None and crowd.since <= time_ms <= crowd.fresh_until:
            return True  # it needs nobody more for a while: most events end here
        if crowd is None:
            crowd = self._crowds[combination] = _Crowd()
            if len(self._crowds) > self._kept:
                self._crowds.popitem(last=False)
        else:
            self._crowds.move_to_end(combination)
        times = crowd.times
        known_ms = times.get(shopper)
        if known_ms is None or known_ms < time_ms:
            times[shopper] = time_ms
            if len(times) > self._k:
                del times[min(times, key=times.__getitem__)]
            if len(times) == self._k:
                first_ms, window_ms = min(times.values()), self._window_ms
                crowd.since, crowd.until = max(times.values()) - window_ms, first_ms + window_ms
                crowd.fresh_until = first_ms + window_ms // 2
        return crowd.since <= time_ms <= crowd.until

    def knows(self, combination: Hashable, time_ms: int) -> bool:
        """Whether ``k`` shoppers share the combination, without one more."""
        crowd = self._crowds.get(combination)
        return crowd is not None and crowd.since <= time_ms <= crowd.until


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

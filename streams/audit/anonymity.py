"""How many shoppers share what is told of an event, measured on the topics as whoever reads them finds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from streams.serde.flags import PLACE_WIDENED, PRICE_WIDENED, TIME_WIDENED, WIDE_BANDS

_NOT_TOLD = "?"
"""In place of a price or a place that is kept back: it may be any."""


class Measured(NamedTuple):
    """Of one attribute."""

    attribute: str
    told: int
    """Events that tell it."""
    kept_back: int
    """Events that tell less of it than was known."""
    least: int
    """Shoppers that share what one event tells, at the fewest; 0 where none tells it."""
    below: int
    """Events that tell what fewer than k shoppers share."""


class Anonymity:
    """Takes clean events and training pairs; says for each attribute how many shoppers share what is told.

    Whoever knows that somebody bought at a price, in a country, about a time, looks for events that agree: those that tell the same, and
    those that keep something back and so may be meant as well. The shoppers of these within ``window_ms`` before and after are counted.
    A time is told to all who are present about then.
    """

    def __init__(self, k: int, *, window_ms: int, bucket_ms: int, wide_ms: int) -> None:
        """``bucket_ms`` and ``wide_ms``: what a time is rounded to, and what a widened one is."""
        self.k = k
        self._window_ms, self._bucket_ms, self._wide_ms = window_ms, bucket_ms, wide_ms
        self._alike: dict[int, dict[Hashable, set[str]]] = defaultdict(lambda: defaultdict(set))
        """By window and what is told: pseudonyms."""
        self._told: dict[tuple[int, tuple[Any, ...]], int] = defaultdict(int)
        self._present: dict[int, set[str]] = defaultdict(set)
        self._present_about: dict[int, set[str]] = defaultdict(set)
        """By widened time."""
        self._times: dict[int, int] = defaultdict(int)
        self._kept_back: dict[str, int] = defaultdict(int)
        self._writers: dict[str, set[str]] = defaultdict(set)
        self._learnt: dict[str, int] = defaultdict(int)

    def take_event(self, event: Mapping[str, Any]) -> None:
        """One record of behaviour.clean; events of nobody are passed over."""
        if not event["sealed_id"] or event["pseudonym"].startswith("nobody."):
            return
        who, at_ms, flags = event["pseudonym"], event["occurred_at"], event["flags"]
        price: Hashable = (event["price_band"], event["currency"])
        place: Hashable = event["country"]
        if PRICE_WIDENED in flags:
            price = _NOT_TOLD if price == (None, None) else (event["price_band"], event["currency"], WIDE_BANDS)
        if PLACE_WIDENED in flags:
            place = _NOT_TOLD
        self._alike[at_ms // self._window_ms][price, place].add(who)
        if (price not in ((None, None), _NOT_TOLD)) or place not in (None, _NOT_TOLD):
            self._told[at_ms // self._window_ms, (price, place)] += 1
        for flag in (PRICE_WIDENED, PLACE_WIDENED, TIME_WIDENED):
            self._kept_back[flag] += flag in flags
        if TIME_WIDENED in flags:
            self._present_about[at_ms // self._wide_ms].add(who)
        else:
            self._present[at_ms // self._bucket_ms].add(who)
            self._times[at_ms // self._bucket_ms] += 1
        if event["query"] is not None:
            self._writers[event["query"]].add(who)

    def take_pair(self, pair: Mapping[str, Any]) -> None:
        """One record of training.pairs."""
        for past in pair["history"]:
            if past["kind"] == "query":
                self._learnt[past["ref"]] += 1
                self._writers[past["ref"]].add(pair["pseudonym"])

    def measured(self) -> list[Measured]:
        """Price and place, time, and queries that are learnt from."""
        crowds = [(len(self._candidates(window, told)), count) for (window, told), count in self._told.items()]
        times = [(len(self._about(bucket)), count) for bucket, count in self._times.items()]
        queries = [(len(self._writers[query]), count) for query, count in self._learnt.items()]
        back = self._kept_back
        return [
            self._of("price and place", crowds, back[PRICE_WIDENED] + back[PLACE_WIDENED]),
            self._of("time", times, back[TIME_WIDENED]),
            self._of("queries in training pairs", queries, 0),
        ]

    def _of(self, attribute: str, crowds: list[tuple[int, int]], kept_back: int) -> Measured:
        return Measured(
            attribute,
            sum(count for _, count in crowds),
            kept_back,
            min((size for size, _ in crowds), default=0),
            sum(count for size, count in crowds if size < self.k),
        )

    def _candidates(self, window: int, told: tuple[Any, ...]) -> set[str]:
        found: set[str] = set()
        for near in (window - 1, window, window + 1):
            for other, pseudonyms in self._alike.get(near, {}).items():
                if _may_be(other, told):  # type: ignore[arg-type]
                    found |= pseudonyms
        return found

    def _about(self, bucket: int) -> set[str]:
        near = (bucket - 1, bucket, bucket + 1)
        wide = {one * self._bucket_ms // self._wide_ms for one in near}
        return set().union(*(self._present.get(one, set()) for one in near), *(self._present_about.get(one, set()) for one in wide))


def _may_be(other: tuple[Any, Any], told: tuple[Any, Any]) -> bool:
    """Whether both may be told of the same purchase."""
    return _price_may_be(other[0], told[0]) and (other[1] == told[1] or _NOT_TOLD in (other[1], told[1]))


def _price_may_be(one: Any, other: Any) -> bool:
    if one == other or _NOT_TOLD in (one, other):
        return True
    if one[:2] == (None, None) or other[:2] == (None, None) or one[1] != other[1] or None in (one[0], other[0]):
        return False
    return bool((len(one) == 3 or len(other) == 3) and one[0] // WIDE_BANDS == other[0] // WIDE_BANDS)

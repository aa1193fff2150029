"""Widens what few shoppers share: the price, the place and the time of an event, as far as k shoppers share what is left of it.

Who knows when somebody bought something, at what price and where, finds with that at least k shoppers. What is counted is what this
worker has passed on, so the true number is never smaller. The memory is filled at a take-over from the last clean events.
"""

from __future__ import annotations

from collections import Counter

from streams.privacy.crowds import CommonTexts, Crowds
from streams.serde.flags import PLACE_WIDENED, PRICE_WIDENED, RARE_QUERY, SOON, TIME_WIDENED, WIDE_BANDS
from streams.serde.records import CleanEvent
from streams.stages.ingest.asks import Asks
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.times import floor_to


class Generaliser:
    """Of one worker of ingest. With ``k`` 1 nothing is widened."""

    def __init__(self, rules: IngestRules) -> None:
        self._is_on = rules.k > 1
        self._time_ms = max(rules.k_time_ms, rules.time_bucket_ms)
        self._alike = Crowds(rules.k, rules.k_window_ms)
        self._present = Crowds(rules.k, rules.time_bucket_ms)
        self._texts = CommonTexts(rules.k)
        self._asks = Asks(rules.debounce_ms)
        self._counts: Counter[str] = Counter()

    def apply(self, event: CleanEvent, shopper: str | None, occurred_ms: int, place: int, offset: int) -> None:
        """Change the event in place. ``shopper``: whose it is; None where that is nobody, or may not be counted. ``place`` and
        ``offset`` tell the record."""
        if not self._is_on:
            return
        number = None if shopper is None else hash(shopper)
        self._widen_price_and_place(event, number, occurred_ms)
        is_present = self._present.knows(None, occurred_ms) if number is None else self._present.meets(None, number, occurred_ms)
        if not is_present:
            event["occurred_at"] = floor_to(occurred_ms, self._time_ms)
            self._flag(event, TIME_WIDENED)
            if shopper is not None and not self._asks.allows(shopper, occurred_ms, place, offset):
                event["flags"].append(SOON)
        query = event["query"]
        if query is not None and number is not None and not self._texts.is_common(query, number):
            self._flag(event, RARE_QUERY)

    def take_counts(self) -> Counter[str]:
        """How many events were given which flag since it was asked last."""
        counts, self._counts = self._counts, Counter()
        return counts

    def recall(self, event: CleanEvent) -> None:
        """Count an event that some worker passed on before, with what is left of it."""
        if not self._is_on or not event["sealed_id"]:
            return
        number, time_ms = hash(event["pseudonym"]), event["occurred_at"]
        band, currency, country = event["price_band"], event["currency"], event["country"]
        if PRICE_WIDENED not in event["flags"] and PLACE_WIDENED not in event["flags"]:
            self._meets(number, time_ms, band, currency, country)
        if event["query"] is not None:
            self._texts.is_common(event["query"], number)

    def forget(self, shopper: str) -> None:
        self._asks.forget(shopper)

    def _flag(self, event: CleanEvent, flag: str) -> None:
        event["flags"].append(flag)
        self._counts[flag] += 1

    def _widen_price_and_place(self, event: CleanEvent, number: int | None, occurred_ms: int) -> None:
        band, currency, country = event["price_band"], event["currency"], event["country"]
        if band is None and currency is None and country is None:
            return
        fits = self._meets(number, occurred_ms, band, currency, country)
        if fits == 0:
            return
        if band is not None or currency is not None:
            event["price_band"] = _wide(band) if fits == 1 else None
            event["currency"] = currency if fits == 1 else None
            self._flag(event, PRICE_WIDENED)
        if fits == 3 and country is not None:
            event["country"] = None
            self._flag(event, PLACE_WIDENED)

    def _meets(self, number: int | None, time_ms: int, band: int | None, currency: str | None, country: str | None) -> int:
        """How far to widen: 0 not at all, 1 to wide bands, 2 to no price, 3 to neither price nor place."""
        steps = ((band, currency, country), (_wide(band), currency, country, WIDE_BANDS), (None, None, country))
        for fits, step in enumerate(steps):
            # A step that is not looked at is not counted: there may be more shoppers than are known, never fewer.
            is_enough = self._alike.knows(step, time_ms) if number is None else self._alike.meets(step, number, time_ms)
            if is_enough or (fits == 2 and country is None):
                return fits
        return 3


def _wide(band: int | None) -> int | None:
    """The lowest of the bands that become one."""
    return None if band is None else floor_to(band, WIDE_BANDS)

"""The shop as it stood at past moments: profiles, popularity and pairs, rebuilt from training pairs by the stages' own rules."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from streams.ranking.popularity import DecayedCount
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.request import Request
from streams.ranking.rules import CODES, DAY_MS, PURCHASE, ProfileRules
from streams.ranking.together import ItemPairs, count_purchase, publishable
from streams.ranking.together_table import TogetherTable
from streams.serde.records import CleanEvent, TrainingPair
from streams.stages.profile.history import apply_event, unwanted
from streams.stages.profile.profile import Profile

VISIT_MS = 3_600_000
"""What follows the first interaction within it is one visit."""
DAILY = 20
"""Interactions of a shopper and day that count for the choice of moments."""
GRADES = {"purchase": 3, "cart": 2, "click": 1, "view": 1}
"""How much an outcome counts as a label."""


class Wanted(NamedTuple):
    """What a shopper turned to next."""

    shopper: str
    request: Request
    grades: Mapping[str, int]
    """By item, those that could have been recommended; never empty."""
    at_ms: int
    """When that visit began."""


class Interactions(NamedTuple):
    """What shoppers liked before a moment, each shopper and item once."""

    shoppers: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    """The largest, decayed to the moment."""
    names: Sequence[str]
    """Of the items."""
    people: int
    """How many shoppers there are."""


class PastShop:
    """Goes through the pairs once, in order of time, and stops at moments."""

    def __init__(self, pairs: Iterable[TrainingPair], rules: ProfileRules, *, exclude_seen: bool) -> None:
        """``exclude_seen``: nothing that a shopper ever turned to is to be recommended to her, as in a backtest.

        Pairs of the same moment keep their order: an order by name would change with the key of the pseudonyms.
        """
        own = [pair for pair in pairs if pair["outcome"] in CODES]
        self._pairs = sorted([*own, *_return_pairs(own)], key=lambda pair: pair["occurred_at"])
        self._rules = replace(rules, recommend=False)
        self._exclude_seen = exclude_seen
        self._next = 0
        self._profiles: dict[str, Profile] = {}
        self._counts: dict[str, DecayedCount] = {}
        self._together: dict[str, ItemPairs] = {}
        self._seen: dict[str, set[str]] = {}
        self._later: dict[str, list[TrainingPair]] = {}
        for pair in self._pairs:
            if pair["reward"] > 0:
                self._later.setdefault(pair["pseudonym"], []).append(pair)
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._liked: list[tuple[int, int, float, int]] = []

    def moments(self, count: int, first: float, last: float) -> list[int]:
        """So many times, milliseconds, at equal shares of the interactions from ``first`` to ``last``. A shopper counts at most
        ``DAILY`` times a day: nobody can draw the moments to where she clicks."""
        counted: Counter[tuple[str, int]] = Counter()
        times = []
        for pair in self._pairs:
            if pair["reward"] > 0:
                day = (pair["pseudonym"], pair["occurred_at"] // DAY_MS)
                counted[day] += 1
                times += [pair["occurred_at"]] if counted[day] <= DAILY else []
        return sorted({int(at) for at in np.quantile(times, np.linspace(first, last, count))}) if times else []

    @property
    def end_ms(self) -> int:
        """Just after the last pair."""
        return self._pairs[-1]["occurred_at"] + 1 if self._pairs else 0

    def shared_items(self, shoppers: int) -> int:
        """Items that at least so many shoppers turn to, first to last: a catalogue's size as it matters to weights between items."""
        counted = Counter(item for item, _ in {(pair["item_id"], pair["pseudonym"]) for own in self._later.values() for pair in own})
        return sum(count >= shoppers for count in counted.values())

    def advance(self, until_ms: int) -> None:
        """Apply everything before that time."""
        while self._next < len(self._pairs) and self._pairs[self._next]["occurred_at"] < until_ms:
            self._apply(self._pairs[self._next], self._next)
            self._next += 1

    def _apply(self, pair: TrainingPair, offset: int) -> None:
        shopper, item, time_ms, code = pair["pseudonym"], pair["item_id"], pair["occurred_at"], CODES[pair["outcome"]]
        rules, profile = self._rules, self._profiles.setdefault(shopper, Profile())
        before_ms = profile.bought.get(item)
        event = {"event_type": pair["outcome"], "event_id": pair["pair_id"], "occurred_at": time_ms, "item_id": item, "query": None}
        if not apply_event(profile, cast(CleanEvent, event), offset, rules):
            return
        self._seen.setdefault(shopper, set()).add(item)
        bought = code == PURCHASE
        if bought:
            together = self._together.setdefault(item, ItemPairs(partners={}))
            count_purchase(together, item, profile.bought, before_ms, time_ms, rules.together)
        weight = rules.popularity_weights[code]
        if weight:
            known = self._counts.get(item) or DecayedCount(0.0, time_ms, -1)
            self._counts[item] = known.plus(
                weight, time_ms, offset, rules.popularity_half_life_ms, bought=bought, new_buyer=bought and before_ms is None
            )
        liked = rules.history_weights[code]
        if liked > 0:
            user, number = self._users.setdefault(shopper, len(self._users)), self._items.setdefault(item, len(self._items))
            self._liked.append((user, number, liked, time_ms))

    def popularity(self) -> PopularityTable:
        """As the workers would have it."""
        table = PopularityTable(None, self._rules.popularity_half_life_ms)
        for item, count in self._counts.items():
            table.put(0, item, count)
        return table

    def together(self, at_ms: int) -> TogetherTable:
        """As the workers would have it, of one partition that publishes at once."""
        table = TogetherTable(None, self._rules.together.half_life_ms, at_once=1 << 62)
        for number, (item, found) in enumerate(self._together.items()):
            total, counts = publishable(found, at_ms, self._rules.together)
            table.put(0, item, total, counts, as_of_ms=at_ms, source_offset=number)
        table.refresh()
        return table

    def interactions(self, at_ms: int) -> Interactions:
        """All that was liked so far."""
        columns = np.array(self._liked, np.float64).reshape(-1, 4)
        users, items = columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64)
        weights = columns[:, 2] * 2.0 ** ((columns[:, 3] - at_ms) / self._rules.half_life_ms)
        keys = users * max(1, len(self._items)) + items
        order = np.lexsort((weights, keys))
        last = order[np.append(np.diff(keys[order]) != 0, True)] if len(order) else order
        return Interactions(users[last], items[last], weights[last], list(self._items), len(self._users))

    def wanted(self, at_ms: int, until_ms: int, most: int) -> list[Wanted]:
        """For shoppers who are known by now: what each turned to on her next visit before ``until_ms`` that she could have been
        recommended. At most ``most`` shoppers, spread evenly."""
        found = []
        for shopper, profile in self._profiles.items():
            if not profile.items:
                continue
            excluded = set(unwanted(profile, None, at_ms, self._rules))
            if self._exclude_seen:
                excluded |= self._seen.get(shopper, set())
            visit = self._next_visit(shopper, at_ms, until_ms, excluded)
            if visit is not None:
                begun_ms, grades = visit
                request = Request(list(profile.items), list(profile.items.values()), [], None, sorted(excluded), at_ms)
                found.append(Wanted(shopper, request, grades, begun_ms))
        step = max(1.0, len(found) / most)
        return [found[int(place * step)] for place in range(min(most, len(found)))]

    def _next_visit(self, shopper: str, at_ms: int, until_ms: int, excluded: set[str]) -> tuple[int, dict[str, int]] | None:
        own = self._later.get(shopper, [])
        place = bisect_left(own, at_ms, key=lambda pair: pair["occurred_at"])
        while place < len(own) and own[place]["occurred_at"] < until_ms:
            begun = own[place]["occurred_at"]
            grades: dict[str, int] = {}
            end = min(until_ms, begun + VISIT_MS + 1)
            while place < len(own) and own[place]["occurred_at"] < end:
                pair = own[place]
                if pair["item_id"] not in excluded:
                    grades[pair["item_id"]] = max(grades.get(pair["item_id"], 0), GRADES.get(pair["outcome"], 1))
                place += 1
            if grades:
                return begun, grades
        return None


def returns_in(pairs: Iterable[TrainingPair]) -> set[tuple[str, str, int]]:
    """What shoppers sent back: (pseudonym, item, time in milliseconds). No pair tells of it, but the histories of later pairs do."""
    return {
        (pair["pseudonym"], past["ref"], pair["occurred_at"] - past["age_ms"])
        for pair in pairs
        for past in pair["history"]
        if past["event_type"] == "return"
    }


def _return_pairs(pairs: Sequence[TrainingPair]) -> list[TrainingPair]:
    """A pair for each return; only profiles take notice of them."""
    if not pairs:
        return []
    done = {**pairs[0], "history": [], "outcome": "return", "reward": 0.0, "recommendation_id": None}
    made = []
    for pseudonym, item, at in sorted(returns_in(pairs)):
        name = blake2b("\x00".join((pseudonym, item, str(at))).encode(), digest_size=16).hexdigest()
        own = {"pair_id": name, "pseudonym": pseudonym, "item_id": item, "occurred_at": at}
        made.append(cast(TrainingPair, {**done, **own}))
    return made

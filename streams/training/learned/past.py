"""The shop as it stood at past moments: profiles, popularity and pairs, rebuilt from training pairs by the stages' own rules."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import nlargest
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
from streams.stages.profile.influence import is_newcomer, popularity_weights
from streams.stages.profile.profile import Profile
from streams.training.learned.past_events import PastEvent, past_events

VISIT_MS = 3_600_000
"""What follows the first interaction within it is one visit."""
SEARCH_MS = 600_000
"""What a shopper turns to within it after a search answers the search."""
MOST_TEXTS = 20_000
"""Searches whose texts are encoded for a fit."""
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
    """When that visit began, or the search was asked."""


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
        """``exclude_seen``: nothing that a shopper ever turned to is to be recommended to her, as in a backtest."""
        self._all = past_events(pairs)
        self._rules = replace(rules, recommend=False)
        self._exclude_seen = exclude_seen
        self._next = 0
        self._profiles: dict[str, Profile] = {}
        self._counts: dict[str, DecayedCount] = {}
        self._together: dict[str, ItemPairs] = {}
        self._seen: dict[str, set[str]] = {}
        self._later: dict[str, list[PastEvent]] = {}
        """Of each shopper, what she turned to."""
        self._searches: dict[str, list[PastEvent]] = {}
        for one in self._all:
            if one.reward > 0:
                self._later.setdefault(one.shopper, []).append(one)
            elif one.did == "search":
                self._searches.setdefault(one.shopper, []).append(one)
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._liked: list[tuple[int, int, float, int]] = []

    def moments(self, count: int, first: float, last: float) -> list[int]:
        """So many times, milliseconds, at equal shares of the interactions from ``first`` to ``last``. A shopper counts at most
        ``DAILY`` times a day: nobody can draw the moments to where she clicks."""
        counted: Counter[tuple[str, int]] = Counter()
        times = []
        for one in self._all:
            if one.reward > 0:
                day = (one.shopper, one.at_ms // DAY_MS)
                counted[day] += 1
                times += [one.at_ms] if counted[day] <= DAILY else []
        return sorted({int(at) for at in np.quantile(times, np.linspace(first, last, count))}) if times else []

    @property
    def end_ms(self) -> int:
        """Just after the last interaction."""
        return self._all[-1].at_ms + 1 if self._all else 0

    @property
    def texts(self) -> list[str]:
        """Of the last ``MOST_TEXTS`` searches, each once."""
        latest = nlargest(MOST_TEXTS, (one for own in self._searches.values() for one in own), key=_time)
        return sorted({one.ref for one in latest})

    def shared_items(self, shoppers: int) -> int:
        """Items that at least so many shoppers turn to, first to last: a catalogue's size as it matters to weights between items."""
        counted = Counter(item for item, _ in {(one.ref, shopper) for shopper, own in self._later.items() for one in own})
        return sum(count >= shoppers for count in counted.values())

    def advance(self, until_ms: int) -> None:
        """Apply everything before that time."""
        while self._next < len(self._all) and self._all[self._next].at_ms < until_ms:
            self._apply(self._all[self._next], self._next)
            self._next += 1

    def _apply(self, one: PastEvent, offset: int) -> None:
        shopper, item, time_ms, code = one.shopper, one.ref, one.at_ms, CODES[one.did]
        rules, profile = self._rules, self._profiles.setdefault(shopper, Profile())
        is_search = one.did == "search"
        event = {"event_type": one.did, "event_id": one.name, "occurred_at": time_ms, "item_id": one.item_id}
        before_ms = profile.bought.get(item)
        if not apply_event(profile, cast(CleanEvent, {**event, "query": one.ref if is_search else None}), offset, rules) or is_search:
            return
        self._seen.setdefault(shopper, set()).add(item)
        bought = code == PURCHASE
        if bought:
            together = self._together.setdefault(item, ItemPairs(partners={}))
            count_purchase(together, item, profile.bought, before_ms, time_ms, rules.together)
        weights = popularity_weights(profile, item, code, time_ms, rules)
        if weights is not None:
            known = self._counts.get(item) or DecayedCount(0.0, time_ms, -1)
            self._counts[item] = known.plus(
                weights[0],
                time_ms,
                offset,
                rules.popularity_half_life_ms,
                others=weights[1:],
                bought=bought,
                new_buyer=bought and before_ms is None,
                is_newcomer=is_newcomer(profile),
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
                found.append(Wanted(shopper, _request(profile, None, excluded, at_ms), grades, begun_ms))
        return _spread(found, most)

    def searched(self, at_ms: int, until_ms: int, most: int) -> list[Wanted]:
        """For shoppers who search before ``until_ms``, known by now or not: the next search after which she turned to something that could
        have answered it. At most ``most`` shoppers, spread evenly."""
        found = []
        for shopper, searches in self._searches.items():
            profile = self._profiles.get(shopper, Profile())
            excluded = set(unwanted(profile, None, at_ms, self._rules))
            for search in searches[bisect_left(searches, at_ms, key=_time) :]:
                if search.at_ms + SEARCH_MS >= until_ms:
                    break
                grades = self._turned_to(shopper, search.at_ms, search.at_ms + SEARCH_MS + 1, excluded)
                if grades:
                    found.append(Wanted(shopper, _request(profile, search.ref, excluded, at_ms), grades, search.at_ms))
                    break
        return _spread(found, most)

    def _next_visit(self, shopper: str, at_ms: int, until_ms: int, excluded: set[str]) -> tuple[int, dict[str, int]] | None:
        own = self._later.get(shopper, [])
        place = bisect_left(own, at_ms, key=_time)
        while place < len(own) and (begun := own[place].at_ms) < until_ms:
            end = min(until_ms, begun + VISIT_MS + 1)
            grades = self._turned_to(shopper, begun, end, excluded)
            if grades:
                return begun, grades
            place = bisect_left(own, end, key=_time)
        return None

    def _turned_to(self, shopper: str, from_ms: int, to_ms: int, excluded: set[str]) -> dict[str, int]:
        """Grades by item."""
        own = self._later.get(shopper, [])
        grades: dict[str, int] = {}
        for one in own[bisect_left(own, from_ms, key=_time) : bisect_left(own, to_ms, key=_time)]:
            if one.ref not in excluded:
                grades[one.ref] = max(grades.get(one.ref, 0), GRADES.get(one.did, 1))
        return grades


def _time(one: PastEvent) -> int:
    return one.at_ms


def _request(profile: Profile, query: str | None, excluded: set[str], at_ms: int) -> Request:
    """As the profile stage makes it: the query itself is not part of the history."""
    queries = [(text, entry) for text, entry in profile.queries.items() if text != query]
    return Request(list(profile.items), list(profile.items.values()), queries, query, sorted(excluded), at_ms)


def _spread(found: list[Wanted], most: int) -> list[Wanted]:
    step = max(1.0, len(found) / most)
    return [found[int(place * step)] for place in range(min(most, len(found)))]

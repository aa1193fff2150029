"""The data for judging both models: the catalogue as it is now, and the popularity at each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.engine.ports import FloatArray
from streams.ranking.rules import CODES, DAY_MS, POPULARITY_WEIGHTS, ProfileRules
from streams.ranking.together import ItemPairs, TogetherRules, count_purchase, publishable
from streams.ranking.together_table import TogetherTable
from streams.serde.records import TrainingPair
from streams.stages.profile.influence import breadth, missing
from streams.training.evaluation.cases import Case, EvaluationCatalogue, served_vectors
from streams.training.evaluation.popularity import Popularity, plausible, snapshots

Encode = Callable[[list[str]], FloatArray]
"""Texts to float32 [n, dimension], unit length."""
_MOMENTS = 500
_CELLS = 20_000_000
"""Most counts in the snapshots of popularity (160 MB)."""


@dataclass(frozen=True)
class ItemFacts:
    """What is known of an item beside its id."""

    text: str
    category: str | None = None
    recommendable: bool = True
    price_band: int | None = None


@dataclass(frozen=True)
class EvaluationData:
    """Items by id, and the pairs' interactions with them."""

    items: Mapping[str, ItemFacts]
    popularity: Popularity
    interactions: npt.NDArray[np.float64]
    """[items]: until the cases to be judged begin."""
    together: TogetherTable | None = None
    """Until then, too."""

    @cached_property
    def texts(self) -> dict[str, str]:
        """Item id to text."""
        return {item: facts.text for item, facts in self.items.items()}

    def catalogue(self, encode: Encode, cases: Iterable[Case], texts: Iterable[str] = ()) -> EvaluationCatalogue:
        """All items, the cases' queries, and more texts of queries, under one model."""
        asked_for = (part.ref for case in cases for part in case.history if part.kind == "query")
        queries = list(dict.fromkeys((*asked_for, *texts)))
        vectors = encode(list(self.texts.values()))
        asked = encode(queries) if queries else np.zeros((0, vectors.shape[1]), np.float32)
        served = served_vectors(vectors, asked)
        return EvaluationCatalogue(
            ids=list(self.items),
            vectors=served.items,
            popularity=self.popularity,
            interactions=self.interactions,
            categories=[facts.category for facts in self.items.values()],
            queries=dict(zip(queries, served.queries, strict=True)),
            together=self.together,
            price_bands=[facts.price_band for facts in self.items.values()],
            recommendable=np.array([facts.recommendable for facts in self.items.values()], np.bool_),
        )


def build_evaluation_data(
    items: Mapping[str, ItemFacts], pairs: Sequence[TrainingPair], *, judged_from_ms: int, cases: Sequence[Case], rules: ProfileRules
) -> EvaluationData:
    """``cases``: those that will be judged, for whose times popularity is counted (at no more than 500 moments)."""
    rows = {item: row for row, item in enumerate(items)}
    known = [(rows[one.item], one.weight, one.at_ms, one.is_newcomer) for one in _counted(pairs, rules) if one.item in rows]
    places = np.array([row for row, _, _, _ in known], np.intp)
    weights = np.array([weight for _, weight, _, _ in known], np.float64)
    times = np.array([at for _, _, at, _ in known], np.int64)
    is_new = np.array([is_newcomer for _, _, _, is_newcomer in known], np.bool_)
    moments = np.unique(np.array([case.at_ms for case in cases] or [judged_from_ms], np.int64))
    most = max(2, min(_MOMENTS, _CELLS // max(1, len(items))))
    if len(moments) > most:
        moments = np.unique(np.linspace(moments[0], moments[-1], most).astype(np.int64))
    at_ms, half_life_ms = moments.tolist(), rules.popularity_half_life_ms
    everybody = snapshots(places, weights, times, at_ms=at_ms, items=len(items), half_life_ms=half_life_ms)
    newcomers = snapshots(places[is_new], weights[is_new], times[is_new], at_ms=at_ms, items=len(items), half_life_ms=half_life_ms)
    return EvaluationData(
        items=items,
        popularity=plausible(everybody, newcomers),
        together=bought_together(pairs, rules.together, until_ms=judged_from_ms),
        interactions=np.bincount(places[times < judged_from_ms], minlength=len(items)).astype(np.float64),
    )


class _Counted(NamedTuple):
    item: str
    weight: float
    at_ms: int
    is_newcomer: bool


def _counted(pairs: Sequence[TrainingPair], rules: ProfileRules) -> list[_Counted]:
    """What is added to an item's popularity, and when, of all interactions in order of time. As in the profile stage, a shopper counts in
    an item no more than her weightiest interaction would by itself, and less with her first items."""
    found = []
    items: dict[str, set[str]] = {}
    days: dict[str, set[int]] = {}
    before: dict[tuple[str, str], dict[int, int]] = {}
    for pair in sorted(pairs, key=lambda pair: pair["occurred_at"]):
        code, at_ms = CODES.get(pair["outcome"]), pair["occurred_at"]
        if pair["reward"] <= 0 or code is None:
            continue
        own = before.setdefault((pair["pseudonym"], pair["item_id"]), {})
        weight = POPULARITY_WEIGHTS[code]
        if own:
            counting = [(POPULARITY_WEIGHTS[did], at_ms - did_ms) for did, did_ms in own.items()]
            weight = missing(weight, counting, rules.popularity_half_life_ms)
        own[code] = at_ms
        touched = items.setdefault(pair["pseudonym"], set())
        touched.add(pair["item_id"])
        active = days.setdefault(pair["pseudonym"], set())
        active.add(at_ms // DAY_MS)
        share = breadth(len(touched), rules.popularity_breadth)
        found.append(_Counted(pair["item_id"], weight * share, at_ms, len(active) <= 1))
    return found


def bought_together(pairs: Sequence[TrainingPair], rules: TogetherRules, *, until_ms: int) -> TogetherTable:
    """What the profile stage would have counted of these pairs' purchases before that time, in one partition."""
    purchases = sorted((p["occurred_at"], p["pseudonym"], p["item_id"]) for p in pairs if p["outcome"] == "purchase" and p["reward"] > 0)
    counted: dict[str, ItemPairs] = {}
    shoppers: dict[str, dict[str, int]] = {}
    table = TogetherTable(None, rules.half_life_ms)
    for time_ms, shopper, item in purchases:
        if time_ms >= until_ms:
            break
        bought = shoppers.setdefault(shopper, {})
        before_ms = bought.pop(item, None)
        bought[item] = time_ms
        count_purchase(counted.setdefault(item, ItemPairs(partners={})), item, bought, before_ms, time_ms, rules)
    for number, (item, found) in enumerate(counted.items()):
        total, counts = publishable(found, until_ms, rules)
        table.put(0, item, total, counts, as_of_ms=until_ms, source_offset=number)
    table.refresh()
    return table

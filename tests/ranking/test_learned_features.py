"""Levels, and each feature beside a slow plain reference on a small shop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.ports import FloatArray
from streams.ranking.embedding import embed, scratch_for
from streams.ranking.learned import features
from streams.ranking.learned.batch import Pairs, gather, reach, values
from streams.ranking.learned.features import FEATURES, LEVELS, NAMES, PLACE, Feature, levels, schema, value_of
from streams.ranking.popularity import DAY_MS
from streams.ranking.request import Request
from streams.ranking.together_table import NOTHING, Together
from tests.support.learned_shop import ITEMS, QUERIES, RULES, request_of, shop

any_feature = st.sampled_from(FEATURES)


def level_of(feature: Feature, value: float) -> int:
    row = np.zeros((1, len(FEATURES)), np.float32)
    row[0, PLACE[feature.name]] = value
    return int(levels(row)[0, PLACE[feature.name]])


@given(any_feature, st.floats(width=32))
def test_every_number_has_a_level_and_order_is_kept(feature: Feature, value: float) -> None:
    level = level_of(feature, value)
    assert 0 <= level < LEVELS
    if math.isnan(value):
        assert level == 0
    else:
        assert level_of(feature, value_of(feature, 0) - 1) <= level <= level_of(feature, math.inf)
        after = value if value > 1e38 else float(np.nextafter(np.float32(value), np.float32(np.inf), dtype=np.float32))
        assert level_of(feature, after) >= level


@pytest.mark.parametrize("feature", FEATURES, ids=NAMES)
def test_ends_of_the_scale(feature: Feature) -> None:
    assert [level_of(feature, value) for value in (math.nan, -math.inf, math.inf)] == [0, 0, 255]
    assert [level_of(feature, value_of(feature, level) + off) for level, off in ((0, -1000.0), (255, 1000.0))] == [0, 255]


@pytest.mark.parametrize("feature", FEATURES, ids=NAMES)
def test_the_value_of_a_level_has_this_level(feature: Feature) -> None:
    assert [level_of(feature, value_of(feature, level)) for level in range(LEVELS)] == list(range(LEVELS))
    steps = [value_of(feature, level) for level in range(LEVELS)]
    assert steps == sorted(set(steps))


def test_levels_of_a_column_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(0, 3, (50, len(FEATURES))).astype(np.float32)
    whole = levels(table)
    for place, feature in enumerate(FEATURES):
        assert whole[:, place].tolist() == [level_of(feature, value) for value in table[:, place].tolist()]


@pytest.mark.parametrize("change", [{"low": -0.5}, {"high": 2.5}, {"curve": "log"}, {"name": "other"}])
def test_the_schema_changes_with_what_decides_a_level(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    before = schema()
    monkeypatch.setattr(features, "FEATURES", (*FEATURES[:3], FEATURES[3]._replace(**change), *FEATURES[4:]))
    assert schema() != before


def test_the_schema_changes_with_the_order_but_not_with_words_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema()
    monkeypatch.setattr(features, "FEATURES", (FEATURES[0]._replace(meaning="said otherwise"), *FEATURES[1:]))
    assert schema() == before
    monkeypatch.setattr(features, "FEATURES", (FEATURES[1], FEATURES[0], *FEATURES[2:]))
    assert schema() != before


def computed(requests: list[Request]) -> FloatArray:
    """All features of all items for each shopper, [shoppers, items, features]."""
    matrix, popularity, together, related = shop()
    scratch = scratch_for(requests, matrix.dimension)
    embeddings = [embed(r, matrix, QUERIES, scratch, half_life_ms=RULES.half_life_ms, blend=RULES.search_blend) for r in requests]
    batch = gather(requests, embeddings, np.stack([one.vector for one in embeddings]), matrix, RULES.together.session_ms)
    count = len(matrix.ids)
    pairs = Pairs(np.arange(len(requests) + 1) * count, np.tile(np.arange(count), len(requests)))
    cells = np.array([popularity.cell(request.at_ms) for request in requests])
    activity = popularity.activity(matrix, cells[pairs.users], pairs.rows)
    matches = [NOTHING if r.query is None else Together(*matrix.terms.match(r.query), np.zeros(0, np.int64)) for r in requests]
    found = values(batch, matrix, pairs, activity, reach(batch, together, related, matrix), matches)
    return found.reshape(len(requests), count, len(FEATURES))


class Plain:
    """The same for one shopper, one item at a time, by the words of each feature's meaning."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.matrix, self.popularity, self.together, related = shop()
        ends = related.neighbours.starts
        self.related = {
            (related.items[n], related.items[int(related.neighbours.others[at])]): float(related.neighbours.strengths[at])
            for n in range(len(related.items))
            for at in range(ends[n], ends[n + 1])
        }
        known = [(item, entry) for item, entry in zip(request.items, request.item_entries, strict=True) if item in self.matrix.rows]
        newest = max((entry.time_ms for _, entry in [*known, *request.queries]), default=0)

        def decayed(entry: Any) -> float:
            return float(entry.weight * 2 ** ((entry.time_ms - newest) / RULES.half_life_ms))

        self.own = {item: decayed(entry) for item, entry in known}
        parts = [(weight, self.vector(item)) for item, weight in self.own.items()]
        parts += [(decayed(entry), QUERIES[text].astype(float)) for text, entry in request.queries]
        history = sum((weight * vector for weight, vector in parts), np.zeros(self.matrix.dimension))
        length = float(np.linalg.norm(history)) or 1.0
        weights = [weight / length for weight, _ in parts]
        self.user = history / length
        if request.query is not None:
            blend = RULES.search_blend if history.any() else 1.0
            self.user = blend * QUERIES[request.query] + (1 - blend) * self.user
            weights = [(1 - blend) * weight for weight in weights] + [blend]
            self.user /= np.linalg.norm(self.user)
        whole = sum(map(abs, weights)) or 1.0
        self.shares = {item: max(0.0, weight) / whole for item, weight in zip(self.own, weights, strict=False)}
        largest = max(map(abs, self.own.values()), default=1.0)
        self.relative = {item: weight / largest for item, weight in self.own.items()}
        liked_ms = {item: entry.time_ms for item, entry in known if entry.weight > 0}
        last_ms = max(liked_ms.values(), default=0)
        self.session = {item for item, time_ms in liked_ms.items() if time_ms >= last_ms - RULES.together.session_ms}

    def vector(self, item: str) -> Any:
        return self.matrix.vectors[self.matrix.rows[item]].astype(float)

    def features(self, item: str) -> dict[str, float]:
        row = self.matrix.rows[item]
        liked = {other: weight for other, weight in self.relative.items() if weight > 0}
        last = sum((self.relative[other] * self.vector(other) for other in self.session), np.zeros(self.matrix.dimension))
        visit = sum(self.relative[other] for other in self.session)
        pair = {other: self.together.strengths(other).get(item, 0.0) for other in self.own}
        cell = self.popularity.cell(self.request.at_ms)
        parts = [one for partition in range(2) if (one := self.popularity.latest(partition, item)) is not None]

        def count(half_life_ms: float, of: Any) -> float:
            return sum(of(one) * 2 ** ((one.as_of_ms - cell) / half_life_ms) for one in parts)

        two, fifteen, sixty = (count(days * DAY_MS, lambda one, n=n: one.others[n]) for n, days in enumerate((2, 15, 60)))
        five = count(RULES.popularity_half_life_ms, lambda one: one.value)
        bought = [one.bought_ms for one in parts if one.bought_ms >= 0]
        category, band = self.matrix.categories, self.matrix.price_bands
        priced = {other: weight for other, weight in liked.items() if band[self.matrix.rows[other]] > -1000}
        mean = sum(w * band[self.matrix.rows[other]] for other, w in priced.items()) / (sum(priced.values()) or 1.0)
        matches = {} if self.request.query is None else dict(zip(*self.matrix.terms.match(self.request.query), strict=True))
        return {
            "text_history": self.vector(item) @ self.user,
            "text_session": self.vector(item) @ last / (float(np.linalg.norm(last)) or 1.0),
            "pairs_history": sum(self.shares[other] * strength for other, strength in pair.items()),
            "pairs_session": sum(self.relative[other] * pair[other] for other in self.session) / (visit or 1.0),
            "related": sum(weight * self.related.get((other, item), 0.0) for other, weight in liked.items()),
            "popularity_2": two,
            "popularity_5": five,
            "popularity_15": fifteen,
            "popularity_60": sixty,
            "trend": math.log((five / 5 + 0.05) / (sixty / 60 + 0.05)),
            "first_event": (self.request.at_ms - min(one.first_ms for one in parts)) / DAY_MS if parts else math.inf,
            "last_purchase": (self.request.at_ms - max(bought)) / DAY_MS if bought else math.inf,
            "buyers": sum(one.buyers for one in parts),
            "history": len(self.own),
            "seen": self.relative.get(item, 0.0),
            "category": sum(s for o, s in self.shares.items() if category[row] >= 0 and category[self.matrix.rows[o]] == category[row]),
            "price": float(band[row] - mean) if band[row] > -1000 and priced else 0.0,
            "match": float(matches.get(row, 0.0)),
        }


def test_every_feature_is_what_its_meaning_says() -> None:
    requests = [request_of(seed) for seed in range(16)]
    assert any(request.query for request in requests) and any(not request.items for request in requests)
    found = computed(requests)
    for request, own in zip(requests, found, strict=True):
        plain = Plain(request)
        for item in ITEMS[::3]:
            expected = plain.features(item)
            assert list(expected) == list(NAMES)
            assert own[shop().matrix.rows[item]].tolist() == pytest.approx(list(expected.values()), abs=2e-4, rel=1e-4), item
    assert (np.ptp(found[np.isfinite(found).all(axis=2)], axis=0) > 0).all(), "the shop has different values of every feature"


@settings(max_examples=20)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=8))
def test_features_do_not_depend_on_who_else_asks(seeds: list[int]) -> None:
    requests = [request_of(seed) for seed in seeds]
    together = computed(requests)
    for request, own in zip(requests, together, strict=True):
        assert computed([request])[0].tobytes() == own.tobytes()


def test_a_shopper_without_history_and_an_item_without_events_have_levels() -> None:
    found = levels(computed([Request([], [], [], None, [], 0)])[0])
    unknown = found[shop().matrix.rows[ITEMS[-1]]]
    said = {name: int(unknown[place]) for name, place in PLACE.items()}
    assert (said["first_event"], said["last_purchase"]) == (255, 255), "as old as can be"
    zeros = ("pairs_history", "popularity_2", "buyers", "history", "category", "match")
    assert [said[name] for name in zeros] == [0] * len(zeros)
    assert said["trend"] == level_of(FEATURES[PLACE["trend"]], 0.0)


def columns(values: np.ndarray) -> np.ndarray:
    """The levels feature by feature, by numpy."""
    found = np.empty(values.shape, np.uint8)
    for place, feature in enumerate(FEATURES):
        column = values[:, place]
        if feature.curve == "root":
            column = np.copysign(np.sqrt(np.abs(column)), column)
        elif feature.curve == "log":
            column = np.log1p(np.maximum(column, np.float32(0)))
        low, high = np.float32(feature.low), np.float32(feature.high)
        scale = np.float32((LEVELS - 1) / (feature.high - feature.low))
        found[:, place] = np.rint((np.fmin(np.fmax(column, low), high) - low) * scale).astype(np.uint8)
    return found


def test_the_compiled_levels_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(5)
    values = (rng.standard_normal((20_000, len(FEATURES))) * 10.0 ** rng.uniform(-4, 4, (20_000, 1))).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = 0.0
    for odd in (np.nan, np.inf, -np.inf, np.finfo(np.float32).max):
        values[rng.random(values.shape) < 0.01] = odd
    found, wanted = levels(values).astype(int), columns(values).astype(int)
    # The logarithm's last bit may fall to the other side of a half.
    assert np.abs(found - wanted).max() <= 1 and (found != wanted).mean() < 1e-5
    linear = [place for place, feature in enumerate(FEATURES) if feature.curve == "linear"]
    np.testing.assert_array_equal(found[:, linear], wanted[:, linear])
    assert (levels(np.full((1, len(FEATURES)), np.nan, np.float32)) == 0).all()

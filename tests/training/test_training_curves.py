"""A ranker as text: its curves, their weights, and the features that act together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streams.ranking.learned.features import FEATURES, LEVELS, PLACE, value_of
from streams.ranking.learned.model import Forest, Ranker, no_forest
from streams.ranking.learned.related import RelatedItems, nothing_related
from streams.ranking.together_table import Neighbours
from streams.training.learned.curves import base, curves, label, pairs, sparkline, text, ticks, unused
from streams.training.learned.trees import forest_of

ALL = len(FEATURES)


def additive(**steps: tuple[int, float]) -> Ranker:
    """Each named feature adds an amount from a level on."""
    tables = np.zeros((ALL, LEVELS), np.float32)
    for name, (level, amount) in steps.items():
        tables[PLACE[name], level:] = amount
    return Ranker(tables, 0.25, 1.5, -3.0, nothing_related(), no_forest())


def leaf(value: float, count: int = 10) -> dict[str, Any]:
    return {"leaf_value": value, "leaf_count": count}


def node(name: str, threshold: int, left: Any, right: Any) -> dict[str, Any]:
    count = sum(side.get("leaf_count", side.get("internal_count")) for side in (left, right))
    return {"split_feature": PLACE[name], "threshold": threshold, "left_child": left, "right_child": right, "internal_count": count}


def interacting(*trees: Any) -> Ranker:
    return Ranker(np.zeros((ALL, LEVELS), np.float32), 0.0, 1.0, 0.0, nothing_related(), forest_of(trees))


BOTH = node("related", 100, leaf(-1.0), node("popularity_5", 50, leaf(0.0), leaf(3.0)))
"""Popularity matters for what is related only."""


def test_the_heaviest_comes_first_and_the_rest_is_named() -> None:
    found = curves(additive(price=(10, -0.5), related=(100, 2.0)))
    assert [(curve.feature.name, curve.weight) for curve in found] == [("related", 2.0), ("price", 0.5)]
    assert len(unused(found)) == ALL - 2 and "related" not in unused(found)


def test_only_what_changes_is_shown() -> None:
    (curve,) = curves(additive(related=(100, 2.0)))
    first, last = curve.shown
    assert 90 < first < 100 <= last < 110
    (wide,) = curves(Ranker(np.eye(1, ALL).T * np.arange(LEVELS, dtype=np.float32), 0, 1, 0, nothing_related(), no_forest()))
    assert wide.shown == (0, LEVELS - 1)


def test_curves_and_base_of_trees_add_up_to_the_score() -> None:
    """Where no other feature matters: stumps, and a tree that asks for one feature twice."""
    ranker = interacting(
        node("price", 80, leaf(-0.3, 30), leaf(0.1)),
        node("related", 100, node("related", 30, leaf(-2.0), leaf(-1.0)), leaf(1.0, 5)),
    )
    levels = np.random.default_rng(1).integers(0, LEVELS, (500, ALL)).astype(np.uint8)
    told = np.full(len(levels), base(ranker))
    for curve in curves(ranker):
        np.testing.assert_array_equal(curve.low, curve.high)
        told += curve.mean[levels[:, PLACE[curve.feature.name]]]
    np.testing.assert_allclose(told, ranker.scores(levels), atol=1e-6)


def test_shares_lie_between_the_least_and_the_most() -> None:
    ranker = interacting(
        BOTH, node("popularity_5", 20, node("related", 150, leaf(0.5), leaf(-0.5)), node("price", 9, leaf(1.0), leaf(2.0)))
    )
    levels = np.random.default_rng(2).integers(0, LEVELS, (500, ALL)).astype(np.uint8)
    shares = ranker.shares(levels)
    for curve in curves(ranker):
        place = PLACE[curve.feature.name]
        own, at = shares[:, place], levels[:, place]
        assert (own >= curve.low[at] - 1e-6).all() and (own <= curve.high[at] + 1e-6).all()
        assert own.max() - own.min() <= curve.weight + 1e-6
        assert ((curve.low <= curve.mean + 1e-9) & (curve.mean <= curve.high + 1e-9)).all()


def test_pairs_are_those_of_one_tree() -> None:
    found = pairs(interacting(BOTH, BOTH, node("price", 9, leaf(1.0), leaf(2.0)), node("related", 9, leaf(1.0), leaf(2.0))).forest)
    assert [set(pair[:2]) | {pair.trees} for pair in found] == [{"related", "popularity_5", 2}]
    assert pairs(no_forest()) == []


def test_a_node_that_a_tree_lacks_is_no_use_of_the_first_feature() -> None:
    assert "text_history" in unused(curves(interacting(BOTH)))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_labels_are_values_in_the_unit(feature: Any) -> None:
    middle = label(feature, 128).replace(",", "")
    assert float(middle) == pytest.approx(value_of(feature, 128), rel=0.01, abs=1e-9)
    assert label(feature, LEVELS - 1).endswith("+") == (feature.curve == "log")


def test_a_line_of_bars() -> None:
    assert sparkline(np.array([0.0, 0.5, 1.0]), 0.0, 1.0) == "▁▅█"
    assert sparkline(np.zeros(3), 0.0, 0.0) == "▁▁▁"
    assert ticks(10, 20, 3) == [10, 15, 20]


def test_text_of_an_additive_ranker() -> None:
    lines = text(additive(related=(100, 2.0), buyers=(7, 0.5)), "ranker of v1").splitlines()
    assert lines[0] == "ranker of v1: 2 of 18 features, each by itself (an additive model)"
    assert "score of an item: +0.250, and what each feature adds" in lines
    assert "probability that it is taken next: 1 / (1 + exp(3.000 - 1.500 · score))" in lines
    assert "related items: none; the feature `related` is 0 everywhere" in lines
    first, second = (next(n for n, line in enumerate(lines) if line.startswith(f" {n_}. ")) for n_ in (1, 2))
    assert lines[first] == " 1. related: weight 2.000, group pairs" and "buyers: weight 0.500" in lines[second]
    assert lines[first + 1].strip() == "related to the history by EASE"
    assert set(lines[first + 2].strip()) == {"▁", "█"}
    assert lines[first + 3].split()[0] == "weight"
    assert lines[first + 4].split() == ["adds", "+0.000", "+0.000", "+2.000", "+2.000", "+2.000"]
    assert lines[-1].startswith("not used: text_history, ") and "buyers" not in lines[-1]


def test_text_of_trees_names_what_acts_together() -> None:
    found = text(interacting(BOTH, BOTH), "it")
    assert "it: 2 of 18 features, 2 trees of at most 3 leaves" in found
    assert "related × popularity_5 (2)" in found


def test_text_of_a_ranker_that_knows_nothing() -> None:
    assert "it uses no feature: every item has the same score" in text(additive(), "it")


def test_text_tells_the_size_of_the_related_items() -> None:
    neighbours = Neighbours(np.array([0, 2, 3]), np.array([0, 1, 0]), np.ones(3, np.float32))
    known = RelatedItems(["a", "b"], neighbours)
    ranker = Ranker(np.zeros((ALL, LEVELS), np.float32), 0.0, 1.0, 0.0, known, Forest(*no_forest()))
    assert "related items: 2 items, 3 weights (1.5 an item)" in text(ranker, "it")

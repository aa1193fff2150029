"""LightGBM's trees as a ranker keeps them, beside LightGBM itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pytest

from streams.ranking.learned.features import FEATURES, LEVELS
from streams.ranking.learned.model import Ranker
from streams.ranking.learned.related import nothing_related
from streams.training.learned.trees import forest_of
from tests.support.learned_shop import random_tree

KINDS = ("lambdarank", "regression")


@cache
def boosted(leaves: int, objective: str, seed: int) -> tuple[Any, list[Any], Any]:
    """A model, its trees, and levels to ask it about."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, LEVELS, (3000, len(FEATURES)), np.uint8)
    levels[:, 3] = rng.choice([0, 1, 255], 3000)
    levels[:, 4] = 7
    a, b = levels[:, 0].astype(float), levels[:, 1].astype(float)
    wanted = np.sin(a / 40) + (a > 100) * (b < 60) * 2 + levels[:, 3] / 100 + rng.normal(0, 0.3, 3000)
    labels = np.digitize(wanted, [1.0, 2.5]) if objective == "lambdarank" else wanted
    params = {
        "objective": objective,
        "num_leaves": leaves,
        "verbose": -1,
        "num_threads": 1,
        "max_bin": 255,
        "min_data_in_bin": 1,
        "seed": 0,
    }
    groups = [30] * 100 if objective == "lambdarank" else None
    booster = lightgbm.train(params, lightgbm.Dataset(levels, labels, group=groups, params=params), 25)
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    # Also what training never saw.
    return booster, trees, np.concatenate([levels[:200], rng.integers(0, LEVELS, (300, len(FEATURES)), np.uint8)])


def ranker_of(trees: list[Any]) -> Ranker:
    return Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), 0.0, 1.0, 0.0, nothing_related(), forest_of(trees))


@pytest.mark.parametrize("objective", KINDS)
@pytest.mark.parametrize("leaves", [2, 8])
def test_a_forest_says_what_the_trees_say(leaves: int, objective: str) -> None:
    booster, trees, levels = boosted(leaves, objective, 2)
    assert ranker_of(trees).scores(levels) == pytest.approx(booster.predict(levels), abs=1e-6)


@pytest.mark.parametrize("objective", KINDS)
@pytest.mark.parametrize("leaves", [2, 8])
def test_shares_are_lightgbms_shapley_values(leaves: int, objective: str) -> None:
    booster, trees, levels = boosted(leaves, objective, 3)
    found = ranker_of(trees).shares(levels)
    np.testing.assert_allclose(found, booster.predict(levels, pred_contrib=True), atol=1e-5)
    assert np.abs(found[:, 1]).max() > 0.01 or leaves == 2


def test_a_tree_of_more_than_eight_leaves_is_refused() -> None:
    rng = np.random.default_rng(1)
    assert len(forest_of([random_tree(rng, 8)]).features) == 1
    with pytest.raises(ValueError, match="9 leaves"):
        forest_of([random_tree(rng, 9)])


def test_a_tree_that_did_not_grow_says_nothing() -> None:
    leaf = {"leaf_value": 0.0, "leaf_count": 5}
    assert len(forest_of([leaf]).features) == 0

"""LightGBM's small trees as a ranker keeps them: patterns with exact Shapley values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.features import LEVELS
from streams.ranking.learned.model import NODES, PATTERNS, Forest

Node = Mapping[str, Any]
"""As ``dump_model`` gives it."""


def forest_of(trees: Sequence[Node]) -> Forest:
    """The trees by patterns. Raises ValueError for one of more than eight leaves."""
    grown = [tree for tree in trees if "split_feature" in tree]
    features = np.zeros((len(grown), NODES), np.uint8)
    thresholds = np.full((len(grown), NODES), LEVELS - 1, np.uint8)
    values = np.zeros((len(grown), PATTERNS), np.float32)
    shapley = np.zeros((len(grown), PATTERNS, NODES), np.float32)
    answers = (np.arange(PATTERNS)[:, None] >> np.arange(NODES)) & 1 == 1
    for place, tree in enumerate(grown):
        nodes = _inner(tree)
        if len(nodes) > NODES:
            raise ValueError(f"a tree of {len(nodes) + 1} leaves is more than {NODES + 1}")
        for number, node in enumerate(nodes):
            features[place, number], thresholds[place, number] = node["split_feature"], _threshold(node)
        numbers = {id(node): number for number, node in enumerate(nodes)}
        own = list(dict.fromkeys(int(node["split_feature"]) for node in nodes))
        known = {
            subset: _expected(tree, frozenset(subset), numbers, answers)
            for size in range(len(own) + 1)
            for subset in combinations(own, size)
        }
        values[place] = known[tuple(own)]
        for feature in own:
            first = next(number for number, node in enumerate(nodes) if node["split_feature"] == feature)
            shapley[place, :, first] = _shapley(feature, own, known)
    return Forest(features, thresholds, values, shapley)


def _inner(tree: Node) -> list[Node]:
    if "split_feature" not in tree:
        return []
    return [tree, *_inner(tree["left_child"]), *_inner(tree["right_child"])]


def _threshold(node: Node) -> int:
    """Levels up to it go left."""
    return int(np.floor(node["threshold"]))


def _covers(node: Node) -> float:
    return float(node.get("internal_count", node.get("leaf_count", 0)))


def _expected(node: Node, given: frozenset[int], numbers: Mapping[int, int], answers: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """float64 [patterns]: the tree's value where only the ``given`` features are known, the others as often as in training."""
    if "split_feature" not in node:
        return np.full(PATTERNS, float(node["leaf_value"]))
    left, right = (_expected(node[side], given, numbers, answers) for side in ("left_child", "right_child"))
    if node["split_feature"] in given:
        return np.where(answers[:, numbers[id(node)]], right, left)
    share = _covers(node["left_child"]) / max(1.0, _covers(node["left_child"]) + _covers(node["right_child"]))
    found: npt.NDArray[np.float64] = share * left + (1 - share) * right
    return found


def _shapley(feature: int, features: Sequence[int], known: Mapping[tuple[int, ...], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Shapley, "A value for n-person games", 1953: the mean over all orders of what the feature adds to those before it."""
    others = [other for other in features if other != feature]
    total = np.zeros(PATTERNS)
    for size in range(len(others) + 1):
        weight = factorial(size) * factorial(len(others) - size) / factorial(len(features))
        for subset in combinations(others, size):
            with_it = tuple(other for other in features if other in subset or other == feature)
            total += weight * (known[with_it] - known[subset])
    return total

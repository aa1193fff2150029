"""The recall of the scan, as it is measured when a catalogue is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.nearest.candidates import CandidatePairs
from encoders.nearest.item_scan import ItemScan
from encoders.nearest.recall import FLOOR, recall_of


def unit(generator: np.random.Generator, count: int, dimension: int) -> Any:
    vectors = generator.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class BestWithout:
    """A scan that proposes each user's best but for some of them."""

    def __init__(self, vectors: Any, missed: int) -> None:
        self._vectors = vectors
        self._missed = missed

    def candidates(self, users: Any, wanted: Any, **_: Any) -> CandidatePairs:
        best = np.argsort(-(users @ self._vectors.T), axis=1)[:, self._missed : wanted[0]]
        return CandidatePairs(np.repeat(np.arange(len(users)), best.shape[1]), best.reshape(-1))


@pytest.mark.parametrize("missed", [0, 1, 4, 10])
def test_what_is_missing_counts(missed: int) -> None:
    vectors = unit(np.random.default_rng(1), 20_000, 48)
    assert recall_of(BestWithout(vectors, missed), vectors) == pytest.approx(1 - missed / 10, abs=0.005)


def test_fewer_items_than_are_asked_for() -> None:
    vectors = unit(np.random.default_rng(1), 3, 48)
    assert recall_of(BestWithout(vectors, 0), vectors) == 1.0


def test_copies_may_stand_for_each_other() -> None:
    vectors = np.repeat(unit(np.random.default_rng(1), 1, 48), 500, axis=0)
    scan = ItemScan(48)
    scan.put(slice(0, 500), vectors)
    assert scan.recall(vectors) == 1.0


def test_other_items_than_were_put() -> None:
    generator = np.random.default_rng(2)
    vectors = unit(generator, 3000, 64)
    scan = ItemScan(64)
    scan.put(slice(0, 3000), vectors)
    assert scan.recall(vectors) >= FLOOR
    scan.put(slice(0, 3000), unit(generator, 3000, 64))
    assert scan.recall(vectors) < 0.3


@pytest.mark.parametrize("kind", ["isotropic", "clusters", "near copies"])
@pytest.mark.slow
def test_many_items(kind: str) -> None:
    generator = np.random.default_rng(5)
    vectors = unit(generator, 60_000, 384)
    if kind == "clusters":
        vectors = unit(generator, 200, 384)[generator.integers(0, 200, 60_000)] + 0.4 * vectors
    if kind == "near copies":
        vectors = vectors[generator.integers(0, 6_000, 60_000)] + 0.03 * vectors
    vectors = np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    scan = ItemScan(384)
    scan.put(slice(0, len(vectors)), vectors)
    assert recall_of(scan, vectors) >= FLOOR

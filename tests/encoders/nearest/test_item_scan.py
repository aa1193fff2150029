"""What the scan proposes, against a plain sort of all scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.kernels.scan_tile import shape_of
from encoders.nearest.candidates import CandidatePairs
from encoders.nearest.item_scan import ItemScan

NONE = np.zeros(0, np.int64)


def unit(generator: np.random.Generator, count: int, dimension: int) -> Any:
    vectors = generator.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scan_of(vectors: Any, threads: int | None = None) -> ItemScan:
    scan = ItemScan(vectors.shape[1], threads=threads)
    scan.put(slice(0, len(vectors)), vectors)
    return scan


def by_user(pairs: CandidatePairs, users: int) -> list[list[int]]:
    assert (np.diff(pairs.users) >= 0).all()
    return [pairs.rows[pairs.users == user].tolist() for user in range(users)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 900),
    users=st.integers(1, 70),
    dimension=st.sampled_from([32, 100, 130, 384]),
    most=st.integers(1, 25),
    with_prior=st.booleans(),
    closed_share=st.sampled_from([0.0, 0.3, 1.0]),
    floor=st.sampled_from([-2.0, 0.0, 0.3]),
    copies=st.integers(1, 3),
)
@pytest.mark.slow
def test_beside_a_plain_sort(
    seed: int, items: int, users: int, dimension: int, most: int, with_prior: bool, closed_share: float, floor: float, copies: int
) -> None:
    """Hardly one of the best is missing, no row comes twice, none that is masked."""
    generator = np.random.default_rng(seed)
    vectors = np.repeat(unit(generator, -(-items // copies), dimension), copies, axis=0)[:items]
    people = unit(generator, users, dimension)
    prior = generator.choice(np.array([0, 0.125, 0.25], np.float32), items) if with_prior else None
    closed = generator.random(items) < closed_share
    wanted = generator.integers(1, most + 1, users)
    pairs = scan_of(vectors).candidates(people, wanted, prior=prior, masked=np.flatnonzero(closed), floor=floor)

    scores = people @ vectors.T + (0 if prior is None else prior)
    scores[:, closed] = -np.inf
    missed = asked = 0
    for user, found in enumerate(by_user(pairs, users)):
        assert len(set(found)) == len(found)
        assert not closed[found].any()
        best = np.sort(scores[user][scores[user] > floor])[::-1][: wanted[user]]
        asked += len(best)
        if len(best):
            missed += len(best) - min(len(best), int((scores[user, found] >= best[-1] - 1e-6).sum()))
    assert missed <= 3 + 0.02 * asked


def test_many_items_with_one_vector() -> None:
    """More near ties than a buffer holds: still ten of them, and the nearest of all."""
    generator = np.random.default_rng(1)
    vectors = np.repeat(unit(generator, 1, 64), 5000, axis=0)
    vectors[4321] = unit(generator, 1, 64)
    pairs = scan_of(vectors).candidates(vectors[4321:4322], np.array([10]), prior=None, masked=NONE, floor=-2.0)
    assert 4321 in pairs.rows
    assert len(set(pairs.rows.tolist())) >= 10


def test_rows_can_be_put_one_by_one_and_again() -> None:
    generator = np.random.default_rng(3)
    vectors, people = unit(generator, 300, 48), unit(generator, 5, 48)
    whole, bit_by_bit = scan_of(vectors, threads=1), ItemScan(48, threads=3)
    bit_by_bit.put(np.array([299]), vectors[:1])
    for row in generator.permutation(300):
        bit_by_bit.put(np.array([row]), vectors[row : row + 1])
    bit_by_bit.put(NONE, vectors[:0])
    assert len(bit_by_bit) == 300
    wanted = np.full(5, 7)
    pairs = [set(zip(*scan.candidates(people, wanted, prior=None, masked=NONE, floor=-2.0), strict=True)) for scan in (whole, bit_by_bit)]
    assert pairs[0] == pairs[1]


def test_nobody_asks_and_nothing_is_there() -> None:
    generator = np.random.default_rng(4)
    for scan, users in ((ItemScan(48), unit(generator, 3, 48)), (scan_of(unit(generator, 30, 48)), np.zeros((0, 48), np.float32))):
        pairs = scan.candidates(users, np.full(len(users), 2), prior=None, masked=NONE, floor=-2.0)
        assert not len(pairs.users)
        assert not len(pairs.rows)


def test_the_tile_of_a_processor() -> None:
    assert shape_of({}) is None
    narrow, wide = shape_of({"avx2": True}), shape_of({"avx2": True, "avx512bw": True})
    assert narrow is not None
    assert wide is not None
    assert (narrow.users, wide.users) == (32, 64)

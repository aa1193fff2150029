"""Both ways to the nearest items against a plain sort of all scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.kernels.scan_tile import shape_of
from encoders.nearest import nearest
from encoders.nearest.decide import Found
from encoders.nearest.item_scan import ItemScan
from encoders.nearest.nearest import NearestItems
from encoders.nearest.recall import recall_of

WAYS = {"exact": 10**9, "scan": 0}


def unit(generator: np.random.Generator, count: int, dimension: int) -> Any:
    vectors = generator.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plainly(vectors: Any, ids: list[str], users: Any, k: int, prior: Any, masked: set[int], threshold: float) -> Found:
    """By one sort a user."""
    rows, scores = np.full((len(users), k), -1), np.full((len(users), k), -np.inf, np.float32)
    for number, user in enumerate(users):
        totals = (user[None, :] * vectors).sum(axis=1)
        if prior is not None:
            totals = totals + prior
        order = sorted((-total, ids[row], row) for row, total in enumerate(totals) if row not in masked and total > threshold)[:k]
        for place, (negated, _, row) in enumerate(order):
            rows[number, place], scores[number, place] = row, -negated
    return Found(rows, scores)


def ids_of(generator: np.random.Generator, count: int) -> list[str]:
    return [f"sku-{number}" for number in generator.permutation(count)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 900),
    users=st.integers(1, 70),
    dimension=st.sampled_from([2, 7, 32, 100, 130, 384]),
    k=st.integers(1, 25),
    with_prior=st.booleans(),
    closed_share=st.sampled_from([0.0, 0.3, 1.0]),
    threshold=st.sampled_from([-np.inf, -1.0, 0.0, 0.3]),
    copies=st.integers(1, 3),
)
def test_as_a_plain_sort(
    seed: int,
    items: int,
    users: int,
    dimension: int,
    k: int,
    with_prior: bool,
    closed_share: float,
    threshold: float,
    copies: int,
) -> None:
    generator = np.random.default_rng(seed)
    vectors = np.repeat(unit(generator, -(-items // copies), dimension), copies, axis=0)[:items]
    ids, people = ids_of(generator, items), unit(generator, users, dimension)
    # A prior that many items share: ties that only the id decides.
    prior = generator.choice(np.array([0, 0.125, 0.25], np.float32), -(-items // copies)).repeat(copies)[:items] if with_prior else None
    masked = np.flatnonzero(generator.random(items) < closed_share)
    expected = plainly(vectors, ids, people, k, prior, set(masked.tolist()), threshold)
    for way, exact_up_to in WAYS.items():
        items_of = NearestItems(vectors, ids, exact_up_to=exact_up_to)
        found = items_of.search(people, k, prior=prior, masked=masked, threshold=threshold)
        if items_of.exact:
            assert np.array_equal(found.rows, expected.rows), way
            assert np.array_equal(found.scores, expected.scores), way
        else:
            check_scanned(found, expected, vectors, people, prior)


def check_scanned(found: Found, expected: Found, vectors: Any, people: Any, prior: Any) -> None:
    """Whatever is found has its exact score and is in order; and hardly anything is missing."""
    user, place = np.nonzero(found.rows >= 0)
    rows = found.rows[user, place]
    assert len(set(zip(user, rows, strict=True))) == len(rows)
    scores = (people[user] * vectors[rows]).sum(axis=1) + (0 if prior is None else prior[rows])
    assert np.allclose(found.scores[user, place], scores, atol=1e-6)
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    wanted = (expected.rows >= 0).sum()
    same = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.rows.tolist(), expected.rows.tolist(), strict=True))
    assert same >= wanted - 3 - 0.02 * wanted


@pytest.mark.parametrize("way", WAYS)
def test_many_items_with_one_vector(way: str) -> None:
    """More near ties than a buffer holds: still k of them, the nearest of all first."""
    generator = np.random.default_rng(1)
    vectors = np.repeat(unit(generator, 1, 64), 5000, axis=0)
    vectors[4321] = unit(generator, 1, 64)
    user = vectors[4321:4322]
    found = NearestItems(vectors, [str(n) for n in range(5000)], exact_up_to=WAYS[way]).search(user, 10)
    assert found.rows[0, 0] == 4321
    assert (found.rows[0] >= 0).all()
    assert len(set(found.rows[0].tolist())) == 10


@pytest.mark.parametrize("kind", ["isotropic", "clusters", "near copies"])
def test_recall_of_the_scan_on_many_items(kind: str) -> None:
    generator = np.random.default_rng(5)
    vectors = unit(generator, 60_000, 384)
    if kind == "clusters":
        vectors = unit(generator, 200, 384)[generator.integers(0, 200, 60_000)] + 0.4 * vectors
    if kind == "near copies":
        vectors = vectors[generator.integers(0, 6_000, 60_000)] + 0.03 * vectors
    vectors = np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    ids = [str(number) for number in range(len(vectors))]
    people = unit(generator, 64, 384)
    people[32:] = vectors[generator.integers(0, 60_000, 32)]
    scanned, exact = NearestItems(vectors, ids, exact_up_to=0), NearestItems(vectors, ids)
    assert not scanned.exact
    assert scanned.recall is not None
    assert scanned.recall >= 0.98
    assert exact.exact
    assert exact.recall is None
    assert np.mean(scanned.search(people, 10).scores >= exact.search(people, 10).scores[:, -1:]) >= 0.98


def test_a_scan_that_misses_too_much_is_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(nearest, "recall_of", lambda *_: 0.97)
    items = NearestItems(unit(np.random.default_rng(0), 50, 48), [str(n) for n in range(50)], exact_up_to=10)
    assert items.exact
    assert "recall of 0.970" in caplog.text


def test_recall_is_measured() -> None:
    generator = np.random.default_rng(2)
    vectors = unit(generator, 3000, 64)
    scan = ItemScan(64)
    scan.put(slice(0, 3000), vectors)
    assert recall_of(scan, vectors) >= 0.98
    scan.put(slice(0, 3000), unit(generator, 3000, 64))  # other items than it is measured on
    assert recall_of(scan, vectors) < 0.3


def test_rows_can_be_put_one_by_one_and_again() -> None:
    generator = np.random.default_rng(3)
    vectors, people = unit(generator, 300, 48), unit(generator, 5, 48)
    whole, bit_by_bit = ItemScan(48, threads=1), ItemScan(48, threads=3)
    whole.put(slice(0, 300), vectors)
    bit_by_bit.put(np.array([299]), vectors[:1])
    for row in generator.permutation(300):
        bit_by_bit.put(np.array([row]), vectors[row : row + 1])
    bit_by_bit.put(np.array([], np.int64), vectors[:0])
    assert len(bit_by_bit) == 300
    wanted, none = np.full(5, 7), np.zeros(0, np.int64)
    pairs = [set(zip(*scan.candidates(people, wanted, prior=None, masked=none, floor=-2.0), strict=True)) for scan in (whole, bit_by_bit)]
    assert pairs[0] == pairs[1]


def test_nobody_asks_and_nothing_is_there() -> None:
    generator = np.random.default_rng(4)
    empty = NearestItems(np.zeros((0, 8), np.float32), [])
    assert (empty.search(unit(generator, 3, 8), 2).rows == -1).all()
    some = NearestItems(unit(generator, 30, 8), [str(n) for n in range(30)], exact_up_to=0)
    assert some.search(np.zeros((0, 8), np.float32), 2).rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items, users: items.search(users, 0), "k must be at least 1"),
        (lambda items, users: items.search(users[:, :5], 1), r"users must be \[n, 8\]"),
        (lambda items, users: items.search(users, 1, prior=np.zeros(3, np.float32)), "the prior must have 20 elements"),
        (lambda items, users: NearestItems(users, ["a"]), "each vector needs one"),
        (lambda items, users: NearestItems(users.astype(np.float64), ["a"] * 4), "C-contiguous float32"),
        (lambda items, users: NearestItems(users[:, ::2], ["a"] * 4), "C-contiguous float32"),
    ],
)
def test_what_does_not_fit_together(change: Any, message: str) -> None:
    generator = np.random.default_rng(6)
    items = NearestItems(unit(generator, 20, 8), [str(n) for n in range(20)])
    with pytest.raises(ValueError, match=message):
        change(items, unit(generator, 4, 8))


def test_the_tile_of_a_processor() -> None:
    assert shape_of({}) is None
    narrow, wide = shape_of({"avx2": True}), shape_of({"avx2": True, "avx512bw": True})
    assert narrow is not None
    assert wide is not None
    assert (narrow.users, wide.users) == (32, 64)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.hashing import HashingEncoder
from streams.engine.records import MemoryRecord
from streams.ranking.centred_matrix import CentredItemMatrix
from streams.serde.vectors import vector_key
from streams.topics import ITEMS_VECTORS
from tests.support.profile_harness import CODECS, DIMENSION, VERSION, vector_record

SHRINK = 50
POOL = HashingEncoder(DIMENSION, VERSION).encode([f"a common beginning and thing {n}" for n in range(12)])


def matrix() -> CentredItemMatrix:
    return CentredItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION)


def tombstone(item_id: str) -> MemoryRecord:
    return MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(VERSION, item_id), None)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


steps = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 11) | st.none()), min_size=1, max_size=80)


@given(steps, st.integers(1, 20))
def test_it_holds_each_vector_without_the_mean(changes: list[tuple[str, int | None]], fetch: int) -> None:
    """Whatever came in whatever order; up to the drift that it tolerates before it makes all rows anew."""
    tested, expected = matrix(), {}
    records = []
    for item_id, which in changes:
        records.append(tombstone(item_id) if which is None else vector_record(item_id, POOL[which]))
        if which is None:
            expected.pop(item_id, None)
        else:
            expected[item_id] = POOL[which]
    for start in range(0, len(records), fetch):
        tested.apply(records[start : start + fetch])
        assert len(tested.vectors) == len(tested.ids)  # looked at between fetches, as a worker does
    mean = np.sum(list(expected.values()), axis=0) / (len(expected) + SHRINK) if expected else np.zeros(DIMENSION)
    for item_id, vector in expected.items():
        assert tested.vectors[tested.rows[item_id]] == pytest.approx(unit(vector - mean), abs=0.03)
    for row, item_id in enumerate(tested.ids):
        if not item_id:
            assert not tested.vectors[row].any()
    assert tested.centre(POOL[0]) == pytest.approx(unit(POOL[0] - mean), abs=0.03)


def test_rows_and_queries_lose_the_same_mean() -> None:
    """A query that says what a title says is its nearest neighbour with cosine 1, wherever the mean is."""
    tested = matrix()
    tested.apply([vector_record(f"item {n}", POOL[n % 12]) for n in range(600)])
    cosines = tested.vectors @ tested.centre(POOL[3])
    assert cosines[tested.rows["item 3"]] == pytest.approx(1.0, abs=1e-5)
    raw = POOL @ POOL[3]
    assert np.delete(raw, 3).mean() > np.delete(cosines[:12], 3).mean() + 0.1, "the common part is gone"


def test_many_items_move_the_mean_and_with_it_every_row() -> None:
    tested = matrix()
    tested.apply([vector_record("first", POOL[0])])
    before = tested.vectors[0].copy()
    tested.apply([vector_record(f"item {n}", POOL[1 + n % 11]) for n in range(2000)])
    moved = tested.vectors[tested.rows["first"]]
    mean = (POOL[0] + np.sum([POOL[1 + n % 11] for n in range(2000)], axis=0)) / (2001 + SHRINK)
    assert moved == pytest.approx(unit(POOL[0] - mean), abs=1e-3)
    assert np.abs(moved - before).max() > 0.01


def test_a_changed_item_counts_once() -> None:
    tested = matrix()
    for _ in range(300):
        tested.apply([vector_record("only", POOL[0])])
    assert tested.centre(POOL[1]) == pytest.approx(unit(POOL[1] - POOL[0] / (1 + SHRINK)), abs=0.03)


def test_a_bad_record_leaves_the_mean_alone() -> None:
    tested = matrix()
    tested.apply([vector_record("good", POOL[0])])
    before = tested.centre(POOL[1]).copy()
    tested.apply([MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(VERSION, "good"), b"\x00nonsense") for _ in range(50)])
    assert tested.bad_records == 50
    assert (tested.centre(POOL[1]) == before).all()

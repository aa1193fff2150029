from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from encoders.item_space import fit
from streams.engine.records import MemoryRecord
from streams.models.hotswap.query_vectors import QueryVectors
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.vectors import vector_key
from streams.topics import ITEMS_VECTORS
from tests.support.profile_harness import CODECS, DIMENSION, VERSION, vector_record

SHRINK = 50
POOL = HashingEncoder(DIMENSION, VERSION).encode([f"a common beginning and thing {n}" for n in range(12)])


def matrix() -> WhitenedItemMatrix:
    return WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION)


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
    assert tested.transform(POOL[0]) == pytest.approx(unit(POOL[0] - mean), abs=0.03)


def test_rows_and_queries_lose_the_same_mean() -> None:
    """A query that says what a title says is its nearest neighbour with cosine 1, wherever the mean is."""
    tested = matrix()
    tested.apply([vector_record(f"item {n}", POOL[n % 12]) for n in range(600)])
    cosines = tested.vectors @ tested.transform(POOL[3])
    assert cosines[tested.rows["item 3"]] == pytest.approx(1.0, abs=1e-5)
    raw = POOL @ POOL[3]
    assert np.delete(raw, 3).mean() > np.delete(cosines[:12], 3).mean() + 0.1, "the common part is gone"


def test_many_items_change_the_space_and_with_it_every_row() -> None:
    tested = matrix()
    tested.apply([vector_record("first", POOL[0])])
    before, number = tested.vectors[0].copy(), tested.space_number
    tested.apply([vector_record(f"item {n}", POOL[1 + n % 11]) for n in range(2000)])
    moved = tested.vectors[tested.rows["first"]]
    everything = np.concatenate([POOL[:1], np.stack([POOL[1 + n % 11] for n in range(2000)])])
    assert moved == pytest.approx(fit(everything).transform(POOL[0]), abs=1e-5)
    assert np.abs(moved - before).max() > 0.01
    assert tested.space_number > number


def test_few_changes_leave_the_space_alone() -> None:
    tested = matrix()
    tested.apply([vector_record(f"item {n}", POOL[n % 12]) for n in range(1000)])
    first, number = tested.vectors.copy(), tested.space_number
    tested.apply([vector_record(f"item {n}", POOL[0]) for n in range(40)])
    assert tested.space_number == number
    assert (tested.vectors[40:] == first[40:]).all()
    assert tested.vectors[5] == pytest.approx(tested.transform(POOL[0]), abs=1e-6)
    tested.apply([vector_record("item 900", POOL[0])] * 15)
    assert (tested.vectors[41] != first[41]).any()


def test_a_large_catalogue_is_fitted_on_a_thread_and_taken_at_once() -> None:
    """Until the fitted space is taken all is of the old one, and rows that changed meanwhile are in the new one afterwards."""
    tested = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION, at_once=100)
    tested.apply([vector_record(f"item {n}", POOL[n % 12]) for n in range(500)])
    old, number = tested.vectors.copy(), tested.space_number
    fitting = tested.fitting
    assert fitting is not None
    fitting.result(timeout=30)
    tested.apply([vector_record("item 3", POOL[7]), vector_record("new", POOL[2]), tombstone("item 4")])
    assert (tested.vectors[5:500] == old[5:]).all(), "not before it is taken"
    assert tested.transform(POOL[5]) == pytest.approx(old[5], abs=1e-6)
    tested.take_fitted()
    assert tested.space_number == number + 1
    assert np.abs(tested.vectors[5:500] - old[5:]).max() > 0.01
    for item, vector in (("item 3", POOL[7]), ("new", POOL[2]), ("item 5", POOL[5])):
        assert tested.vectors[tested.rows[item]] == pytest.approx(tested.transform(vector), abs=1e-6)
    assert not tested.vectors[4].any()


def test_a_changed_item_counts_once() -> None:
    tested = matrix()
    for _ in range(300):
        tested.apply([vector_record("only", POOL[0])])
    assert tested.transform(POOL[1]) == pytest.approx(unit(POOL[1] - POOL[0] / (1 + SHRINK)), abs=0.03)


def test_a_bad_record_leaves_the_mean_alone() -> None:
    tested = matrix()
    tested.apply([vector_record("good", POOL[0])])
    before = tested.transform(POOL[1]).copy()
    tested.apply([MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(VERSION, "good"), b"\x00nonsense") for _ in range(50)])
    assert tested.bad_records == 50
    assert (tested.transform(POOL[1]) == before).all()


async def test_queries_are_never_of_an_older_space_than_the_rows() -> None:
    """A refit that is due when the queries are asked for is done before they are taken from what is known."""
    tested, texts = matrix(), ["thing", "other"]
    queries = QueryVectors(MicroBatcher(HashingEncoder(DIMENSION, VERSION)))
    tested.apply([vector_record(f"item {n}", POOL[n % 12]) for n in range(300)])
    raw = await queries.lookup(texts)
    for _ in range(2):
        queries.transformed(raw, tested)
    tested.apply([vector_record(f"item {n}", POOL[0]) for n in range(200)])
    found = queries.transformed(raw, tested)
    _ = tested.vectors
    for text in texts:
        assert (found[text] == tested.transform(raw[text])).all()


@pytest.mark.parametrize("at_once", [0, 1000])
def test_it_tells_up_to_where_the_records_of_its_space_were_read(at_once: int) -> None:
    tested = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION, at_once=at_once, changed_share=0.5)
    tested.apply([vector_record(f"i{n}", vector, offset=n) for n, vector in enumerate(POOL)])
    assert tested.space_of == ([] if at_once == 0 else [len(POOL)])
    tested.apply([vector_record("i0", POOL[1], offset=len(POOL))])
    if tested.fitting is not None:
        tested.fitting.result()
        tested.take_fitted()
    assert tested.space_of == [len(POOL)]
    assert tested.read.following == [len(POOL) + 1]

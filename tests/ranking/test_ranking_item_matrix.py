from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.hashing import HashingEncoder
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError
from streams.ranking.item_matrix import ItemMatrix
from streams.serde.vectors import vector_key
from streams.topics import ITEMS_VECTORS
from tests.support.profile_harness import CODECS, DIMENSION, VERSION, vector_record

POOL = HashingEncoder(DIMENSION, VERSION).encode([f"thing {n}" for n in range(8)])


def matrix(version: str = VERSION) -> ItemMatrix:
    return ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), version, DIMENSION)


def tombstone(item_id: str, version: str = VERSION) -> MemoryRecord:
    return MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(version, item_id), None)


steps = st.lists(st.tuples(st.sampled_from("abcdef/"), st.integers(0, 7) | st.none(), st.booleans()), max_size=60)


@given(steps, st.integers(1, 20))
def test_it_holds_what_a_dict_would_hold(changes: list[tuple[str, int | None, bool]], fetch: int) -> None:
    tested, expected = matrix(), {}
    records = []
    for item_id, which, recommendable in changes:
        if which is None:
            records.append(tombstone(item_id))
            expected.pop(item_id, None)
        else:
            records.append(vector_record(item_id, POOL[which], recommendable=recommendable))
            expected[item_id] = (which, recommendable)
    for start in range(0, len(records), fetch):
        tested.apply(records[start : start + fetch])
    assert set(tested.rows) == set(expected)
    assert len(tested) == len(expected)
    assert len(tested.ids) <= 7, "free rows are used again"
    for item_id, (which, recommendable) in expected.items():
        row = tested.rows[item_id]
        assert tested.ids[row] == item_id
        assert tested.vectors[row] == pytest.approx(POOL[which], abs=1e-6)
        assert bool(tested.recommendable[row]) == recommendable
    for row, item_id in enumerate(tested.ids):
        if not item_id:
            assert not tested.vectors[row].any() and not tested.recommendable[row]
    assert tested.bad_records == 0


def test_it_grows_and_views_taken_before_stay_as_they_were() -> None:
    tested = matrix()
    tested.apply([vector_record("first", POOL[0])])
    before = tested.vectors
    copy = before.copy()
    tested.apply([vector_record(f"n{n}", POOL[n % 8]) for n in range(2500)])
    assert len(tested) == 2501
    assert (before == copy).all()
    assert tested.vectors.dtype == np.float32 and tested.vectors.flags.c_contiguous
    assert all(tested.vectors[tested.rows[f"n{n}"]] == pytest.approx(POOL[n % 8], abs=1e-6) for n in range(0, 2500, 100))


def test_other_model_versions_are_passed_over() -> None:
    tested, other = matrix(), matrix("next")
    records = [vector_record("a", POOL[0]), vector_record("b", POOL[1], version="next"), tombstone("a", "next")]
    for one in (tested, other):
        one.apply(records)
        assert one.bad_records == 0
    assert (set(tested.rows), set(other.rows)) == ({"a"}, {"b"})


def test_bad_records_are_counted_and_change_nothing() -> None:
    tested = matrix()
    tested.apply([vector_record("a", POOL[0])])
    good = vector_record("a", POOL[1])
    bad = [
        good._replace(value=b"garbage"),
        good._replace(value=b""),
        good._replace(key=vector_key(VERSION, "b")),
        good._replace(key=vector_key(VERSION, "a") + b"\xff"),
        vector_record("a", POOL[1][: DIMENSION // 2]),
    ]
    twice = np.concatenate([POOL[1]] * 2)  # unit length, wrong dimension
    bad.append(vector_record("a", twice))
    value = CODECS.for_topic(ITEMS_VECTORS).decode(good.value)
    for scale in (0.0, 3.0, float("nan"), float("inf")):
        broken = (np.ones(DIMENSION, np.float32) * np.float32(scale)).tobytes()
        bad.append(good._replace(value=CODECS.for_topic(ITEMS_VECTORS).encode(value | {"vector": broken})))
    tested.apply([*bad, good._replace(key=None)])
    assert tested.bad_records == len(bad)
    assert set(tested.rows) == {"a"}
    assert tested.vectors[0] == pytest.approx(POOL[0], abs=1e-6)


def test_the_layout_changes_only_when_rows_change_hands() -> None:
    tested = matrix()
    tested.apply([vector_record("a", POOL[0])])
    layout = tested.layout
    tested.apply([vector_record("a", POOL[1], recommendable=False), tombstone("unknown")])
    assert tested.layout == layout
    tested.apply([tombstone("a")])
    assert tested.layout != layout


@pytest.mark.parametrize("version", ["", "a/b"])
def test_a_version_must_not_make_keys_ambiguous(version: str) -> None:
    with pytest.raises(ConfigurationError, match="slash"):
        matrix(version)

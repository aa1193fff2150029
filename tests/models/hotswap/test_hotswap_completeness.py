"""Completeness: what the topic holds under one version against what the catalogue is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.models.hotswap.completeness import FIELDS, IN_FLIGHT_S, Completeness
from streams.serde.vectors import vector_key
from streams.topics import ITEMS_VECTORS
from tests.support.profile_harness import CODECS

VECTOR = np.array([1, 0], "<f4").tobytes()


def put(item: str, version: str, text: str = "t", at: int = 0, *, recommendable: bool = True) -> MemoryRecord:
    value = {
        "item_id": item,
        "model_version": version,
        "vector": VECTOR,
        "text_hash": text,
        "recommendable": recommendable,
        "category": None,
        "price_band": None,
        "encoded_at": at,
    }
    return MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(version, item), CODECS.for_topic(ITEMS_VECTORS).encode(value))


def gone(item: str, version: str) -> MemoryRecord:
    return MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(version, item), None)


def judge(*records: MemoryRecord, share: float = 1.0) -> Completeness:
    completeness = Completeness(CODECS.reading(ITEMS_VECTORS, FIELDS), "b", share)
    completeness.apply(records, 0.0)
    return completeness


def test_an_empty_catalogue_is_complete() -> None:
    assert judge().is_complete(0.0)
    assert judge(put("1", "a"), put("1", "b"), gone("1", "a"), gone("1", "b")).is_complete(0.0)


def test_every_item_must_be_there_as_it_is_now() -> None:
    have = (put("1", "a", "new", 5), put("2", "a", "t", 5))
    assert judge(*have).held(0.0) == 0
    assert judge(*have, put("1", "b", "new", 6)).held(0.0) == 0.5
    assert judge(*have, put("1", "b", "new", 6), put("2", "b", "t", 6)).is_complete(0.0)
    # Left from when this version served before: the text is an old one, or the item was in stock then.
    assert not judge(*have, put("1", "b", "old", 1), put("2", "b", "t", 6)).is_complete(0.0)
    assert not judge(*have, put("1", "b", "new", 6), put("2", "b", "t", 1, recommendable=False)).is_complete(0.0)


def test_a_tombstone_under_one_version_is_not_the_items_end() -> None:
    assert not judge(put("1", "a"), put("1", "b"), gone("1", "b")).is_complete(0.0)
    assert judge(put("1", "a"), put("1", "b"), gone("1", "a")).is_complete(0.0)


def test_an_item_that_agreed_may_be_under_way_for_a_while() -> None:
    completeness = judge(put("1", "a"), put("1", "b"))
    completeness.begin_to_wait()
    completeness.apply([put("1", "a", "changed", 9)], 10.0)
    assert completeness.is_complete(10.0 + IN_FLIGHT_S)
    assert not completeness.is_complete(10.1 + IN_FLIGHT_S)
    completeness.apply([put("1", "b", "changed", 9)], 20.0)
    assert completeness.is_complete(90.0)


def test_what_changed_before_the_reader_came_is_not_under_way() -> None:
    completeness = judge(put("1", "a"), put("1", "b"), put("1", "a", "changed", 9))
    completeness.begin_to_wait()
    assert not completeness.is_complete(0.0)


def test_a_new_item_is_waited_for() -> None:
    completeness = judge(put("1", "a"), put("1", "b"))
    completeness.apply([put("2", "a")], 10.0)
    assert not completeness.is_complete(10.0)


def test_a_share_can_be_enough() -> None:
    records = [put(str(n), "a") for n in range(10)] + [put(str(n), "b") for n in range(9)]
    assert judge(*records, share=0.9).is_complete(0.0)
    assert not judge(*records, share=0.91).is_complete(0.0)


@pytest.mark.parametrize("record", [MemoryRecord(ITEMS_VECTORS, 0, 0, 0, key, b"?") for key in (None, b"\xff/1", b"no slash", b"a/1")])
def test_records_of_no_use_change_nothing(record: MemoryRecord) -> None:
    assert judge(put("1", "b"), record).is_complete(0.0)


STEPS = st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("abc"), st.sampled_from(["x", "y", None]), st.booleans()), max_size=20)


@given(STEPS, st.integers(0, 20), st.booleans())
def test_it_is_what_a_count_from_scratch_gives(steps: list[tuple[str, str, str | None, bool]], cut: int, wait: bool) -> None:
    """After all that was under way has come, or not; in one fetch or two."""
    records, state = [], {}
    for at, (item, version, text, ok) in enumerate(steps):
        records.append(gone(item, version) if text is None else put(item, version, text, at, recommendable=ok))
        state[item, version] = None if text is None else (at, text, ok)
    completeness = judge(*records[:cut])
    if wait:
        completeness.begin_to_wait()
    completeness.apply(records[cut:], 0.0)
    items: dict[str, dict[str, tuple[int, str, bool]]] = {}
    for (item, version), shown in state.items():
        if shown is not None:
            items.setdefault(item, {})[version] = shown
    agree = sum("b" in versions and versions["b"][1:] == max(versions.values())[1:] for versions in items.values())
    assert completeness.held(IN_FLIGHT_S + 1) == (agree / len(items) if items else 1.0)

"""A large catalogue is searched by a scan; the answers are those of the exact way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.nearest.item_scan import ItemScan
from streams.engine.ports import CandidateScan, FloatArray
from streams.engine.records import MemoryRecord
from streams.ranking import ranking
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import Ranking, most_requests, rank
from streams.ranking.request import Entry, Request
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.vectors import vector_key
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS
from streams.wiring.models import item_scan
from tests.support.profile_harness import CODECS, START_MS, VERSION, popularity_record, vector_record
from tests.support.rules import profile_rules

WIDTH = 64
"""Narrow enough that a scan compares all of it: it then misses nothing here."""
ITEMS = 400


def scan_of(vectors: FloatArray) -> CandidateScan:
    scan = ItemScan(vectors.shape[1], threads=1)
    scan.put(slice(0, len(vectors)), vectors)
    return scan


def matrix(exact_up_to: int) -> WhitenedItemMatrix:
    return WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH, make_scan=scan_of, exact_up_to=exact_up_to)


def popularity() -> PopularityTable:
    found = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), 5 * 86_400_000)
    found.apply([popularity_record(f"i{n}", float(n % 9), START_MS, n) for n in range(0, ITEMS, 4)])
    return found


def changes(generator: np.random.Generator, count: int) -> list[MemoryRecord]:
    """Items come, change, run out of stock and go."""
    records = []
    for vector in generator.standard_normal((count, WIDTH)).astype(np.float32):
        item = f"i{generator.integers(ITEMS)}"
        if generator.random() < 0.15:
            records.append(MemoryRecord(ITEMS_VECTORS, 0, 0, 0, vector_key(VERSION, item), None))
        else:
            records.append(vector_record(item, vector, recommendable=bool(generator.random() < 0.9)))
    return records


def request(generator: np.random.Generator) -> Request:
    items = [f"i{n}" for n in generator.choice(ITEMS, generator.integers(0, 9), replace=False)]
    entries = [Entry(float(weight), START_MS - int(generator.integers(10**9)), 0) for weight in generator.random(len(items)) + 0.1]
    return Request(items, entries, [], None, items[:4], START_MS + int(generator.integers(10**10)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), top_k=st.integers(1, 20), threshold=st.sampled_from([-1.0, 0.2, 0.5]), users=st.integers(1, 12))
@pytest.mark.slow
def test_the_same_answers(seed: int, top_k: int, threshold: float, users: int) -> None:
    generator = np.random.default_rng(seed)
    exact, scanned, popular = matrix(10**6), matrix(0), popularity()
    rules = profile_rules(threshold=threshold, top_k=top_k)
    for count in (ITEMS, 30, 1):
        records = changes(generator, count)
        exact.apply(records)
        scanned.apply(records)
        assert exact.scan is None
        assert scanned.scan is not None
        requests = [request(generator) for _ in range(users)]
        for one, other in zip(rank(requests, exact, popular, {}, rules), rank(requests, scanned, popular, {}, rules), strict=True):
            assert one.items == other.items
            assert one.scores.tobytes() == other.scores.tobytes()


def test_a_scan_takes_many_requests_at_once() -> None:
    """A product's scores must fit into memory; a scan has none, and a pass over millions of items for a handful of shoppers is a waste."""
    records = changes(np.random.default_rng(4), ITEMS)
    exact, scanned = matrix(10**6), matrix(0)
    for one in (exact, scanned):
        one.apply(records)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "_CHUNK", 4 * ITEMS)
        assert most_requests(exact) < 20
        assert most_requests(scanned) == 64


def test_what_is_left_out_later_was_allowed_for() -> None:
    """Answers to one shopper's later requests leave out what earlier ones hold: as many candidates more."""
    generator = np.random.default_rng(3)
    exact, scanned, popular = matrix(10**6), matrix(0), popularity()
    records = changes(generator, 3 * ITEMS)
    exact.apply(records)
    scanned.apply(records)
    requests, rules = [request(generator) for _ in range(5)], profile_rules(threshold=-1.0, top_k=6)
    best = [set(ranked.items) for ranked in rank(requests, exact, popular, {}, rules)]
    excluded = [[*one.excluded, *items] for one, items in zip(requests, best, strict=True)]
    spare = [len(items) for items in excluded]
    answers = [Ranking(requests, m, popular, {}, rules, most_excluded=spare).answer(0, excluded) for m in (exact, scanned)]
    for one, other, before in zip(*answers, best, strict=True):
        assert one.items == other.items
        assert len(one.items) == 6
        assert not before & set(one.items)


def test_a_scan_that_misses_too_much_is_not_asked_for_again() -> None:
    asked = []

    def make(vectors: FloatArray) -> None:
        asked.append(len(vectors))

    items = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH, make_scan=make, exact_up_to=10)
    items.apply([vector_record(f"i{n}", np.eye(WIDTH, dtype=np.float32)[n]) for n in range(10)])
    assert items.scan is None
    items.apply([vector_record(f"i{n}", np.eye(WIDTH, dtype=np.float32)[n]) for n in range(10, 30)])
    assert [items.scan, items.scan] == [None, None]
    assert asked == [30]


def test_a_worker_measures_its_scan(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).standard_normal((500, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert item_scan(vectors) is not None
    monkeypatch.setattr(ItemScan, "recall", lambda self, vectors: 0.9)
    assert item_scan(vectors) is None
    assert "recall of 0.900, below 0.98" in caplog.text

"""Searches by the letter: part numbers, brands, mistakes of typing, Chinese, and what the index keeps."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ranking.lexical import MOST_TERMS, TermIndex, item_terms, query_terms
from streams.ranking.ranking import rank
from streams.ranking.request import Request
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.topics import ITEMS_VECTORS
from tests.support.profile_harness import CODECS, DIMENSION, START_MS, VERSION, ProfileHarness, vector_record
from tests.support.rules import profile_rules

TITLES = (
    "Bosch GSB 18V-55 cordless drill",
    "Bosch GSR 12V-15 drill driver",
    "Makita DHP482 combi drill",
    "美的 电饭煲 MB-FB40M161 4L",
    "苏泊尔 电饭煲 球釜 5L",
    "iPhone 15 Pro 手机壳 磁吸 透明",
    "华为 Mate 60 手机壳 皮革",
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "Löwenzahn Kräutertee 50 g",
)


def index() -> TermIndex:
    found = TermIndex()
    for row, title in enumerate(TITLES):
        found.put(row, item_terms(title, f"SKU-{row:04}"))
    return found


def best(query: str, among: TermIndex | None = None) -> str:
    rows, scores = (among or index()).match(query)
    assert len(rows) == len(scores) and (scores > 0).all() and (scores <= 1 + 1e-6).all() and (np.diff(rows) > 0).all()
    return TITLES[int(rows[scores.argmax()])]


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("gsb 18v-55", 0),
        ("GSB18V55", 0),
        ("bosch gsr", 1),
        ("DHP 482", 2),
        ("mbfb40m161", 3),
        ("美的电饭煲", 3),
        ("球釜电饭煲", 4),
        ("iphone15 手机壳", 5),
        ("ｉＰｈｏｎｅ 手机壳", 5),
        ("华为手机壳", 6),
        ("hanging hart", 7),
        ("t light holder", 7),
        ("kraeutertee löwenzahn", 8),
        ("sku-0004", 4),
        ("SKU0002", 2),
    ],
)
def test_a_query_finds_what_it_names(query: str, row: int) -> None:
    assert best(query) == TITLES[row]


@pytest.mark.parametrize("query", ["", "   ", "???", "🎄", "qqqq", "\u0301"])
def test_what_names_nothing_finds_nothing(query: str) -> None:
    assert len(index().match(query)[0]) == 0


def test_a_whole_title_scores_one() -> None:
    rows, scores = index().match(TITLES[7])
    assert dict(zip(rows.tolist(), scores.tolist(), strict=True))[7] == pytest.approx(1.0)


@given(st.text(max_size=3000), st.text(max_size=50))
def test_any_text_has_bounded_terms(text: str, item_id: str) -> None:
    terms = item_terms(text, item_id)
    assert len(terms) % 4 == 0 and len(terms) <= 4 * MOST_TERMS
    assert item_terms(text, item_id) == terms
    assert all(0 < weight <= 1 for weight in query_terms(text).values())


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from((*TITLES, ""))), max_size=40))
@settings(deadline=None, max_examples=60)
def test_the_index_is_what_was_put_last(changes: list[tuple[int, str]]) -> None:
    tested, fresh, last = TermIndex(), TermIndex(), dict(changes)
    for row, title in changes:
        tested.put(row, item_terms(title, "x") if title else b"")
    for row, title in last.items():
        fresh.put(row, item_terms(title, "x") if title else b"")
    for query in ("drill", "手机壳", "x"):
        ours, theirs = tested.match(query), fresh.match(query)
        assert ours[0].tolist() == theirs[0].tolist()
        assert ours[1] == pytest.approx(theirs[1])


def test_a_search_answers_by_the_letter_and_says_so() -> None:
    """Vectors say nothing here; the query's own letters decide, and their share is told."""
    harness = ProfileHarness()
    matrix = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION)
    codec, shuffled = CODECS.for_topic(ITEMS_VECTORS), random.Random(1)
    vectors = np.random.default_rng(3).standard_normal((len(TITLES), DIMENSION)).astype(np.float32)
    records = []
    for row, (title, vector) in enumerate(zip(TITLES, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True)):
        record = vector_record(f"i{row}", vector)
        records.append(record._replace(value=codec.encode({**codec.decode(record.value), "terms": item_terms(title, f"i{row}")})))
    shuffled.shuffle(records)
    matrix.apply(records)
    request = Request([], [], [], "makita dhp482", [], START_MS)
    rules = profile_rules(threshold=-9.0, top_k=3, reasons_max=9)
    ranked = rank([request], matrix, harness.popularity, {}, rules)[0]
    assert ranked.items[0] == "i2"
    assert ranked.shares.sum(axis=1) == pytest.approx(ranked.scores.sum(axis=1), abs=1e-6)
    assert ranked.scores[0, 3] == pytest.approx(1.0, abs=0.01)
    first = {ranked.sources[place].kind: share for place, share in zip(ranked.reasons[0], ranked.shares[0], strict=True)}
    assert first["match"] == pytest.approx(ranked.scores[0, 3])
    silent = rank([request], matrix, harness.popularity, {}, profile_rules(threshold=-9.0, top_k=3, match_weight=0.0))[0]
    assert not silent.scores[:, 3].any()
    matrix.apply([record._replace(value=None) for record in records if record.key.endswith(b"/i2")])
    assert "i2" not in rank([request], matrix, harness.popularity, {}, rules)[0].items

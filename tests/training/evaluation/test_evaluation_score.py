"""Cases are ranked as the profile stage itself ranks, on random data."""

from __future__ import annotations

import numpy as np
import pytest

from streams.ranking.popularity import DecayedCount
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Entry, Request
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS
from streams.training.evaluation.cases import Case, EvaluationCatalogue, Part, served_vectors
from streams.training.evaluation.popularity import Popularity, snapshots
from streams.training.evaluation.score import rank as rank_cases
from tests.support.evaluation_data import DAY_MS, START_MS, unit
from tests.support.profile_harness import CODECS, popularity_record, vector_record
from tests.support.rules import profile_rules

ITEMS, DIMENSION, COUNT = 300, 24, 10
HALF_LIFE_MS = 512_000 * 1000
"""A multiple of the cells in which the popularity table evaluates counts: then its time is the case's."""
AT_MS = START_MS // 1_000_000 * 1_000_000


@pytest.mark.parametrize("seed", range(4))
def test_ranking_equals_the_stages(seed: int) -> None:
    generator = np.random.default_rng(seed)
    raw = unit(generator.standard_normal((ITEMS, DIMENSION)) + 0.7)
    ids = [f"i{n:03}" for n in range(ITEMS)]
    open_rows = generator.random(ITEMS) > 0.1
    matrix = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), "hashing", DIMENSION)
    matrix.apply([vector_record(i, v, recommendable=bool(o)) for i, v, o in zip(ids, raw, open_rows, strict=True)])
    table = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), HALF_LIFE_MS)
    counts = generator.uniform(0, 40, ITEMS)
    table.apply([popularity_record(i, c, AT_MS, n) for n, (i, c) in enumerate(zip(ids, counts, strict=True))])

    asked = unit(generator.standard_normal((5, DIMENSION)) + 0.7)
    found = served_vectors(raw, asked)
    assert found.items == pytest.approx(matrix.vectors, abs=1e-6)
    assert found.queries == pytest.approx(matrix.transform(asked), abs=1e-6)
    # The stage's own numbers, so that equality can be exact.
    queries = {f"q{n}": v for n, v in enumerate(matrix.transform(asked))}
    popularity = Popularity(np.array([AT_MS], np.int64), counts[None], HALF_LIFE_MS)
    shop = EvaluationCatalogue(ids, matrix.vectors, popularity, counts, queries=queries, recommendable=open_rows)

    cases, requests = [], []
    for number in range(40):
        parts = [
            Part("item", ids[r], float(generator.uniform(-0.5, 1)), int(generator.integers(0, 300 * DAY_MS))) for r in range(number % 9)
        ]
        parts = [part._replace(ref=str(generator.choice([*ids, "unknown"]))) for part in parts]
        parts = list({part.ref: part for part in parts}.values())
        parts += [Part("query", f"q{number % 7}", 0.5, DAY_MS)] if number % 3 else []
        closed = frozenset(str(i) for i in generator.choice(ids, 30))
        at_ms = AT_MS + number % 3 * 40 * 1_000_000
        cases.append(Case(f"u{number}", parts, frozenset(["i000"]), closed, at_ms, number))
        requests.append(
            Request(
                [p.ref for p in parts if p.kind == "item"],
                [Entry(p.weight, at_ms - p.age_ms, 4) for p in parts if p.kind == "item"],
                [(p.ref, Entry(p.weight, at_ms - p.age_ms, 2)) for p in parts if p.kind == "query"],
                None,
                sorted(closed),
                at_ms,
            )
        )
    rules = profile_rules(half_life_ms=60.0 * DAY_MS, popularity_weight=0.17, threshold=float("-inf"), top_k=COUNT)
    expected = rank(requests, matrix, table, queries, rules)
    answer = rank_cases(cases, shop, half_life_days=60.0, popularity_weight=0.17, count=COUNT)
    for place, ranked in enumerate(expected):
        assert [ids[row] for row in answer.rows[place] if row >= 0] == ranked.items
        assert answer.scores[place, : len(ranked.items)] == pytest.approx(ranked.scores.sum(axis=1, dtype=np.float64), abs=1e-6)


def test_fewer_items_than_asked_for_leave_places_empty() -> None:
    vectors = unit(np.eye(3))
    popularity = Popularity(np.array([0], np.int64), np.zeros((1, 3)), 1.0)
    shop = EvaluationCatalogue(["a", "b", "c"], vectors, popularity, np.ones(3))
    one = Case("u", [Part("item", "a", 1.0, 0)], frozenset(["b"]), frozenset(["a"]), 0, 1)
    answer = rank_cases([one], shop, half_life_days=1.0, popularity_weight=0.0, count=5)
    assert answer.rows.tolist() == [[1, 2, -1, -1, -1]]
    assert np.isinf(answer.scores[0, 2:]).all()
    assert rank_cases([], shop, half_life_days=1.0, popularity_weight=0.0, count=5).rows.shape == (0, 5)


def test_snapshots_are_the_stages_counts() -> None:
    generator = np.random.default_rng(5)
    times = np.sort(generator.integers(0, 1000, 200))
    rows, weights = generator.integers(0, 4, 200), generator.uniform(0, 1, 200)
    found = snapshots(rows, weights, times, at_ms=[700, 300, 1000], items=4, half_life_ms=150.0)
    assert found.times_ms.tolist() == [300, 700, 1000]
    for place, moment in enumerate(found.times_ms.tolist()):
        for row in range(4):
            count = DecayedCount(0.0, 0, -1)
            for offset in np.flatnonzero((rows == row) & (times < moment)).tolist():
                count = count.plus(float(weights[offset]), int(times[offset]), offset, 150.0)
            assert found.counts[place, row] == pytest.approx(count.value * 2.0 ** ((count.as_of_ms - moment) / 150.0))
    assert found.at(850) == pytest.approx(found.counts[1] / 2)
    assert found.at(10) == pytest.approx(found.counts[0]), "before all: the first, not grown backwards"


@pytest.mark.parametrize("times", [[], [5, 5], [6, 5]])
def test_snapshots_out_of_order_are_refused(times: list[int]) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Popularity(np.array(times, np.int64), np.zeros((len(times), 1)), 1.0)


def test_a_catalogue_of_unlike_lengths_is_refused() -> None:
    popularity = Popularity(np.array([0], np.int64), np.zeros((1, 2)), 1.0)
    with pytest.raises(ValueError, match="other lengths"):
        EvaluationCatalogue(["a", "b"], unit(np.eye(2)), popularity, np.ones(3))

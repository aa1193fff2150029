"""Metrics against loops that say what they mean."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.training.evaluation.measure import segments
from streams.training.evaluation.metrics import calibration, coverage, head, hits, long_tail_share, per_case, precision_above
from streams.training.evaluation.score import Ranked
from tests.support.evaluation_data import case, catalogue

ITEMS = 12
IDS = [f"i{n:03}" for n in range(ITEMS)]
SHOP = catalogue(np.random.default_rng(1), ITEMS)

lists = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=5)
targets = st.sets(st.sampled_from([*IDS, "unknown"]), min_size=1, max_size=8)


def ranked(rows: list[list[int]], scores: list[list[float]] | None = None) -> Ranked:
    """Five places each."""
    padded = np.array([[*mine, *[-1] * (5 - len(mine))] for mine in rows], np.intp).reshape(len(rows), 5)
    values = [[1.0 - 0.1 * place for place in range(len(mine))] for mine in rows] if scores is None else scores
    filled = [[*mine, *[-math.inf] * (5 - len(mine))] for mine in values]
    return Ranked(padded, np.array(filled, np.float64).reshape(len(rows), 5))


@given(st.lists(st.tuples(lists, targets), min_size=1, max_size=6))
def test_per_case_is_what_a_loop_says(drawn: list[tuple[list[int], set[str]]]) -> None:
    cases = [case(f"u{n}", [], sorted(wanted)) for n, (_, wanted) in enumerate(drawn)]
    answer = ranked([rows for rows, _ in drawn])
    values = per_case(hits(answer, cases, SHOP), cases)
    for place, (rows, wanted) in enumerate(drawn):
        gain, good = 0.0, 0
        for position, row in enumerate(rows):
            if IDS[row] in wanted:
                gain += 1 / math.log2(position + 2)
                good += 1
        ideal = sum(1 / math.log2(position + 2) for position in range(min(5, len(wanted))))
        assert values.hit[place] == (good > 0)
        assert values.ndcg[place] == pytest.approx(gain / ideal)
        assert values.recall[place] == pytest.approx(good / len(wanted))


@given(st.lists(lists, min_size=1, max_size=6))
def test_coverage_and_long_tail_are_what_a_loop_says(rows: list[list[int]]) -> None:
    answer = ranked(rows)
    shown = [row for mine in rows for row in mine]
    assert coverage(answer, SHOP.open_rows) == pytest.approx(len(set(shown)) / ITEMS)
    popular, total = set(), 0.0
    for row in sorted(range(ITEMS), key=lambda r: (-SHOP.interactions[r], r)):
        if total < 0.8 * SHOP.interactions.sum():
            popular.add(row)
            total += SHOP.interactions[row]
    expected = sum(row not in popular for row in shown) / len(shown) if shown else 0.0
    assert long_tail_share(answer, SHOP.interactions) == pytest.approx(expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.floats(0.05, 1.0))
def test_the_head_is_the_smallest_that_suffices(numbers: list[int], share: float) -> None:
    interactions = np.array(numbers, np.float64)
    chosen = head(interactions, share)
    wanted = share * interactions.sum()
    assert interactions[chosen].sum() >= wanted * (1 - 1e-9)
    if chosen.any():
        assert interactions[chosen].sum() - interactions[chosen].min() < wanted
        assert interactions[chosen].min() >= max(interactions[~chosen], default=0)


@given(st.lists(st.tuples(st.floats(-1, 2), st.booleans()), min_size=1, max_size=60), st.integers(1, 12))
def test_calibration_counts_every_item_once(drawn: list[tuple[float, bool]], bins: int) -> None:
    scores = np.array([[score for score, _ in drawn]])
    good = np.array([[hit for _, hit in drawn]])
    found = calibration(Ranked(np.zeros(scores.shape, np.intp), scores), good, bins)
    assert sum(b.items for b in found) == len(drawn)
    assert sum(b.items * b.precision for b in found) == pytest.approx(good.sum())
    assert all(a.high <= b.low for a, b in pairwise(found))
    assert max(b.items for b in found) - min(b.items for b in found) <= 1


def test_precision_above_counts_what_passes_strictly() -> None:
    answer = ranked([[0, 1], [2], []], [[0.5, 0.4], [0.4], []])
    good = np.zeros((3, 5), np.bool_)
    good[0, 0] = True
    assert precision_above(answer, good, 0.4) == (1.0, pytest.approx(1 / 3))
    assert precision_above(answer, good, 0.39) == (pytest.approx(1 / 3), 1.0)
    assert precision_above(answer, good, 0.5) == (0.0, 0.0)


def test_segments_name_users_by_events_and_targets_by_category() -> None:
    cases = [case("a", [], ["i000", "i001"], events=10), case("b", [], ["i001"], events=100), case("c", [], ["i003"], events=50)]
    found = {name: mask.tolist() for name, mask in segments(cases, SHOP, least=1).items()}
    assert found == {
        "new users": [True, False, False],
        "heavy users": [False, True, False],
        "category: toys": [True, False, False],
        "category: tools": [True, True, False],
    }
    assert list(segments(cases, SHOP, least=2)) == ["category: tools"]

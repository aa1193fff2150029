"""Fitting finds what was planted, and stays where there is no evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ranking.serving_params import ServingParams
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.fit import FitRule, Point, choose, fit, for_precision, for_volume, grid
from streams.training.evaluation.metrics import coverage, hits, long_tail_share, per_case
from streams.training.evaluation.score import Ranked, rank
from tests.support.evaluation_data import case, catalogue, random_cases

RULE = FitRule(half_lives_days=(7.5, 30.0, 120.0, 480.0), weights=(0.0, 0.1, 0.2, 0.4), spread_tolerance=None)
CURRENT = ServingParams(60.0, 0.15, 0.3)


def planted(half_life: float, weight: float) -> tuple[list[Case], EvaluationCatalogue]:
    """Shoppers who next turn to exactly what these parameters rank first."""
    generator = np.random.default_rng(4)
    shop = catalogue(generator, 200)
    asked = [
        case(
            f"u{n}",
            [(f"i{i:03}", float(age)) for i, age in zip(generator.permutation(200)[:6], generator.uniform(0, 300, 6), strict=True)],
            ["i000"],
        )
        for n in range(300)
    ]
    found = rank(asked, shop, half_life_days=half_life, popularity_weight=weight, count=3)
    return [one._replace(targets=frozenset(shop.ids[r] for r in rows)) for one, rows in zip(asked, found.rows, strict=True)], shop


@pytest.mark.parametrize(("half_life", "weight"), [(7.5, 0.0), (30.0, 0.1), (480.0, 0.0), (120.0, 0.2)])
def test_fit_finds_a_planted_optimum(half_life: float, weight: float) -> None:
    cases, shop = planted(half_life, weight)
    found = fit(cases, shop, CURRENT, RULE)
    assert (found.half_life_days, found.popularity_weight) == (half_life, weight)
    assert found.threshold == CURRENT.threshold, "no target, no move"


def test_fit_does_not_move_without_evidence() -> None:
    """Targets that have nothing to do with anything: over 20 sets, hardly ever."""
    moved = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        shop = catalogue(generator, 40, counts=generator.uniform(0, 30, 40))
        found = fit(random_cases(generator, 150), shop, CURRENT, RULE)
        moved += found != CURRENT
    assert moved <= 2


def test_too_few_cases_move_nothing() -> None:
    cases, shop = planted(7.5, 0.0)
    assert fit(cases[:99], shop, CURRENT, replace(RULE, target_volume=1.0)) == CURRENT


def test_the_grid_is_what_scoring_each_point_says() -> None:
    generator = np.random.default_rng(9)
    shop, cases = catalogue(generator), random_cases(generator, 60)
    points = grid(cases, shop, CURRENT, RULE)
    assert len(points) == 25
    for one in points[::6]:
        answer = rank(cases, shop, half_life_days=one.half_life_days, popularity_weight=one.weight, count=10)
        values = per_case(hits(answer, cases, shop), cases)
        assert one.values == pytest.approx(values.hit + values.ndcg)
        assert one.coverage == coverage(answer, shop.open_rows)
        assert one.long_tail == pytest.approx(long_tail_share(answer, shop.interactions))


def point(half_life: float, values: np.ndarray, coverage: float = 0.5, long_tail: float = 0.2) -> Point:
    return Point(half_life, 0.15, 0.0, values, coverage, long_tail)


@pytest.mark.parametrize(("coverage", "long_tail", "moves"), [(0.46, 0.19, True), (0.44, 0.2, False), (0.5, 0.17, False), (0.9, 0.9, True)])
def test_hits_are_not_bought_with_sameness(coverage: float, long_tail: float, moves: bool) -> None:
    values = np.random.default_rng(1).uniform(0, 1, 400)
    points = [point(60.0, values), point(120.0, values + 0.3, coverage, long_tail)]
    users = [f"u{n}" for n in range(400)]
    chosen = choose(points, CURRENT, users, replace(RULE, spread_tolerance=0.1))
    assert chosen[:2] == (120.0 if moves else 60.0, 0.15)
    assert choose(points, CURRENT, users, RULE)[:2] == (120.0, 0.15)


def test_among_equals_the_nearest_is_chosen() -> None:
    generator = np.random.default_rng(1)
    users = [f"u{n}" for n in range(400)]
    low, high = generator.uniform(0, 1, 400), generator.uniform(0.5, 1.5, 400)
    points = [point(60.0, low), point(120.0, high), point(480.0, high + generator.normal(0.0005, 0.02, 400))]
    assert choose(points, CURRENT, users, RULE)[:2] == (120.0, 0.15)


def test_cases_of_one_user_are_one_piece_of_evidence() -> None:
    values = np.random.default_rng(1).normal(0.05, 0.3, 20)
    points = [point(60.0, np.zeros(400)), point(120.0, np.repeat(values, 20))]
    assert choose(points, CURRENT, [f"u{n}" for n in range(400)], RULE)[:2] == (120.0, 0.15)
    assert choose(points, CURRENT, [f"u{n // 20}" for n in range(400)], RULE)[:2] == (60.0, 0.15)


drawn = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=60, max_size=200)


def answers(items: list[tuple[int, bool]]) -> tuple[Ranked, np.ndarray]:
    """One item a case, many equal scores."""
    scores = np.array([[score / 10.0] for score, _ in items])
    return Ranked(np.zeros(scores.shape, np.intp), scores), np.array([[good] for _, good in items])


@given(drawn, st.floats(0.01, 1.5))
def test_threshold_for_a_volume(items: list[tuple[int, bool]], volume: float) -> None:
    ranked, _ = answers(items)
    threshold = for_volume(ranked, volume, otherwise=-5.0)
    above = (ranked.scores > threshold).sum()
    assert above <= volume * len(items) + 1e-6
    lower = ranked.scores[ranked.scores <= threshold]
    if len(lower):
        assert (ranked.scores >= lower.max()).sum() > volume * len(items) - 1e-6


@given(drawn, st.floats(0.05, 0.95))
@pytest.mark.slow
def test_threshold_for_a_precision(items: list[tuple[int, bool]], precision: float) -> None:
    ranked, good = answers(items)
    threshold = for_precision(ranked, good, precision, otherwise=-5.0)
    reachable = {}
    for candidate in sorted({-1.0, *ranked.scores.ravel().tolist()}):
        above = ranked.scores > candidate
        if above.sum() >= 50:
            reachable[candidate] = good[above].mean() >= precision
    best = [candidate for candidate, reached in reachable.items() if reached]
    if best:
        assert ((ranked.scores > threshold) == (ranked.scores > min(best))).all()
    else:
        assert threshold == -5.0


def test_fit_sets_the_threshold_for_a_target() -> None:
    cases, shop = planted(120.0, 0.1)
    volume = fit(cases, shop, CURRENT, replace(RULE, target_volume=2.5))
    ranked = rank(cases, shop, half_life_days=volume.half_life_days, popularity_weight=volume.popularity_weight, count=10)
    assert (ranked.scores > volume.threshold).sum() / len(cases) == pytest.approx(2.5, abs=0.01)
    precise = fit(cases, shop, CURRENT, replace(RULE, target_precision=0.8))
    above = ranked.scores > precise.threshold
    assert hits(ranked, cases, shop)[above].mean() >= 0.8
    with pytest.raises(ValueError, match="not both"):
        fit(cases, shop, CURRENT, replace(RULE, target_precision=0.8, target_volume=1.0))


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_impossible_targets_are_refused(wrong: float) -> None:
    ranked, good = answers([(1, True)] * 60)
    with pytest.raises(ValueError, match="volume"):
        for_volume(ranked, wrong, otherwise=0.0)
    with pytest.raises(ValueError, match="precision"):
        for_precision(ranked, good, wrong - 0.1, otherwise=0.0)

"""Who is in a canary, and that looking often does not make its errors more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.hotswap.serving_model import in_canary
from streams.training.rollout import CLUSTERS, Arm, CanaryRule, between, cluster_of, compare

RULE = CanaryRule(design_effect=1.0, min_each=200, max_candidate=4000)
BATCH = 100


@given(st.text(max_size=20), st.floats(0, 1), st.floats(0, 1), st.text(max_size=12))
def test_who_is_in_stays_in_as_the_share_grows(pseudonym: str, first: float, second: float, version: str) -> None:
    low, high = sorted((first, second))
    assert in_canary(pseudonym, low, version) <= in_canary(pseudonym, high, version)
    assert not in_canary(pseudonym, 0.0, version)
    assert in_canary(pseudonym, 1.0, version)


def test_the_share_is_met_and_versions_choose_other_people() -> None:
    people = [f"k1.{n}" for n in range(20_000)]
    first, second = ({p for p in people if in_canary(p, 0.1, version)} for version in ("abc", "def"))
    assert len(first) / 20_000 == pytest.approx(0.1, abs=0.01)
    assert len(first & second) / 20_000 == pytest.approx(0.01, abs=0.003)


def run(generator: np.random.Generator, difference: float, rule: CanaryRule, *, share: float = 0.5, level: float = 0.1) -> tuple[str, int]:
    """A canary with a look after every batch: rewards are mostly 0, as in a shop. Its answer, and the candidate's recommendations."""
    incumbent, candidate = Arm(), Arm()
    while True:
        incumbent = incumbent.plus(generator.binomial(1, level, round(BATCH * (1 - share) / share)).tolist())
        candidate = candidate.plus(generator.binomial(1, level + difference, BATCH).tolist())
        outcome = compare(incumbent, candidate, 0, rule)
        assert outcome.low <= outcome.difference <= outcome.high
        if outcome.action != "go on":
            return outcome.action, candidate.size


@pytest.mark.parametrize(("share", "level"), [(0.5, 0.1), (0.5, 0.5), (0.2, 0.1)])
def test_without_a_difference_peeking_errs_less_often_than_alpha(share: float, level: float) -> None:
    """300 canaries, 40 looks each. A test for one look, used like this, would claim a difference in about a third of them."""
    generator = np.random.default_rng(5)
    answers = Counter(run(generator, 0.0, RULE, share=share, level=level)[0] for _ in range(300))
    assert answers["give up"] >= 300 * (1 - RULE.alpha)


def test_a_fixed_test_would_err_far_more_often() -> None:
    """What the sequence is for: the same looks with 1.96 standard errors."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        rewards = generator.binomial(1, 0.1, (2, 40, BATCH))
        counts = BATCH * np.arange(1, 41)
        means = rewards.sum(axis=2).cumsum(axis=1) / counts
        errors = np.sqrt((means * (1 - means)).sum(axis=0) / counts)
        wrong += bool((np.abs(means[0] - means[1]) > 1.96 * errors)[1:].any())
    assert wrong / 200 > 0.15


@pytest.mark.parametrize(("difference", "action"), [(0.06, "promote"), (-0.06, "roll back")])
def test_real_differences_are_found(difference: float, action: str) -> None:
    generator = np.random.default_rng(6)
    answers = [run(generator, difference, RULE) for _ in range(100)]
    assert sum(found == action for found, _ in answers) >= 95
    assert np.mean([size for _, size in answers]) < 2500, "and before the end"


def test_a_harmful_model_is_rolled_back_early() -> None:
    generator = np.random.default_rng(6)
    assert all(run(generator, -0.3, RULE, level=0.4) == ("roll back", 200) for _ in range(20))


def test_it_gives_up_by_count_and_by_time() -> None:
    rewards = [0.0, 1.0] * 150
    same = Arm().plus(rewards)
    assert compare(same, same, 0, RULE).action == "go on"
    late = compare(same, same, RULE.max_ms, RULE)
    assert late.action == "give up"
    assert "7.0 days" in late.reason
    assert compare(same, same, 0, replace(RULE, max_candidate=300)).action == "give up"
    better = Arm().plus([1.0, 1.0, 0.0] * 1000)
    assert compare(Arm().plus(rewards), better, RULE.max_ms, RULE).action == "promote", "what is decided counts, even late"


@pytest.mark.parametrize("candidate", [Arm(), Arm().plus([1.0]), Arm().plus([1.0] * 199)])
def test_few_rewards_decide_nothing(candidate: Arm) -> None:
    assert compare(Arm().plus([0.0, 0.0, 0.1] * 1000), candidate, 0, RULE).action == "go on"


def test_rewards_that_are_all_alike_decide_nothing() -> None:
    assert compare(Arm().plus([0.0] * 500), Arm().plus([1.0] * 500), 0, RULE).action == "go on"


@given(st.lists(st.lists(st.floats(-1, 1), max_size=20), max_size=6))
def test_an_arm_is_the_sum_of_its_batches(batches: list[list[float]]) -> None:
    arm = Arm()
    for batch in batches:
        arm = arm.plus(batch)
    rewards = [reward for batch in batches for reward in batch]
    assert arm.size == len(rewards)
    if len(rewards) > 1:
        assert arm.mean == pytest.approx(np.mean(rewards), abs=1e-9)
        assert arm.variance == pytest.approx(np.var(rewards, ddof=1), abs=1e-9)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Arm().plus([wrong])


def test_the_design_effect_widens_the_interval() -> None:
    arm = Arm().plus([0.0, 1.0] * 500)
    narrow, wide = (compare(arm, arm, 0, replace(RULE, design_effect=effect)) for effect in (1.0, 2.0))
    assert wide.high > 1.3 * narrow.high


@pytest.mark.slow
def test_shoppers_who_differ_much_do_not_pass_for_evidence() -> None:
    """150 canaries of two equal models: 600 shoppers with habits of their own, a few of them busy, looked at 30 times. Taken for
    independent, their recommendations would decide in more than a quarter of them."""
    generator = np.random.default_rng(9)
    wrong = {True: 0, False: 0}
    for _ in range(150):
        habit, busy = generator.beta(0.4, 3.6, 600), generator.lognormal(0.0, 1.0, 600)
        new, cluster = generator.random(600) < 0.3, generator.integers(0, CLUSTERS, 600)
        decided = {True: False, False: False}
        sums = np.zeros((2, CLUSTERS, 2))
        for _ in range(30):
            shown = generator.poisson(busy)
            earned = generator.binomial(shown, habit)
            np.add.at(sums, (new.astype(int), cluster), np.stack([shown, earned], axis=1))
            for clustered in decided:
                arms = []
                for own in sums:
                    size, total = (float(value) for value in own.sum(axis=0))
                    arms.append(Arm(int(size), total, total, between((int(n), float(t)) for n, t in own) if clustered else None))
                decided[clustered] |= compare(arms[0], arms[1], 0, RULE).action in ("promote", "roll back")
        for clustered, found in decided.items():
            wrong[clustered] += found
    assert wrong[True] <= 150 * 0.07
    assert wrong[False] > 150 * 0.2


@given(st.lists(st.text(max_size=8), min_size=1, max_size=50))
def test_a_shopper_is_always_in_the_same_cluster(pseudonyms: list[str]) -> None:
    assert all(0 <= cluster_of(pseudonym) < CLUSTERS for pseudonym in pseudonyms)
    assert [cluster_of(pseudonym) for pseudonym in pseudonyms] == [cluster_of(pseudonym) for pseudonym in pseudonyms]


def test_too_few_clusters_decide_nothing() -> None:
    assert between([(10, 1.0)] * 19 + [(0, 0.0)] * 50) == float("inf")
    arm = Arm().plus([0.0, 1.0] * 500)._replace(between=float("inf"))
    assert compare(arm, Arm().plus([1.0] * 999 + [0.9]), 0, RULE).action == "go on"

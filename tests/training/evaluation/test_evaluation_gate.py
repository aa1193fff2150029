"""The gate lets through what gains beyond chance, and refuses on each of its guards alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streams.ranking.serving_params import ServingParams
from streams.training.evaluation.gate import GateRule, decide
from streams.training.evaluation.metrics import PerCase
from streams.training.evaluation.report import markdown, write_report
from tests.support.evaluation_data import measurement

RULE = GateRule(resamples=500)
GENERATOR = np.random.default_rng(11)
BEFORE = GENERATOR.uniform(0, 0.4, 400)
AFTER = BEFORE + 0.05 + GENERATOR.normal(0, 0.05, 400)
OLD = GENERATOR.uniform(0.1, 0.3, 100)
FIRST = np.arange(400) < 100
INCUMBENT = measurement(BEFORE, old=OLD, segments={"new users": FIRST})
CANDIDATE = measurement(AFTER, old=OLD, segments={"new users": FIRST})


def test_a_better_candidate_is_promoted() -> None:
    verdict = decide(CANDIDATE, INCUMBENT, RULE)
    assert verdict.promote, verdict.reasons
    assert verdict.differences["ndcg"].low > 0
    assert verdict.numbers["candidate_ndcg"] == pytest.approx(AFTER.mean())
    assert set(verdict.differences) == {"hit", "ndcg", "recall", "new users", "old slice"}


def worse_in_one_segment() -> np.ndarray:
    values = AFTER + 0.05
    values[FIRST] = BEFORE[FIRST] - 0.08
    return values


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (measurement(BEFORE + GENERATOR.normal(0, 0.05, 400), old=OLD, segments={"new users": FIRST}), "does not gain beyond chance"),
        (replace(CANDIDATE, coverage=0.26), "coverage falls"),
        (replace(CANDIDATE, long_tail=0.17), "long-tail share falls"),
        (measurement(worse_in_one_segment(), old=OLD, segments={"new users": FIRST}), "new users: falls"),
        (measurement(AFTER, old=OLD * 0.9, segments={"new users": FIRST}), "forgetting"),
        (replace(CANDIDATE, coverage=math.nan), "not a finite number: candidate_coverage"),
        (measurement(np.where(FIRST, np.nan, AFTER), old=OLD, segments={"new users": FIRST}), "not a finite number"),
        (measurement(AFTER, old=np.full(100, np.nan), segments={"new users": FIRST}), "not a finite number"),
    ],
)
def test_each_guard_refuses_alone(candidate: object, said: str) -> None:
    verdict = decide(candidate, INCUMBENT, RULE)  # type: ignore[arg-type]
    assert not verdict.promote
    assert len(verdict.reasons) == 1
    assert said in verdict.reasons[0]


@pytest.mark.parametrize(("coverage", "long_tail"), [(0.271, 0.2), (0.3, 0.181), (0.9, 0.9)])
def test_what_is_tolerated_passes(coverage: float, long_tail: float) -> None:
    assert decide(replace(CANDIDATE, coverage=coverage, long_tail=long_tail), INCUMBENT, RULE).promote


def test_a_segment_that_falls_by_chance_alone_does_not_stop_a_promotion() -> None:
    few = np.arange(400) < 6
    values = AFTER.copy()
    values[:6] = BEFORE[:6] + np.array([-0.3, 0.2, -0.3, 0.25, -0.2, 0.05])
    candidate, incumbent = (measurement(v, old=OLD, segments={"few": few}) for v in (values, BEFORE))
    verdict = decide(candidate, incumbent, RULE)
    assert verdict.differences["few"].mean < -0.1 * BEFORE[:6].mean()
    assert verdict.promote


def test_too_few_cases_are_no_evidence() -> None:
    verdict = decide(measurement(AFTER[:199]), measurement(BEFORE[:199]), RULE)
    assert not verdict.promote
    assert "too few cases" in verdict.reasons[0]
    assert not decide(measurement(AFTER[:0]), measurement(BEFORE[:0]), RULE).promote


def test_many_cases_of_few_shoppers_are_no_evidence() -> None:
    users = [f"u{n % 99}" for n in range(400)]
    verdict = decide(measurement(AFTER, users=users), measurement(BEFORE, users=users), RULE)
    assert not verdict.promote
    assert "too few shoppers" in verdict.reasons[0]


def test_without_an_old_slice_it_says_so() -> None:
    verdict = decide(measurement(AFTER), measurement(BEFORE), RULE)
    assert verdict.promote
    assert any("forgetting was not judged" in reason for reason in verdict.reasons)


def test_the_chosen_metric_decides() -> None:
    mixed = replace(CANDIDATE, values=PerCase(BEFORE, AFTER, BEFORE))
    assert decide(mixed, INCUMBENT, RULE).promote
    assert not decide(mixed, INCUMBENT, replace(RULE, metric="hit")).promote
    assert not decide(CANDIDATE, INCUMBENT, replace(RULE, least_gain=0.2)).promote


def test_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="different cases"):
        decide(replace(CANDIDATE, users=[f"v{n}" for n in range(400)]), INCUMBENT, RULE)


def test_chance_is_seldom_promoted() -> None:
    """Of candidates that are no better, at most about 2.5% pass an interval of 95%."""
    generator = np.random.default_rng(2)
    incumbent = measurement(BEFORE)
    passed = sum(
        decide(measurement(BEFORE + generator.normal(0, 0.1, 400)), incumbent, GateRule(resamples=300)).promote for _ in range(100)
    )
    assert passed <= 8


def test_report_says_what_was_decided_and_why(tmp_path: Path) -> None:
    candidate, incumbent = (replace(of, segments={"category: a|b": FIRST}) for of in (CANDIDATE, INCUMBENT))
    verdict = decide(candidate, incumbent, RULE)
    fitted = ServingParams(120.0, 0.2, 0.31), ServingParams(60.0, 0.1, 0.3)
    path = write_report(tmp_path / "new", verdict, candidate, incumbent, versions=("abc", "def"), fitted=fitted)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Model abc: promoted\n")
    assert "category: a\\|b" in text
    assert "| half life days | 120 | 60 |" in text
    assert (tmp_path / "new" / "report.png").read_bytes()[:4] == b"\x89PNG"
    assert len({line.count(" | ") for line in text.split("## Metrics")[1].split("\n\n")[0].splitlines() if line}) == 1

    refused = decide(measurement(AFTER[:10]), measurement(BEFORE[:10]), RULE)
    said = markdown(refused, measurement(AFTER[:10]), measurement(BEFORE[:10]), versions=("abc", "def"), fitted=fitted)
    assert "not promoted" in said
    assert "too few cases" in said


HOSTILE = (
    "Price $\\frac{1$ off",
    "Toys ($1^ $2)",
    '<img src="http://evil.example/x.png" onerror="alert(1)">',
    "[click](javascript:alert(1)) ![](http://evil.example/t.png)",
    "a|b `c` *d* \\| __e__ ~~f~~",
    "nothing\u200bto\u202esee",
)


@pytest.mark.parametrize("category", HOSTILE)
def test_a_category_is_text_wherever_it_is_shown(category: str, tmp_path: Path) -> None:
    name = f"category: {category}"
    candidate, incumbent = (replace(of, segments={name: FIRST}) for of in (CANDIDATE, INCUMBENT))
    fitted = ServingParams(120.0, 0.2, 0.31), ServingParams(60.0, 0.1, 0.3)
    path = write_report(tmp_path, decide(candidate, incumbent, RULE), candidate, incumbent, versions=("a", "b"), fitted=fitted)
    (line,) = [line for line in path.read_text(encoding="utf-8").splitlines() if "category" in line]
    assert "<" not in line and "\u200b" not in line and "\u202e" not in line
    for mark in "[]`*_~$!":
        assert line.count(mark) == line.count(f"\\{mark}"), mark
    assert len(re.findall(r"(?<!\\)\|", line)) == 5, "the cells of the table, and no more"

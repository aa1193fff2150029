"""Compares a candidate with the serving model: fits parameters on validation, and judges on the test slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from streams.ranking.serving_params import ServingParams
from streams.training.cases import Split
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.fit import FitRule, fit, for_volume
from streams.training.evaluation.gate import GateRule, GateVerdict, decide
from streams.training.evaluation.measure import Measurement, measure
from streams.training.evaluation.metrics import hits, per_case
from streams.training.evaluation.score import rank_by
from streams.training.evaluation_data import Encode, EvaluationData

_VOLUME_TOLERANCE = 0.05
"""Relative difference in volume within which the threshold stays."""
_VOLUME_CASES = 20


@dataclass(frozen=True)
class JudgeRule:
    """How a model is judged. ``most`` is the maximum number of cases per slice, to limit the time."""

    fit: FitRule = field(default_factory=FitRule)
    gate: GateRule = field(default_factory=GateRule)
    most: int = 3000
    quick_cases: int = 800
    """Number of cases of the validation slice for the validations during a training."""


@dataclass(frozen=True)
class Judgement:
    """The result of judging a candidate."""

    verdict: GateVerdict
    candidate: Measurement
    incumbent: Measurement
    fitted: ServingParams


def sample(cases: Sequence[Case], most: int) -> list[Case]:
    """At most ``most`` cases, chosen by hash of shopper and time. The choice is the same every time, and covers all times of day."""
    if len(cases) <= most:
        return list(cases)
    chosen = sorted(cases, key=lambda case: blake2b(f"{case.user}/{case.at_ms}".encode(), digest_size=8).digest())[:most]
    return sorted(chosen, key=lambda case: (case.at_ms, case.user))


def judge(data: EvaluationData, split: Split, candidate: Encode, incumbent: Encode, current: ServingParams, rule: JudgeRule) -> Judgement:
    """Judge both models on the same cases. The incumbent uses ``current``, the candidate the parameters fitted to it."""
    validation, test, old = (sample(cases, rule.most) for cases in (split.validation, split.test, split.old))
    new = data.catalogue(candidate, [*validation, *test, *old])
    before = data.catalogue(incumbent, [*validation, *test, *old])
    fitted, gate = fit(validation, new, current, rule.fit), rule.gate
    if rule.fit.target_precision is None and rule.fit.target_volume is None:
        fitted = with_the_same_volume(validation, new, before, fitted, current, rule.fit.count)
    else:
        gate = replace(gate, volume_tolerance=1.0)  # how much is recommended is what the target says, not what it was
    ours = measure(test, new, fitted, count=rule.fit.count, old=old)
    theirs = measure(test, before, current, count=rule.fit.count, old=old)
    return Judgement(decide(ours, theirs, gate), ours, theirs, fitted)


def judge_weights(data: EvaluationData, split: Split, incumbent: Encode, current: ServingParams, rule: JudgeRule) -> Judgement | None:
    """The incumbent as it is, served with parameters fitted anew; None where they stay. The same gate decides."""
    validation, test, old = (sample(cases, rule.most) for cases in (split.validation, split.test, split.old))
    catalogue = data.catalogue(incumbent, [*validation, *test, *old])
    fitted = fit(validation, catalogue, current, rule.fit)
    if fitted == current:
        return None
    ours = measure(test, catalogue, fitted, count=rule.fit.count, old=old)
    theirs = measure(test, catalogue, current, count=rule.fit.count, old=old)
    return Judgement(decide(ours, theirs, rule.gate), ours, theirs, fitted)


def with_the_same_volume(
    cases: Sequence[Case],
    new: EvaluationCatalogue,
    before: EvaluationCatalogue,
    fitted: ServingParams,
    current: ServingParams,
    count: int,
) -> ServingParams:
    """Set the threshold so that the candidate lets as many items pass as the incumbent. The scores of another model have another
    distribution, so the same threshold would let another share pass.
    """
    if len(cases) < _VOLUME_CASES:
        return fitted
    wanted = measure(cases, before, current, count=count).volume
    if wanted <= 0 or abs(measure(cases, new, fitted, count=count).volume - wanted) <= _VOLUME_TOLERANCE * wanted:
        return fitted
    return replace(fitted, threshold=for_volume(rank_by(cases, new, fitted, count), wanted, otherwise=fitted.threshold))


def quick_score(data: EvaluationData, cases: Sequence[Case], encode: Encode, fitted: ServingParams, count: int) -> float:
    """HR@K + NDCG@K of the cases, by which a training compares its states. 0 if there are no cases."""
    catalogue = data.catalogue(encode, cases)
    ranked = rank_by(cases, catalogue, fitted, count)
    if not cases:
        return 0.0
    found = per_case(hits(ranked, cases, catalogue), cases)
    return float(found.hit.mean() + found.ndcg.mean())

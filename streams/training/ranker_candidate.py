"""Fits a ranker on top of an encoder, and judges both together against what serves."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streams.ranking.learned.model import Ranker
from streams.ranking.rules import DAY_MS, ProfileRules
from streams.ranking.serving_params import ServingParams
from streams.serde.records import FeatureLog, TrainingPair
from streams.training.candidate import Judgement, JudgeRule, sample, with_the_same_volume
from streams.training.cases import Split
from streams.training.evaluation.cases import Case
from streams.training.evaluation.fit import target_threshold
from streams.training.evaluation.gate import decide
from streams.training.evaluation.measure import measure
from streams.training.evaluation.off_policy import OffPolicy
from streams.training.evaluation.score_learned import Learned, PastTables
from streams.training.evaluation_data import Encode, EvaluationData
from streams.training.learned.fit import Fitted, RankerRule, fit_ranker
from streams.training.learned.logged import Joining, join, logged_lists, would_have_earned
from streams.training.learned.past import PastShop

log = logging.getLogger(__name__)
_MOMENTS = 12
"""At which the tables for judging are taken."""


@dataclass(frozen=True)
class Serving:
    """What serves now."""

    encode: Encode
    params: ServingParams
    ranker: Ranker | None


class Logged(NamedTuple):
    """Logs that a new ranker may learn from and be estimated by."""

    joining: Joining
    propensity: Mapping[int, float]
    """By rank."""


def logged_of(
    logs: Sequence[FeatureLog], pairs: Sequence[TrainingPair], version: str, propensity: Mapping[int, float], window_ms: int
) -> Logged | None:
    """The logs of this version, joined with the pairs; None without logs."""
    return Logged(join(logs, pairs, version, window_ms=window_ms), propensity) if logs else None


@dataclass(frozen=True)
class JudgedRanker:
    """A ranker, and what the gate says of it."""

    fitted: Fitted
    judgement: Judgement
    off_policy: OffPolicy | None = None
    """What it would have earned on logged answers that it was not fitted to; None without logs."""
    told: Sequence[str] = ()
    """Of the logs, for the verdict."""


def judge_ranker(
    data: EvaluationData,
    pairs: Sequence[TrainingPair],
    split: Split,
    encode: Encode,
    params: ServingParams,
    now: Serving,
    profile: ProfileRules,
    rule: JudgeRule,
    ranker_rule: RankerRule,
    logged: Logged | None = None,
) -> JudgedRanker | None:
    """Fits a ranker to the pairs before the validation slice, under the encoder and parameters that were chosen for it, and judges it on
    the test slice beside what serves. Logs from before the validation slice are learnt from too; by later ones it is estimated what
    it would have earned. None where there is too little to fit it to.
    """
    validation, test, old = (sample(cases, rule.most) for cases in (split.validation, split.test, split.old))
    cases = [*validation, *test, *old]
    rules = replace(
        profile,
        half_life_ms=params.half_life_days * DAY_MS,
        popularity_weight=params.popularity_weight,
        together_weight=params.together_weight,
    )
    before = [pair for pair in pairs if pair["occurred_at"] < split.cuts.validation_from_ms]
    past = PastShop(before, rules, exclude_seen=False)
    catalogue = data.catalogue(encode, cases, past.texts)
    log.info("round: a ranker is fitted")
    lists = None
    if logged is not None:
        log.info("round: %s", logged.joining)
        learnt = logged.joining.between(0, split.cuts.validation_from_ms - logged.joining.window_ms)
        lists = logged_lists(learnt, logged.propensity, window_ms=logged.joining.window_ms)
    fitted = fit_ranker(
        past,
        catalogue.items,
        rules,
        ranker_rule,
        lambda step: log.info("round: ranker, %s", step),
        lists,
        catalogue.queries,
    )
    if fitted is None:
        return None
    tables = _tables(pairs, rules, cases)
    new = replace(catalogue, learned=Learned(fitted.ranker, tables, rules))
    serving = data.catalogue(now.encode, cases)
    if now.ranker is not None:
        serving = replace(serving, learned=Learned(now.ranker, tables, profile))
    count = rule.fit.count
    gate, fit = rule.gate, rule.fit
    if fit.target_precision is None and fit.target_volume is None:
        chosen = with_the_same_volume(validation, new, serving, params, now.params, count)
    else:
        chosen = replace(params, threshold=target_threshold(validation, new, params, fit))
        gate = replace(gate, volume_tolerance=1.0)  # how much is recommended is what the target says, not what it was
    ours = measure(test, new, chosen, count=count, old=old)
    theirs = measure(test, serving, now.params, count=count, old=old)
    judgement = Judgement(decide(ours, theirs, gate), ours, theirs, chosen)
    if logged is None:
        return JudgedRanker(fitted, judgement)
    unseen = logged.joining.between(split.cuts.validation_from_ms, 1 << 62)
    earned = would_have_earned(unseen, fitted.ranker, logged.propensity)
    return JudgedRanker(fitted, judgement, earned, [str(logged.joining), str(earned)])


def _tables(pairs: Sequence[TrainingPair], rules: ProfileRules, cases: Sequence[Case]) -> list[PastTables]:
    past = PastShop(pairs, rules, exclude_seen=False)
    found = []
    for at_ms in sorted({int(at) for at in np.quantile([case.at_ms for case in cases], np.linspace(0, 1, _MOMENTS), method="lower")}):
        past.advance(at_ms)
        found.append(PastTables(at_ms, past.popularity(), past.together(at_ms)))
    return found

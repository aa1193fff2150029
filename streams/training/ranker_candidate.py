"""Fits a ranker on top of an encoder, and judges both together against what serves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams.ranking.learned.model import Ranker
from streams.ranking.rules import DAY_MS, ProfileRules
from streams.ranking.serving_params import ServingParams
from streams.serde.records import TrainingPair
from streams.training.candidate import Judgement, JudgeRule, sample, with_the_same_volume
from streams.training.cases import Split
from streams.training.evaluation.cases import Case
from streams.training.evaluation.fit import target_threshold
from streams.training.evaluation.gate import decide
from streams.training.evaluation.measure import measure
from streams.training.evaluation.score_learned import Learned, PastTables
from streams.training.evaluation_data import Encode, EvaluationData
from streams.training.learned.fit import Fitted, RankerRule, fit_ranker
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


@dataclass(frozen=True)
class JudgedRanker:
    """A ranker, and what the gate says of it."""

    fitted: Fitted
    judgement: Judgement


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
) -> JudgedRanker | None:
    """Fits a ranker to the pairs before the validation slice, under the encoder and parameters that were chosen for it, and judges it on
    the test slice beside what serves. None where there is too little to fit it to.
    """
    validation, test, old = (sample(cases, rule.most) for cases in (split.validation, split.test, split.old))
    cases = [*validation, *test, *old]
    catalogue = data.catalogue(encode, cases)
    rules = replace(
        profile,
        half_life_ms=params.half_life_days * DAY_MS,
        popularity_weight=params.popularity_weight,
        together_weight=params.together_weight,
    )
    before = [pair for pair in pairs if pair["occurred_at"] < split.cuts.validation_from_ms]
    log.info("round: a ranker is fitted")
    fitted = fit_ranker(
        PastShop(before, rules, exclude_seen=False), catalogue.items, rules, ranker_rule, lambda step: log.info("round: ranker, %s", step)
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
    return JudgedRanker(fitted, Judgement(decide(ours, theirs, gate), ours, theirs, chosen))


def _tables(pairs: Sequence[TrainingPair], rules: ProfileRules, cases: Sequence[Case]) -> list[PastTables]:
    past = PastShop(pairs, rules, exclude_seen=False)
    found = []
    for at_ms in sorted({int(at) for at in np.quantile([case.at_ms for case in cases], np.linspace(0, 1, _MOMENTS), method="lower")}):
        past.advance(at_ms)
        found.append(PastTables(at_ms, past.popularity(), past.together(at_ms)))
    return found

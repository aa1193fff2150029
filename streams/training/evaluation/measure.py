"""All measurements of one model on one slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.ranking.serving_params import ServingParams
from streams.training.evaluation.cases import Case, EvaluationCatalogue
from streams.training.evaluation.metrics import (
    CalibrationBin,
    PerCase,
    calibration,
    coverage,
    hits,
    long_tail_share,
    per_case,
    precision_above,
)
from streams.training.evaluation.score import rank_by

NEW_EVENTS = 10
"""Maximum number of earlier events of a new user."""
HEAVY_EVENTS = 100
"""Minimum number of earlier events of a heavy user."""


@dataclass(frozen=True)
class Measurement:
    """Of one model under its own serving parameters."""

    users: Sequence[str]
    """[cases]"""
    values: PerCase
    coverage: float
    long_tail: float
    segments: Mapping[str, npt.NDArray[np.bool_]]
    calibration: Sequence[CalibrationBin]
    threshold: float
    precision: float
    """Of what passes the threshold."""
    volume: float
    """Items a request that pass the threshold."""
    old_users: Sequence[str] = ()
    old: PerCase | None = None
    """On the fixed old slice, which shows forgetting."""


def measure(
    cases: Sequence[Case],
    catalogue: EvaluationCatalogue,
    fitted: ServingParams,
    *,
    count: int = 10,
    old: Sequence[Case] = (),
    least_segment: int = 50,
) -> Measurement:
    """Rank and judge the cases, and those of the old slice. Arrays follow the cases' order, so two models measured on the same cases can
    be compared case by case."""
    ranked = rank_by(cases, catalogue, fitted, count)
    found = hits(ranked, cases, catalogue)
    precision, volume = precision_above(ranked, found, fitted.threshold)
    old_values = None
    if old:
        again = rank_by(old, catalogue, fitted, count)
        old_values = per_case(hits(again, old, catalogue), old)
    return Measurement(
        users=[case.user for case in cases],
        values=per_case(found, cases),
        coverage=coverage(ranked, catalogue.open_rows),
        long_tail=long_tail_share(ranked, catalogue.interactions),
        segments=segments(cases, catalogue, least=least_segment),
        calibration=calibration(ranked, found),
        threshold=fitted.threshold,
        precision=precision,
        volume=volume,
        old_users=[case.user for case in old],
        old=old_values,
    )


def segments(
    cases: Sequence[Case], catalogue: EvaluationCatalogue, *, least: int, new_events: int = NEW_EVENTS, heavy_events: int = HEAVY_EVENTS
) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Name to bool [cases]: ``new users``, ``heavy users`` and ``category: NAME`` (cases with a target in it). Those with fewer than
    ``least`` cases are left out: nothing can be said of them."""
    events = np.array([case.events for case in cases], np.int64)
    found = {"new users": events <= new_events, "heavy users": events >= heavy_events}
    if catalogue.categories:
        rows = catalogue.rows
        for place, case in enumerate(cases):
            for category in {catalogue.categories[rows[item]] for item in case.targets if item in rows}:
                if category is not None:
                    found.setdefault(f"category: {category}", np.zeros(len(cases), np.bool_))[place] = True
    return {name: mask for name, mask in sorted(found.items()) if mask.sum() >= least}

"""What a batch showed, for the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.engine.records import Shown
from streams.stages.profile.profile import IssuedRecommendation
from streams.stages.profile.recommendation import NO_THRESHOLD, judged_of
from streams.stages.profile.triggers import Triggered


def shown_of(made: Sequence[IssuedRecommendation], triggered: Triggered) -> Shown | None:
    """Of the lists that a batch made now, and of what asked for one; None where nothing did."""
    asked = sum(trigger.policy != "none" for triggers in (*triggered.rounds, triggered.unprofiled) for trigger in triggers)
    if not asked and not triggered.debounced:
        return None
    reasons = {"debounced": triggered.debounced, "nothing_fits": asked - len(made)}
    return Shown(
        lists=[one.items for one in made],
        best=[_best(one) for one in made],
        thresholds={one.model_version: one.threshold for one in made if one.threshold > NO_THRESHOLD},
        not_made={reason: count for reason, count in reasons.items() if count},
    )


def _best(issued: IssuedRecommendation) -> float:
    judged = judged_of(issued)
    if judged is not None:
        return judged[0][0]
    parts = len(issued.scores) // len(issued.items)
    return float(np.frombuffer(issued.scores[:parts], "<f4").sum())

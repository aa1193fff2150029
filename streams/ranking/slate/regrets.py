"""Predicted dismissals and returns: an item's own rates, drawn towards the shop's.

The rate of an item with few exposures is mostly chance, so it is that of the whole shop with the weight of ``STRENGTH`` exposures, and the
item's own beyond (empirical Bayes for rates; Efron and Morris, "Data analysis using Stein's estimator", 1975).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.ranking.slate.rules import SlateRules

Floats = npt.NDArray[np.float64]
STRENGTH = 20.0


def smoothed(events: Floats, chances: Floats) -> Floats:
    """float64 [items], from 0 to 1: the rate of ``events`` in ``chances``, both [items] and not negative. An event without a chance counts
    as one chance. 0 where the shop has none of either."""
    chances = np.maximum(chances, events)
    total = float(chances.sum())
    mean = float(events.sum()) / total if total else 0.0
    return np.asarray((events + STRENGTH * mean) / (chances + STRENGTH))


def lowered(rules: SlateRules, exposures: Floats, dismissals: Floats, buyers: Floats, returns: Floats) -> Floats:
    """float64 [items]: what each item's score falls by."""
    found = np.zeros(len(exposures))
    if rules.dismissal_weight > 0:
        found += rules.dismissal_weight * smoothed(dismissals, exposures)
    if rules.return_weight > 0:
        found += rules.return_weight * smoothed(returns, buyers)
    return found

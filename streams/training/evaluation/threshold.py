"""The threshold that scores must pass, for a wanted precision or volume. The product recommends what scores above it, not at it."""

from __future__ import annotations

import numpy as np

from streams.training.evaluation.metrics import Bools, Floats
from streams.training.evaluation.score import Ranked

LEAST_ITEMS = 50
"""A precision over fewer items is luck."""


def for_volume(ranked: Ranked, volume: float, *, otherwise: float) -> float:
    """The threshold above which there are on average at most ``volume`` items a request, and as nearly as many as equal scores allow;
    ``otherwise`` where nothing is ranked. Raises ValueError where the volume is not positive."""
    if not volume > 0:
        raise ValueError("the target volume must be above 0 items a request")
    scores = np.sort(ranked.scores[ranked.rows >= 0])[::-1]
    if not len(scores):
        return otherwise
    allowed = int(volume * len(ranked.rows) + 1e-9)
    return _just_below(float(scores[-1])) if allowed >= len(scores) else float(scores[allowed])


def for_precision(ranked: Ranked, found: Bools, precision: float, *, otherwise: float) -> float:
    """The lowest threshold above which at least ``precision`` of the items are targets; ``otherwise`` where none reaches it with at
    least 50 items. Raises ValueError where the precision is not from 0 to 1."""
    if not 0 <= precision <= 1:
        raise ValueError("the target precision must be from 0 to 1")
    shown = ranked.rows >= 0
    scores, good = ranked.scores[shown], found[shown]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    reached = np.cumsum(good[order]) / np.arange(1, len(scores) + 1)
    # Equal scores pass together: only the last of them can be the last that passes.
    last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]
    enough = np.flatnonzero((reached >= precision) & last & (np.arange(len(scores)) >= LEAST_ITEMS - 1))
    return _between(scores, int(enough[-1])) if len(enough) else otherwise


def _between(scores: Floats, place: int) -> float:
    """A threshold that lets pass everything up to ``place`` of falling scores, and nothing after it."""
    return float(scores[place + 1]) if place + 1 < len(scores) else _just_below(float(scores[place]))


def _just_below(score: float) -> float:
    return float(np.nextafter(score, -np.inf))

"""Metrics of the learning stage alone: what the trigger of a round sees."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import nan
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge

_SITUATION = (
    ("new_pairs", "Training pairs since the last round was requested."),
    ("score_stability", "Population stability index of the scores; NaN while there are too few."),
    ("ignored_share", "Share of recommended items without a reaction in the last window; NaN while there are none."),
    ("running", "1 while a round is requested or running."),
)


class LearningMetrics:
    """The values that the training trigger sees, set by the one worker that decides (the owner of partition 0).

    A value that is not set again soon becomes NaN, because another worker may decide by then. ``unreadable`` counts followed
    records that could not be used.
    """

    FRESH_S = 30.0
    """The trigger looks every few seconds."""

    def __init__(self, registry: CollectorRegistry, unreadable: Callable[[], int], seconds: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._latest: tuple[float, ...] = (nan,) * len(_SITUATION)
        self._latest_at = seconds()
        for place, (name, text) in enumerate(_SITUATION):
            Gauge(f"veilstream_training_{name}", text, registry=registry).set_function(functools.partial(self._value, place))
        Gauge(
            "veilstream_training_unreadable_records",
            "Records of training.tallies and training.control that were skipped since the start: damaged or not understood.",
            registry=registry,
        ).set_function(unreadable)
        self._requests = Counter("veilstream_training_requests_total", "Rounds that this worker requested.", ["cause"], registry=registry)

    def situation(self, new_pairs: float, stability: float, ignored_share: float, running: float) -> None:
        self._latest = (new_pairs, stability, ignored_share, running)
        self._latest_at = self._seconds()

    def requested(self, cause: str) -> None:
        self._requests.labels(cause).inc()

    def _value(self, place: int) -> float:
        return self._latest[place] if self._seconds() - self._latest_at < self.FRESH_S else nan

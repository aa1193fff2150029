"""Metrics of what shoppers were shown, and of what was not: scores, thresholds, how the places in lists are spread over items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import ceil, nan

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as PrometheusCounter

from streams.engine.bulk_histogram import BulkHistogram
from streams.engine.records import Shown

_SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
_WINDOW_S = 1800.0
_MOST = 1_000_000


class Exposure:
    """Which items were shown how often, within half an hour to an hour. Kept in memory, by item; told as sums only.

    >>> now = [0.0]
    >>> exposure = Exposure(lambda: now[0])
    >>> exposure.add([["a", "b"], ["a", "c"]]); exposure.items(), exposure.top_share()
    (3, 0.5)
    >>> now[0] = 4000; exposure.items()
    0
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._now: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._since = seconds()

    def add(self, lists: Iterable[Sequence[str]]) -> None:
        self._turn()
        if len(self._now) < _MOST:
            for items in lists:
                self._now.update(items)

    def items(self) -> int:
        """How many different ones were shown."""
        self._turn()
        return len(self._now.keys() | self._before.keys())

    def top_share(self) -> float:
        """Share of all places in lists that the hundredth of these items has that was shown most; NaN where none was shown."""
        self._turn()
        counts = sorted((self._now + self._before).values(), reverse=True)
        return sum(counts[: ceil(len(counts) / 100)]) / sum(counts) if counts else nan

    def _turn(self) -> None:
        """A window ends."""
        passed = self._seconds() - self._since
        if passed >= _WINDOW_S:
            self._before = self._now if passed < 2 * _WINDOW_S else Counter()
            self._now = Counter()
            self._since = self._seconds()


class ShownMetrics:
    """Of one process."""

    def __init__(self, registry: CollectorRegistry, seconds: Callable[[], float]) -> None:
        self._scores = BulkHistogram(
            "veilstream_recommendation_score", "Score of the first item of each list.", (), _SCORES, registry=registry
        )
        self._not_made = PrometheusCounter(
            "veilstream_recommendations_suppressed_total",
            "Events that ask for a list and got none, by reason: debounced (one was made a moment ago), nothing_fits (no item reaches the "
            "threshold and is not excluded).",
            ["reason"],
            registry=registry,
        )
        self._threshold = Gauge(
            "veilstream_recommendation_threshold", "What an item's score has to reach, by the model.", ["model_version"], registry=registry
        )
        self._exposure = Exposure(seconds)
        Gauge(
            "veilstream_exposed_items", "Different items in the lists of the last half hour to hour, of this worker.", registry=registry
        ).set_function(self._exposure.items)
        Gauge(
            "veilstream_exposure_top_share",
            "Share of the places in these lists that went to the hundredth of these items that was shown most: 0.01 is even.",
            registry=registry,
        ).set_function(self._exposure.top_share)

    def count(self, shown: Shown) -> None:
        self._scores.observe((), shown.best)
        self._exposure.add(shown.lists)
        for version, threshold in shown.thresholds.items():
            self._threshold.labels(version).set(threshold)
        for reason, count in shown.not_made.items():
            self._not_made.labels(reason).inc(count)

"""A histogram for many values at once: a batch costs a sort and one search a bucket, whatever its size."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class BulkHistogram(Collector):
    """Like ``prometheus_client.Histogram``, for one thread."""

    def __init__(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float], registry: CollectorRegistry) -> None:
        """``buckets``: upper bounds, ascending; infinity is added."""
        self._name, self._text, self._labelnames = name, text, tuple(labels)
        self._bounds = tuple(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def observe(self, labels: tuple[str, ...], values: Iterable[float]) -> None:
        """Add the values to the series with these values of the labels."""
        ordered = sorted(values)
        if not ordered:
            return
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        for place, bound in enumerate(self._bounds):
            counts[place] += bisect_right(ordered, bound)
        counts[-1] += len(ordered)
        self._sums[labels] = self._sums.get(labels, 0.0) + sum(ordered)

    def observe_ages(self, labels: tuple[str, ...], times_ms: Iterable[int], now_ms: int) -> None:
        """Add the age in seconds of each time; what lies ahead of now has none."""
        ordered = sorted(times_ms)
        count = len(ordered)
        if not count:
            return
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        for place, bound in enumerate(self._bounds):
            counts[place] += count - bisect_left(ordered, now_ms - bound * 1000)
        counts[-1] += count
        self._sums[labels] = self._sums.get(labels, 0.0) + max(0, count * now_ms - sum(ordered)) / 1000

    def observe_same(self, labels: tuple[str, ...], value: float, count: int) -> None:
        """Add one value so many times."""
        if count < 1:
            return
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        for place, bound in enumerate(self._bounds):
            if value <= bound:
                counts[place] += count
        counts[-1] += count
        self._sums[labels] = self._sums.get(labels, 0.0) + value * count

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self._name, self._text, labels=self._labelnames)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        bounds: Collection[str] = [*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in self._bounds), "+Inf"]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(bounds, map(float, counts), strict=True)), self._sums[labels])
        yield family

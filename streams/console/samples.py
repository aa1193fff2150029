"""What workers tell at /metrics: parsed, and as rates and quantiles over the last seconds. Pure: times are given."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

PREFIX = "veilstream_"
MOST_SAMPLES = 20_000
"""Of one worker. A real one has some hundred; more come from something else."""
WINDOW_S = 30.0

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer of one worker."""

    at_s: float
    families: frozenset[str]
    """Names of the metrics that the worker has, without ``_total``, also those that have no sample yet."""
    values: Mapping[str, tuple[tuple[Labels, float], ...]]
    """By name of the sample: labels and value."""

    def of(self, name: str, wanted: Labels) -> Iterator[tuple[Labels, float]]:
        """The samples that have the wanted labels."""
        for labels, value in self.values.get(name, ()):
            if all(labels.get(key) == one for key, one in wanted.items()):
                yield labels, value


def parse(text: str, at_s: float) -> Scrape:
    """Raises ValueError where the text is not in Prometheus' format, or has more samples than any worker."""
    families: set[str] = set()
    values: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    count = 0
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(PREFIX):
            continue
        families.add(family.name)
        for sample in family.samples:
            count += 1
            if count > MOST_SAMPLES:
                raise ValueError(f"more than {MOST_SAMPLES} samples")
            if not sample.name.endswith("_created"):
                values[sample.name].append((sample.labels, sample.value))
    return Scrape(at_s, frozenset(families), {name: tuple(own) for name, own in values.items()})


class Readings:
    """The answers of all workers within the last seconds.

    >>> readings = Readings()
    >>> readings.take("a", parse("# TYPE veilstream_x counter\\nveilstream_x_total 5\\n", 0.0))
    >>> readings.take("a", parse("# TYPE veilstream_x counter\\nveilstream_x_total 25\\n", 10.0))
    >>> readings.rate("veilstream_x_total"), readings.total("veilstream_x_total"), readings.total("veilstream_y_total")
    (2.0, 25, None)
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._of: dict[str, deque[Scrape]] = {}

    def take(self, address: str, scrape: Scrape) -> None:
        kept = self._of.setdefault(address, deque())
        kept.append(scrape)
        # Two remain in any case: whoever looks seldom still sees a rate.
        while len(kept) > 2 and kept[0].at_s < scrape.at_s - self._window_s:
            kept.popleft()

    def lost(self, address: str) -> None:
        """The worker does not answer: what it said is no longer so."""
        self._of.pop(address, None)

    def latest(self) -> dict[str, Scrape]:
        """The last answer of each worker that answers."""
        return {address: kept[-1] for address, kept in self._of.items()}

    def total(self, name: str, **labels: str) -> float | None:
        """The sum over all workers; None where none of them has such a sample. A value that a worker does not know (NaN) is left out."""
        found = [value for kept in self._of.values() for _, value in kept[-1].of(name, labels) if not math.isnan(value)]
        return sum(found) if found else None

    def largest(self, name: str, **labels: str) -> float | None:
        """The largest value of any worker; None where none has one."""
        found = [value for kept in self._of.values() for _, value in kept[-1].of(name, labels) if not math.isnan(value)]
        return max(found, default=None)

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Sums by the values of a label."""
        found: dict[str, float] = {}
        for kept in self._of.values():
            for own, value in kept[-1].of(name, labels):
                if label in own and not math.isnan(value):
                    found[own[label]] = found.get(own[label], 0.0) + value
        return found

    def rate(self, name: str, **labels: str) -> float | None:
        """Increase per second of a counter, over all workers that have it; None until one of them has answered twice."""
        rates = []
        for kept in self._of.values():
            first, last = kept[0], kept[-1]
            has_it = any(True for _ in last.of(name, labels)) or (not labels and name.removesuffix("_total") in last.families)
            if last.at_s > first.at_s and has_it:
                rates.append(sum(_increases(first, last, name, labels).values()) / (last.at_s - first.at_s))
        return sum(rates) if rates else None

    def quantile(self, q: float, name: str, **labels: str) -> float | None:
        """The q-quantile of a histogram's observations within the window, in its unit, interpolated within a bucket as Prometheus does;
        None where there was no observation. ``name`` is the histogram's."""
        buckets: dict[float, float] = defaultdict(float)
        for kept in self._of.values():
            for (bound, *_), increase in _increases(kept[0], kept[-1], f"{name}_bucket", labels, by="le").items():
                buckets[float(bound)] += increase
        return quantile_of(q, sorted(buckets.items()))


def quantile_of(q: float, buckets: list[tuple[float, float]]) -> float | None:
    """Of cumulative counts by upper bound. Beyond the last finite bound nothing more is known than that bound.

    >>> quantile_of(0.5, [(1.0, 0.0), (2.0, 10.0), (math.inf, 10.0)])
    1.5
    """
    count = buckets[-1][1] if buckets else 0.0
    if count <= 0:
        return None
    below_bound, below = 0.0, 0.0
    for bound, cumulative in buckets:
        if cumulative >= q * count:
            if math.isinf(bound):
                return below_bound
            share = (q * count - below) / (cumulative - below) if cumulative > below else 1.0
            return below_bound + (bound - below_bound) * share
        below_bound, below = bound, cumulative
    return below_bound


def _increases(first: Scrape, last: Scrape, name: str, labels: Labels, *, by: str | None = None) -> dict[tuple[str, ...], float]:
    """By the value of a label, or of all samples in one. A counter that has fallen began again with its process."""
    before = {tuple(sorted(own.items())): value for own, value in first.of(name, labels)}
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for own, value in last.of(name, labels):
        # A series that was not there is a new one: it began at 0, unless this is the first answer at all.
        start = before.get(tuple(sorted(own.items())), 0.0) if first is not last else value
        found[(own[by],) if by else ()] += value - start if value >= start else value
    return found

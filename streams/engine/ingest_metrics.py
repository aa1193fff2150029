"""Metrics of the ingest stage alone. Labels never hold data of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LIVE_S = 60.0
"""Older messages are read again at a start; they tell nothing of how long a decision takes."""


class IngestMetrics:
    """What the ingest stage counts by source, as its handler sees it: a batch that is handled again counts again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lines = Counter(
            "veilstream_source_events_total", "Events read, by source: the name of a mapping, or `none`.", ["source"], registry=registry
        )
        self._refused = Counter(
            "veilstream_source_refused_total", "Events refused, by source and reason.", ["source", "reason"], registry=registry
        )
        self._shared = Counter(
            "veilstream_shared_ids_total", "Ids, a day each, with more events or sessions than one person makes.", registry=registry
        )
        self._kept_back = Counter(
            "veilstream_kept_back_total",
            "Events of which less is told than is known, since too few shoppers share it, by flag: price_widened, rare_query, and others.",
            ["flag"],
            registry=registry,
        )
        self._delay = Histogram(
            "veilstream_consent_delay_seconds",
            "From a shop's message on consent to the moment at which this worker knows the decision.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 15, 60),
            registry=registry,
        )

    def read(self, source: str, lines: int) -> None:
        self._lines.labels(source).inc(lines)

    def refused(self, source: str, reason: str, events: int) -> None:
        self._refused.labels(source, reason).inc(events)

    def shared_id(self) -> None:
        self._shared.inc()

    def kept_back(self, counts: Mapping[str, int]) -> None:
        for flag, count in counts.items():
            self._kept_back.labels(flag).inc(count)

    def decision(self, received_ms: int) -> None:
        """A decision was read whose message was received then."""
        seconds = time() - received_ms / 1000
        if 0 <= seconds < _LIVE_S:
            self._delay.observe(seconds)

    def watch_consents(self, counts: Mapping[tuple[str, str], Callable[[], int]], unreadable: Callable[[], int]) -> None:
        """Tell from now on how many shoppers allow and refuse what: by purpose and decision."""
        Gauge(
            "veilstream_consent_unreadable_records", "Records of consent.decisions that could not be used.", registry=self._registry
        ).set_function(unreadable)
        decided = Gauge("veilstream_consents", "Shoppers who decided.", ["purpose", "decision"], registry=self._registry)
        for (purpose, decision), count in counts.items():
            decided.labels(purpose, decision).set_function(count)

    def watch_quarantine(self, count: Callable[[], int]) -> None:
        """Tell from now on how many producers are set apart."""
        Gauge(
            "veilstream_producers_quarantined",
            "Producers, each partition by itself, whose records are set apart because most of them were refused.",
            registry=self._registry,
        ).set_function(count)

"""Metrics of the models that a worker serves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class ModelMetrics:
    """Of one process; once a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._info = Gauge("veilstream_model_info", "1 for a channel's serving model.", ["model_version", "channel"], registry=registry)
        self._held = Gauge(
            "veilstream_model_items_share",
            "Share of the catalogue's items that exist under a version that is to serve.",
            ["model_version"],
            registry=registry,
        )
        self._swaps = Histogram(
            "veilstream_model_swap_seconds",
            "Seconds from an announcement until the model serves here.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._refused = Counter("veilstream_models_refused_total", "Models and announcements refused.", ["reason"], registry=registry)

    def serves(self, channels: Mapping[str, str]) -> None:
        """Channel to the version that it serves here."""
        self._info.clear()
        for channel, version in channels.items():
            self._info.labels(version, channel).set(1)

    def held(self, version: str, share: float) -> None:
        self._held.labels(version).set(share)

    def gone(self, version: str) -> None:
        """The version is no longer kept here."""
        with suppress(KeyError):
            self._held.remove(version)

    def swapped(self, seconds: float) -> None:
        self._swaps.observe(seconds)

    def refused(self, reason: str, count: int = 1) -> None:
        self._refused.labels(reason).inc(count)

"""Models: which version serves whom, and what became of what it recommended. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streams.console.samples import Readings
from streams.console.texts import shown
from streams.console.view import Channel, Models, Ratio, Version

_Z = 1.96
"""Of a normal distribution, for 95 %."""
_TAKEN = ("click", "cart", "purchase")
_SEEN = (*_TAKEN, "dismiss", "shown")
_MOST_VERSIONS = 12


class Announced:
    """The newest announcement of each channel."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Mapping[str, Any], bool]] = {}
        self._metrics: dict[str, dict[str, float]] = {}

    def take(self, record: Mapping[str, Any], *, is_verified: bool) -> None:
        """A decoded announcement. One that is older than what is known changes nothing."""
        known = self._last.get(record["channel"])
        if known is None or _age(record) >= _age(known[0]):
            self._last[record["channel"]] = (record, is_verified)
        self._metrics[record["model_version"]] = {shown(name, 40): value for name, value in sorted(record["metrics"].items())}

    def channels(self) -> list[Channel]:
        """What serves now, stable first."""
        serving = {name: found for name, found in self._last.items() if not found[0]["withdrawn"]}
        canary = serving.get("canary")
        to_canary = canary[0]["canary_share"] if canary else 0.0
        return [
            Channel(
                name=shown(name, 20),
                version=shown(record["model_version"], 60),
                share=record["canary_share"] if name == "canary" else 1.0 - to_canary,
                announced_at=record["announced_at"],
                reason=shown(record["reason"]),
                is_verified=is_verified,
            )
            for name, (record, is_verified) in sorted(serving.items(), reverse=True)
        ]

    def metrics(self, version: str) -> dict[str, float]:
        return self._metrics.get(version, {})


def models_view(readings: Readings, announced: Announced) -> Models:
    channels = announced.channels()
    serving: dict[str, list[str]] = {}
    for channel in channels:
        serving.setdefault(channel.version, []).append(channel.name)
    # Before anything was announced, workers serve the model of their settings.
    for scrape in readings.latest().values():
        for labels, value in scrape.of("veilstream_model_info", {}):
            version, name = labels.get("model_version", ""), labels.get("channel", "")
            if value > 0 and version and name not in serving.setdefault(version, []):
                serving[version].append(name)
    recommended = readings.by("model_version", "veilstream_recommendations_total")
    counted = {*recommended, *readings.by("model_version", "veilstream_outcomes_total")}
    order = sorted({*counted, *serving}, key=lambda version: (version not in serving, -recommended.get(version, 0.0), version))
    return Models(channels, [_version(version, serving.get(version, []), readings, announced) for version in order[:_MOST_VERSIONS]])


def _version(version: str, channels: list[str], readings: Readings, announced: Announced) -> Version:
    outcomes = readings.by("outcome", "veilstream_outcomes_total", model_version=version)
    seen = sum(outcomes.get(name, 0.0) for name in _SEEN)
    clicks = sum(outcomes.get(name, 0.0) for name in _TAKEN)
    purchases = outcomes.get("purchase", 0.0)
    return Version(
        version=shown(version, 60),
        channels=channels,
        recommendations=readings.total("veilstream_recommendations_total", model_version=version),
        items=sum(outcomes.values()),
        seen=seen,
        clicks=clicks,
        purchases=purchases,
        click_through=wilson(clicks, seen),
        conversion=wilson(purchases, seen),
        metrics=announced.metrics(version),
    )


def wilson(hits: float, of: float) -> Ratio | None:
    """A share with its 95 % interval; None of nothing.

    >>> wilson(5, 10)
    Ratio(share=0.5, low=0.2366, high=0.7634)
    """
    if of <= 0:
        return None
    share = min(hits / of, 1.0)
    middle = share + _Z * _Z / (2 * of)
    half = _Z * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    whole = 1 + _Z * _Z / of
    return Ratio(round(share, 4), round(max(0.0, (middle - half) / whole), 4), round(min(1.0, (middle + half) / whole), 4))


def _age(record: Mapping[str, Any]) -> tuple[int, int]:
    return record["counter"], record["announced_at"]

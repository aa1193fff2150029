"""Prometheus metrics of an encoder, by model version. They never hold a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from encoders.engines.engine import BatchCounts

_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Observer(Protocol):
    """Receives the counts of a front."""

    def looked_up(self, texts: int, missing: int, cache_bytes: int) -> None: ...
    def computed(self, counts: Sequence[BatchCounts], texts: int, failed: int, seconds: float, waits: Sequence[float]) -> None: ...


class NoMetrics:
    """An ``Observer`` that counts nothing."""

    def looked_up(self, texts: int, missing: int, cache_bytes: int) -> None:
        """Nothing is counted."""

    def computed(self, counts: Sequence[BatchCounts], texts: int, failed: int, seconds: float, waits: Sequence[float]) -> None:
        """Nothing is counted."""


class EncoderMetrics:
    """The encoder metrics of one process. Create one instance per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"veilstream_encoder_{name}", text, ["model_version"], registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"veilstream_encoder_{name}", text, ["model_version"], registry=registry, buckets=tuple(buckets))

        self.texts = counter("texts_total", "Texts computed.")
        self.tokens = counter("tokens_total", "Tokens computed.")
        self.padding = counter("padding_total", "Padding positions computed.")
        self.hits = counter("cache_hits_total", "Texts whose vector was in the cache.")
        self.misses = counter("cache_misses_total", "Texts whose vector was not in the cache.")
        self.errors = counter("errors_total", "Texts that could not be encoded.")
        self.batch_texts = histogram("batch_texts", "Texts computed together.", _TEXTS)
        self.compute_seconds = histogram("compute_seconds", "Time to compute one batch, seconds.", _SECONDS)
        self.wait_seconds = histogram("queue_wait_seconds", "Time that a text waited for its batch to begin, seconds.", _SECONDS)
        self.cache_bytes = Gauge("veilstream_encoder_cache_bytes", "Bytes of the cache of vectors, all versions.", registry=registry)
        self.info = Gauge("veilstream_encoder_info", "1 for the model in use.", ["model_version", "engine"], registry=registry)

    def of(self, encoder: Any) -> VersionMetrics:
        """The observer for one encoder's version."""
        return VersionMetrics(self, encoder.version)

    def current(self, encoder: Any) -> None:
        """Set the encoder that is used from now on."""
        self.info.clear()
        self.info.labels(encoder.version, getattr(encoder, "engine", type(encoder).__name__)).set(1)


class VersionMetrics:
    """An ``Observer``."""

    def __init__(self, metrics: EncoderMetrics, version: str) -> None:
        self._texts, self._tokens, self._padding = (m.labels(version) for m in (metrics.texts, metrics.tokens, metrics.padding))
        self._hits, self._misses, self._errors = (m.labels(version) for m in (metrics.hits, metrics.misses, metrics.errors))
        self._batch, self._compute = metrics.batch_texts.labels(version), metrics.compute_seconds.labels(version)
        self._wait, self._bytes = metrics.wait_seconds.labels(version), metrics.cache_bytes

    def looked_up(self, texts: int, missing: int, cache_bytes: int) -> None:
        self._hits.inc(texts - missing)
        self._misses.inc(missing)
        self._bytes.set(cache_bytes)

    def computed(self, counts: Sequence[BatchCounts], texts: int, failed: int, seconds: float, waits: Sequence[float]) -> None:
        self._texts.inc(texts - failed)
        self._errors.inc(failed)
        self._tokens.inc(sum(count.tokens for count in counts))
        self._padding.inc(sum(count.padding for count in counts))
        self._batch.observe(texts)
        self._compute.observe(seconds)
        for wait in waits:
            self._wait.observe(wait)

"""The numbers that the ingest rules work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class IngestRules:
    """Times in milliseconds."""

    time_bucket_ms: int
    max_future_ms: int
    max_age_ms: int
    default_currency: str
    default_region: str | None
    quantity_cap: int
    throttle_per_minute: int
    dedup_window: int

    @classmethod
    def from_settings(cls, settings: Settings) -> IngestRules:
        return cls(
            time_bucket_ms=settings.time_bucket_s * 1000,
            max_future_ms=settings.max_future_s * 1000,
            max_age_ms=int(settings.max_age_days * 86_400_000),
            default_currency=settings.default_currency,
            default_region=settings.default_region,
            quantity_cap=settings.quantity_cap,
            throttle_per_minute=settings.throttle_per_minute,
            dedup_window=settings.dedup_window,
        )

"""Numeric rules of the ingest stage."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.errors import ConfigurationError
from streams.privacy.consent import purposes_of
from streams.privacy.kinds import NONE, kinds_of
from streams.stages.ingest.region import is_country
from streams.stages.money import currencies

if TYPE_CHECKING:
    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class IngestRules:
    """Times are milliseconds. Each field is described by the setting of the same name in ``streams/settings/``."""

    time_bucket_ms: int
    max_future_ms: int
    max_age_ms: int
    default_currency: str
    default_region: str | None
    quantity_cap: int
    throttle_per_minute: int
    dedup_window: int
    counts_nobody: bool = False
    quarantines: bool = True
    reject_share_max: float = 0.5
    reject_window: int = 2000
    shared_events: int = 5000
    shared_sessions: int = 200
    item_pattern: str | None = None
    shuffles: bool = False
    scrub_off: Set[str] = NONE
    allowed: Set[str] = NONE
    """The purposes that are taken for allowed where a shopper decided nothing."""
    debounce_ms: int = 60_000
    """Between two lists without a search, where no profile keeps them apart: of a shopper who allows no personalization, or whose events
    have widened times."""
    k: int = 1
    k_window_ms: int = 3_600_000
    k_time_ms: int = 300_000

    @property
    def time_step_ms(self) -> int:
        """What the times are rounded to of which no more need be known, such as those at which records are written."""
        return max(self.time_bucket_ms, self.k_time_ms) if self.k > 1 else self.time_bucket_ms

    @classmethod
    def from_settings(cls, settings: Settings) -> IngestRules:
        """Raises ConfigurationError if the default currency or region is not a valid code, the items' pattern is none, or a kind that
        scrubbing shall leave is unknown."""
        if settings.default_currency not in currencies():
            raise ConfigurationError("VEILSTREAM_DEFAULT_CURRENCY must be an ISO 4217 code such as EUR")
        if settings.default_region is not None and not is_country(settings.default_region):
            raise ConfigurationError("VEILSTREAM_DEFAULT_REGION must be an ISO 3166 alpha-2 code such as DE, or unset")
        try:
            re.compile(settings.item_pattern or "")
        except re.error as error:
            raise ConfigurationError(f"VEILSTREAM_ITEM_PATTERN is no regular expression: {error}") from None
        try:
            scrub_off = kinds_of(settings.scrub_off)
        except ValueError as error:
            raise ConfigurationError(f"VEILSTREAM_SCRUB_OFF {error}") from None
        try:
            allowed = purposes_of(settings.consent_default)
        except ValueError as error:
            raise ConfigurationError(f"VEILSTREAM_CONSENT_DEFAULT {error}") from None
        return cls(
            time_bucket_ms=settings.time_bucket_s * 1000,
            max_future_ms=settings.max_future_s * 1000,
            max_age_ms=int(settings.max_age_days * 86_400_000),
            default_currency=settings.default_currency,
            default_region=settings.default_region,
            quantity_cap=settings.quantity_cap,
            throttle_per_minute=settings.throttle_per_minute,
            dedup_window=settings.dedup_window,
            counts_nobody=settings.nobody == "popularity",
            quarantines=settings.rejects == "quarantine",
            reject_share_max=settings.reject_share_max,
            reject_window=settings.reject_window,
            shared_events=settings.shared_events,
            shared_sessions=settings.shared_sessions,
            item_pattern=settings.item_pattern,
            shuffles=settings.shuffle_batches,
            scrub_off=scrub_off,
            allowed=allowed,
            debounce_ms=int(settings.debounce_s * 1000),
            k=settings.k,
            k_window_ms=settings.k_window_s * 1000,
            k_time_ms=settings.k_time_s * 1000,
        )

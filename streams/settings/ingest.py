"""Settings of events and items as they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class IngestSettings(BaseSettings):
    """Of ingest and its sources."""

    time_bucket_s: int = Field(60, ge=1, le=86_400, description="Event times are rounded down to this many seconds.")
    k: int = Field(
        5,
        ge=1,
        le=100,
        description="Price, place and time of an event are widened until this many shoppers share what is left. Searches that fewer made "
        "are in no training pair. 1: nothing is widened.",
    )
    k_window_s: int = Field(3600, ge=60, le=86_400, description="Shoppers share a price and a place if it was within this time, seconds.")
    k_time_s: int = Field(
        300,
        ge=1,
        le=86_400,
        description="Event times are rounded down to this many seconds where too few shoppers (VEILSTREAM_K) are present within "
        "VEILSTREAM_TIME_BUCKET_S. So are the times of the records that ingest writes, always.",
    )
    max_future_s: int = Field(300, ge=0, description="Events further in the future than this are refused, seconds.")
    max_age_days: float = Field(7300.0, gt=0, description="Events older than this are refused, days.")
    default_currency: str = Field("EUR", min_length=3, max_length=3, description="Currency of prices without a currency (ISO 4217).")
    default_region: str | None = Field(None, description="Country of events without a country (ISO 3166 alpha-2).")
    max_record_bytes: int = Field(262_144, ge=1024, description="Records larger than this are refused, bytes.")
    max_batch_bytes: int = Field(
        67_108_864,
        ge=1_048_576,
        description="A producer's batch that unpacks to more than this is one dead letter, bytes. Unpacking stops there.",
    )
    max_batch_records: int = Field(200_000, ge=1, description="A producer's batch of more records than this is one dead letter.")
    throttle_per_minute: int = Field(
        600, ge=1, description="Maximum number of events per user and minute of event time. Above it, the user counts as automated."
    )
    quantity_cap: int = Field(1000, ge=1, description="Maximum quantity of an event. Larger quantities are reduced to this.")
    dedup_window: int = Field(100_000, ge=0, description="Number of recent event ids that an ingest worker remembers to drop duplicates.")
    consent_default: str = Field(
        "none",
        description="Purposes that are taken for allowed where a shopper decided nothing: none (opt-in), all, or some of personalization "
        "and training, separated by commas.",
    )
    sources_dir: Path | None = Field(None, description="Folder with the mappings of the shop's own sources (*.yaml). Presets need none.")
    source: str | None = Field(
        None, description="Source of raw events without the header `veilstream-source`, such as `segment`. Unset: the product's own form."
    )
    items_source: str | None = Field(
        None,
        description="Source of records of `catalogue.items` without the header `veilstream-source`, such as `shopify-products`. Unset: the "
        "product's own form.",
    )
    items_source_topics: str = Field(
        "",
        description="Topics of items of their own for some sources, as topic=source, separated by commas. They need as many partitions as "
        "`catalogue.items`; `topics create` makes them.",
    )
    source_topics: str = Field(
        "",
        description="Raw topics of their own for some sources, as topic=source, separated by commas. They need as many partitions as "
        "behaviour.raw; `topics create` makes them.",
    )
    shuffle_batches: bool = Field(
        False,
        description="Whether ingest writes a batch of events in random order, but for those of one shopper: who knows the order of the raw "
        "events then learns less about which is which. Batches are small where there is little to do.",
    )
    item_pattern: str | None = Field(
        None,
        description="Regular expression (Python) that the item ids of events must match as a whole, such as `[0-9]{6,12}`. Unset: ids "
        "that look like personal data (telephone and card numbers, addresses, links with parameters) are refused.",
    )
    scrub_off: str = Field(
        "",
        description="Kinds of personal data that stay in search queries, separated by commas: email, phone, id, card, ip, url, handle, "
        "address, name, plate, document, order, token. Unset: none stays.",
    )
    nobody: Literal["dead-letter", "popularity"] = Field(
        "dead-letter",
        description="What becomes of events whose user id names nobody (null, 0, guest, ...): dead letters, or they count for the "
        "popularity of their items and for nothing else.",
    )
    rejects: Literal["quarantine", "stop"] = Field(
        "quarantine",
        description="What happens if most records of one producer are refused: only its records are set aside (quarantine), or the stage "
        "stops. A producer is told by the headers veilstream-source and client-id, or by the key before the first : or / or |. Where "
        "nothing tells whose they are, with quarantine ingest and catalogue log an error and go on.",
    )
    shared_events: int = Field(
        5000, ge=1, description="Number of events of one user in a day of event time from which on the id counts as shared by many."
    )
    shared_sessions: int = Field(
        200, ge=1, description="Number of sessions of one user in a day of event time from which on the id counts as shared by many."
    )
    reject_share_max: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Maximum share of refused records among the recent ones of a producer. Above it, see VEILSTREAM_REJECTS; stages behind "
        "ingest stop.",
    )
    reject_window: int = Field(
        2000, ge=100, description="Number of recent records for the share of refused records. For one producer in one partition, a tenth."
    )

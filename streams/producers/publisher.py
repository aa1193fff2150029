"""Publishes the rows of files, as a producer does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError

from streams import topics
from streams.clock import SystemClock
from streams.errors import AccessDenied, TransientError
from streams.kafka.clients import need_topic, writer
from streams.producers.csv_files import ReadReport, read_consents, read_events, read_items
from streams.serde.codec import open_codec
from streams.settings import KafkaSettings, Settings
from streams.sources.item_mapping import ItemMapping
from streams.sources.mapping import SourceMapping
from streams.stages.identifiers import IDENTIFY
from streams.stages.placeholders import is_nobody

_UNACKNOWLEDGED = 2000
_TOO_LARGE = "a row is larger than the broker takes"


@dataclass
class Published:
    """Records that the broker has acknowledged."""

    items: int = 0
    consents: int = 0
    events: int = 0


Kind = Literal["items", "consents", "events"]
_TOPIC_OF: dict[Kind, str] = {"items": topics.CATALOGUE_ITEMS, "consents": topics.CONSENT_UPDATES, "events": topics.BEHAVIOUR_RAW}


async def publish(
    kind: Kind,
    path: Path,
    *,
    settings: Settings,
    kafka: KafkaSettings,
    rate: float | None,
    report: ReadReport,
    published: Published,
    show: Callable[[], None],
    mapping: SourceMapping | None = None,
    items_mapping: ItemMapping | None = None,
) -> None:
    """Publish a file. ``rate`` is in events a second; the mappings say how events and items are written, if not in the product's columns.
    Rows that can't be sent are counted in the report, the rest goes on.

    Raises ConfigurationError for a file or topic that can't be used, AccessDenied if the topic may not be written, TransientError if the
    broker stops taking records.
    """
    topic = _TOPIC_OF[kind]
    if kind == "consents":
        values = read_consents(path, report)
    elif kind == "items":
        values = read_items(path, report, items_mapping, at_ms=SystemClock().now_ms())
    else:
        values = read_events(path, report, mapping)
    full_name = settings.topic_prefix + topic
    await need_topic(kafka, full_name, "Write")
    codec = await open_codec(topic, settings)
    pending: list[asyncio.Future[Any]] = []

    async def settle() -> None:
        answers = await asyncio.gather(*pending, return_exceptions=True)
        pending.clear()
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in [failure for failure in failures if isinstance(failure, MessageSizeTooLargeError)]:
            failures.remove(failure)
            report.count(_TOO_LARGE)
        setattr(published, kind, getattr(published, kind) + sum(not isinstance(answer, BaseException) for answer in answers))
        if any(isinstance(failure, TopicAuthorizationFailedError) for failure in failures):
            raise AccessDenied([f"Write topic {full_name}"])
        if failures:
            raise TransientError(
                f"the broker did not take {len(failures)} records ({type(failures[0]).__name__}); replay the file again, "
                "records that arrived are applied only once"
            ) from failures[0]
        show()

    async with writer(kafka, idempotent=settings.idempotent_producer, many=True) as producer:
        begin = settled = time.monotonic()
        read_so_far = 0
        try:
            for value in values:
                read_so_far += 1
                try:
                    encoded = codec.encode(value)
                    # The key decides the partition, and with it the order of what a user did.
                    pending.append(await producer.send(full_name, value=encoded, key=_key(value, kind)))
                except MessageSizeTooLargeError:
                    report.count(_TOO_LARGE)
                except (ValueError, TypeError):
                    report.count("a row does not fit the schema")
                if rate is not None and kind == "events" and (ahead := read_so_far / rate - (time.monotonic() - begin)) > 0.005:
                    await asyncio.sleep(ahead)
                if len(pending) >= _UNACKNOWLEDGED or time.monotonic() - settled > 1:
                    await settle()
                    settled = time.monotonic()
        finally:
            await settle()


def consent_key(value: Mapping[str, Any]) -> bytes:
    """The id of the shopper, as it stands in the message."""
    user = str(value["user_id"])
    return (user if user.strip() else value["anonymous_id"] or "").encode()


def _key(value: Mapping[str, Any], kind: Kind) -> bytes:
    """The id of the item, or of the shopper."""
    if kind == "items":
        return str(value["item_id"]).strip().encode()
    if kind == "consents":
        return consent_key(value)
    user = str(value["user_id"]).strip()
    if str(value["event_type"]).strip().lower() == IDENTIFY and value["anonymous_id"]:
        return str(value["anonymous_id"]).encode()  # it comes after what the anonymous shopper did before
    return (value["anonymous_id"] or user if is_nobody(user) or not user else user).encode()

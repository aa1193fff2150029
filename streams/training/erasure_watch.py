"""Watches that requests to forget a shopper are receipted by all stages: the trainer knows of each, and runs once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.audit.open_erasures import OpenErasures
from streams.backoff import is_set_within
from streams.clock import Clock
from streams.errors import RecordError, TransientError
from streams.kafka.clients import client_config, need_topic, no_broker
from streams.serde.codec import Codec, open_codec
from streams.serde.records import Forgotten
from streams.settings import KafkaSettings, Settings
from streams.topics import DAY_MS, PRIVACY_AUDIT, PRIVACY_FORGOTTEN

log = logging.getLogger(__name__)
_FETCH_MS = 1000
_MOST = 2000
_PAUSE_S = 5.0
_SINCE_MS = 31 * DAY_MS
"""As long as privacy.forgotten holds a request."""
_DROP_EVERY = 1000
"""Fetches."""


class ErasureWatch:
    """Follows privacy.forgotten and privacy.audit, from a month ago on."""

    def __init__(self, settings: Settings, kafka: KafkaSettings, clock: Clock) -> None:
        self._settings, self._kafka, self._clock = settings, kafka, clock
        self.open = OpenErasures()
        self.is_caught_up = False
        """Until then a receipt may not have been read."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped. A broker that is away is waited for."""
        while not stop.is_set():
            try:
                await self._follow(stop)
            except (KafkaError, OSError, TransientError) as error:
                log.warning("open erasures can't be counted (%s); trying again", type(error).__name__)
                await is_set_within(stop, _PAUSE_S)

    def seconds(self) -> float:
        """Age of the oldest open request; NaN until all was read."""
        return self.open.oldest_ms(self._clock.now_ms()) / 1000 if self.is_caught_up else float("nan")

    def count(self) -> float:
        return self.open.count() if self.is_caught_up else float("nan")

    async def _follow(self, stop: asyncio.Event) -> None:
        self.is_caught_up, self.open = False, OpenErasures()
        prefix = self._settings.topic_prefix
        codecs = {topic: await open_codec(topic, self._settings) for topic in (PRIVACY_FORGOTTEN, PRIVACY_AUDIT)}
        tps = [TopicPartition(prefix + topic, n) for topic in codecs for n in range(await need_topic(self._kafka, prefix + topic))]
        consumer = AIOKafkaConsumer(
            **client_config(self._kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            try:
                await consumer.start()
            except (KafkaError, OSError) as error:
                raise await no_broker(self._kafka, error) from error
            consumer.assign(tps)
            since = await consumer.offsets_for_times(dict.fromkeys(tps, self._clock.now_ms() - _SINCE_MS))
            ends = await consumer.end_offsets(tps)
            for tp in tps:
                found = since[tp]
                consumer.seek(tp, ends[tp] if found is None else found.offset)
            await self._take_all(consumer, codecs, ends, stop)
        finally:
            await consumer.stop()

    async def _take_all(
        self, consumer: AIOKafkaConsumer, codecs: dict[str, Codec], ends: dict[TopicPartition, int], stop: asyncio.Event
    ) -> None:
        take: dict[str, Callable[[Any], None]] = {
            PRIVACY_FORGOTTEN: lambda value: self.open.take_request(cast(Forgotten, value)),
            PRIVACY_AUDIT: self.open.take_link,
        }
        fetches = 0
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST)
            for tp, records in fetched.items():
                topic = tp.topic.removeprefix(self._settings.topic_prefix)
                for record in records:
                    await codecs[topic].prepare(record.value)
                    try:
                        take[topic](codecs[topic].decode(record.value, record.headers))
                    except RecordError:
                        continue  # `veilstream audit verify` names it
            if not self.is_caught_up:
                self.is_caught_up = all([await consumer.position(tp) >= ends[tp] for tp in ends])
            fetches += 1
            if fetches % _DROP_EVERY == 0:
                self.open.drop_old(self._clock.now_ms())

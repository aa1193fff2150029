"""Watches that requests to forget a shopper are receipted by all stages: the trainer knows of each, and runs once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.audit.open_erasures import OpenErasures
from streams.backoff import is_set_within
from streams.clock import Clock
from streams.errors import RecordError, TransientError
from streams.kafka.clients import reader
from streams.serde.codec import Codec, open_codec
from streams.serde.records import Forgotten
from streams.settings import KafkaSettings, Settings
from streams.topics import DAY_MS, PRIVACY_AUDIT, PRIVACY_FORGOTTEN

log = logging.getLogger(__name__)
_FETCH_MS = 500
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
        self._open = OpenErasures()
        self._is_caught_up = False
        """Until then a receipt may not be known."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped. A broker that is away is waited for, and then all is read again."""
        while not stop.is_set():
            self._is_caught_up, self._open = False, OpenErasures()
            try:
                await self._follow(stop)
            except (KafkaError, OSError, TransientError) as error:
                log.warning("open erasures can't be counted (%s); trying again", type(error).__name__)
                await is_set_within(stop, _PAUSE_S)

    def seconds(self) -> float:
        """Age of the oldest open request; NaN until all was read."""
        return self._open.oldest_ms(self._clock.now_ms()) / 1000 if self._is_caught_up else float("nan")

    def count(self) -> float:
        return self._open.count() if self._is_caught_up else float("nan")

    async def _follow(self, stop: asyncio.Event) -> None:
        prefix = self._settings.topic_prefix
        requests, links = await open_codec(PRIVACY_FORGOTTEN, self._settings), await open_codec(PRIVACY_AUDIT, self._settings)
        async with reader(self._kafka, prefix + PRIVACY_FORGOTTEN) as asked, reader(self._kafka, prefix + PRIVACY_AUDIT) as told:
            ends = {consumer: await self._begin(consumer) for consumer in (asked, told)}
            fetches = 0
            while not stop.is_set():
                await _take(asked, requests, lambda value: self._open.take_request(cast(Forgotten, value)))
                await _take(told, links, self._open.take_link)
                if not self._is_caught_up:
                    left = [tp for consumer, of in ends.items() for tp, end in of.items() if await consumer.position(tp) < end]
                    self._is_caught_up = not left
                fetches += 1
                if fetches % _DROP_EVERY == 0:
                    self._open.drop_old(self._clock.now_ms())

    async def _begin(self, consumer: AIOKafkaConsumer) -> dict[Any, int]:
        """Go to where a month ago was; where the partitions end now."""
        tps = list(consumer.assignment())
        since = await consumer.offsets_for_times(dict.fromkeys(tps, self._clock.now_ms() - _SINCE_MS))
        ends: dict[Any, int] = await consumer.end_offsets(tps)
        for tp in tps:
            consumer.seek(tp, ends[tp] if since[tp] is None else since[tp].offset)
        return ends


async def _take(consumer: AIOKafkaConsumer, codec: Codec, take: Callable[[Any], None]) -> None:
    """One fetch."""
    for records in (await consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST)).values():
        for record in records:
            await codec.prepare(record.value)
            try:
                take(codec.decode(record.value, record.headers))
            except RecordError:
                continue  # `veilstream audit verify` names it

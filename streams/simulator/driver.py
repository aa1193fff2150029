"""Connects the simulated shop with the topics. It produces like a shop, and consumes like the service that delivers recommendations."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from nacl.public import PrivateKey
from nacl.signing import VerifyKey

from streams import topics
from streams.privacy.seal import open_sealed_id
from streams.serde.codec import Codecs
from streams.simulator.accounting import Account
from streams.simulator.shop import Emission, Shop

_TICK_S = 0.1


@dataclass
class LiveFigures:
    """What there is to look at while it runs."""

    searches: deque[str] = field(default_factory=lambda: deque(maxlen=4))
    recommendations: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=3))
    produced: int = 0
    consumed: int = 0
    shown: int = 0


class ShopDriver:
    """One run of the shop against a broker."""

    def __init__(
        self,
        shop: Shop,
        codecs: Codecs,
        account: Account,
        subscriber_key: PrivateKey,
        ingest_key: VerifyKey,
        client_config: Mapping[str, Any],
        partitions: Mapping[str, int],
        *,
        idempotent: bool,
    ) -> None:
        """``partitions`` by topic name."""
        self.shop = shop
        self.figures = LiveFigures()
        self._codecs = codecs
        self._account = account
        self._key = subscriber_key
        self._ingest_key = ingest_key
        self._config = dict(client_config)
        self._partitions = partitions
        self._idempotent = idempotent
        self._now_ms = 0
        self.on_recommendation: Callable[[Mapping[str, Any]], object] | None = None
        """Is shown every recommendation before its shopper is."""

    async def publish_catalogue(self) -> int:
        """All items; how many."""
        codec = self._codecs.for_topic(topics.CATALOGUE_ITEMS)
        async with self._producer() as producer:
            sends = [
                await producer.send(topics.CATALOGUE_ITEMS, value=codec.encode(item.value), key=item.item_id.encode())
                for item in self.shop.items
            ]
            await asyncio.gather(*sends)
        return len(self.shop.items)

    async def publish_consents(self) -> None:
        """What every shopper answered the shop."""
        codec = self._codecs.for_topic(topics.CONSENT_UPDATES)
        async with self._producer() as producer:
            sends = [
                await producer.send(topics.CONSENT_UPDATES, value=codec.encode(consent), key=consent["user_id"].encode())
                for consent in self.shop.consents(time.time_ns() // 1_000_000)
            ]
            await asyncio.gather(*sends)

    async def run(self, start_ms: int, pace: float, seconds: float, stop: asyncio.Event, on_tick: Callable[[float], None]) -> None:
        """Let simulated time pass from ``start_ms``, ``pace`` times as fast as real time, for so many real seconds or until stopped.
        ``on_tick`` gets the share of them that is over."""
        consumer = self._consumer()
        await consumer.start()
        async with self._producer() as producer:
            tps = [TopicPartition(topics.RECOMMENDATIONS, p) for p in range(self._partitions[topics.RECOMMENDATIONS])]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            deliver = asyncio.create_task(self._deliver(consumer))
            try:
                begin = time.monotonic()
                while not stop.is_set() and (elapsed := time.monotonic() - begin) < seconds:
                    self._now_ms = start_ms + int(elapsed * pace * 1000)
                    await self._publish(producer, self.shop.step(self._now_ms))
                    on_tick(elapsed / seconds)
                    if deliver.done():
                        deliver.result()
                    await asyncio.sleep(_TICK_S)
                # What shoppers have begun they finish, but nobody new comes.
                await self._publish(producer, self.shop.step(self._now_ms + 3_600_000, new_sessions=False))
            finally:
                deliver.cancel()
                await asyncio.gather(deliver, return_exceptions=True)
                await consumer.stop()

    async def read_all(self, topic: str) -> list[dict[str, Any]]:
        """Every value of a topic, decoded, as of now."""
        codec = self._codecs.for_topic(topic)
        consumer = self._consumer()
        await consumer.start()
        values: list[dict[str, Any]] = []
        try:
            tps = [TopicPartition(topic, p) for p in range(self._partitions[topic])]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=300)).values():
                    values += [codec.decode(record.value) for record in records if record.value is not None]
        finally:
            await consumer.stop()
        return values

    async def _publish(self, producer: AIOKafkaProducer, emissions: list[Emission]) -> None:
        codec = self._codecs.for_topic(topics.BEHAVIOUR_RAW)
        sent: list[tuple[Emission, float, asyncio.Future[Any]]] = []
        for emission in emissions:
            value = emission.value if isinstance(emission.value, bytes) else codec.encode(emission.value)
            if isinstance(emission.value, dict) and emission.value["event_type"] == "search" and emission.expected is None:
                self.figures.searches.append(
                    "…" if any(c.isdigit() or c == "@" for c in emission.value["query"]) else emission.value["query"]
                )
            at_s = time.monotonic()
            sent.append(
                (emission, at_s, await producer.send(topics.BEHAVIOUR_RAW, value=value, key=emission.key, headers=list(emission.headers)))
            )
        for emission, at_s, future in sent:
            answer = await future
            self._account.sent(emission, answer.partition, answer.offset, at_s)
        self.figures.produced += len(sent)

    async def _deliver(self, consumer: AIOKafkaConsumer) -> None:
        """Recommendations to their shoppers; the only place that opens a sealed id."""
        codec = self._codecs.for_topic(topics.RECOMMENDATIONS)
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            now_s = time.monotonic()
            for records in fetched.values():
                for record in records:
                    value = codec.decode(record.value)
                    self._account.recommended(value["trigger_event_id"], now_s)
                    self.figures.consumed += 1
                    if self.on_recommendation is not None:
                        self.on_recommendation(value)
                    self.figures.recommendations.append(value)
                    user = open_sealed_id(self._key, value["sealed_id"], pseudonym=value["pseudonym"], verify_key=self._ingest_key)
                    if self.shop.receive(value, user, self._now_ms):
                        self.figures.shown += 1

    def _producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._config, acks="all", linger_ms=5, enable_idempotence=self._idempotent)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(**self._config, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=50)

"""Follows the trainer's topics: each fetch and its offsets go into the store together, so a kill neither loses nor doubles anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.admin.kafka_client import client_config, need_topic, no_broker
from streams.errors import RecordError, TransientError
from streams.settings import KafkaSettings, Settings
from streams.topics import FEEDBACK, TRAINING_CONTROL, TRAINING_PAIRS
from streams.trainer.canary import Tally
from streams.trainer.metrics import TrainerMetrics
from streams.trainer.requests import pending
from streams.trainer.store import PairStore
from streams.wire.codec import Codec, open_codec
from streams.wire.records import Feedback, TrainingControl, TrainingPair

log = logging.getLogger(__name__)

_TOPICS = (TRAINING_PAIRS, FEEDBACK, TRAINING_CONTROL)
_MOST = 5000
_FETCH_MS = 500
_PAUSE_S = 5.0


class Intake:
    """``requests`` and ``tally`` are as of what was taken in last."""

    def __init__(self, settings: Settings, kafka: KafkaSettings, store: PairStore, metrics: TrainerMetrics) -> None:
        self._prefix, self._kafka, self._store, self._metrics = settings.topic_prefix, kafka, store, metrics
        self._registry_url = settings.registry_url
        self._codecs: dict[str, Codec] = {}
        self._take: dict[str, Callable[[int, Sequence[tuple[int, Any]], int], None]] = {
            TRAINING_PAIRS: self._take_pairs,
            FEEDBACK: self._take_feedback,
            TRAINING_CONTROL: self._take_control,
        }
        self.tally = Tally.load(store.state("tally"))
        self.requests = pending(cast("list[dict[str, Any]]", store.state("requests") or []), [])
        self.caught_up = False
        """Once there was nothing more to read: a round that begins before would not know the newest pairs."""
        self._consumer = AIOKafkaConsumer(
            **client_config(kafka), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=200
        )

    async def start(self) -> None:
        """Raises BrokerUnavailable, ConfigurationError where a topic is missing, and what a registry of schemas raises."""
        for topic in _TOPICS:
            self._codecs[topic] = await open_codec(topic, self._registry_url, topic_prefix=self._prefix)
        partitions = [(topic, part) for topic in _TOPICS for part in range(await need_topic(self._kafka, self._prefix + topic))]
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            raise no_broker(self._kafka, error) from error
        self._consumer.assign([TopicPartition(self._prefix + topic, part) for topic, part in partitions])
        for topic in _TOPICS:
            known = self._store.offsets(topic)
            for part in [part for name, part in partitions if name == topic]:
                tp = TopicPartition(self._prefix + topic, part)
                if part in known:
                    # Where retention has gone past it, or the topic was made anew, the consumer begins at the topic's beginning.
                    self._consumer.seek(tp, known[part])
                else:
                    await self._consumer.seek_to_beginning(tp)
        self._metrics.stored.set(len(self._store))

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped. A full disk is waited for: nothing is lost that the topic holds."""
        while not stop.is_set():
            fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST)
            self.caught_up = self.caught_up or not fetched
            for tp, records in fetched.items():
                topic = tp.topic.removeprefix(self._prefix)
                values = [(record.timestamp, value) for record in records if (value := self._decoded(topic, record)) is not None]
                while not stop.is_set():
                    try:
                        self._take[topic](tp.partition, values, records[-1].offset + 1)
                        break
                    except TransientError as error:
                        self._metrics.retries.inc()
                        log.warning("%s; trying again", error)
                        await _pause(stop, _PAUSE_S)
            self._metrics.pending.set(len(self.requests))

    async def stop(self) -> None:
        await self._consumer.stop()

    def _decoded(self, topic: str, record: Any) -> Any:
        try:
            return self._codecs[topic].decode(record.value, record.headers)
        except RecordError:
            self._metrics.rejected.labels(topic).inc()
            return None

    def _take_pairs(self, partition: int, values: Sequence[tuple[int, TrainingPair]], following: int) -> None:
        self._metrics.pairs.inc(self._store.append([pair for _, pair in values], {(TRAINING_PAIRS, partition): following}))
        self._metrics.stored.set(len(self._store))

    def _take_feedback(self, partition: int, values: Sequence[tuple[int, Feedback]], following: int) -> None:
        tally = Tally.load(self.tally.dump())
        tally.add(partition, values)
        self._store.advance({(FEEDBACK, partition): following}, {"tally": tally.dump()})
        self.tally = tally

    def _take_control(self, partition: int, values: Sequence[tuple[int, TrainingControl]], following: int) -> None:
        requests = pending(self.requests, [record for _, record in values])
        self._store.advance({(TRAINING_CONTROL, partition): following}, {"requests": requests})
        self.requests = requests


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return

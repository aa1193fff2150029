"""What the trainer reads and writes at the broker, beside the topics that it follows."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.errors import BrokerUnavailable, RecordError, TransientError
from streams.kafka.clients import client_config, need_topic, no_broker, reader
from streams.serde.codec import open_codec
from streams.serde.records import TrainingControl
from streams.settings import KafkaSettings, Settings
from streams.stages.catalogue.validate import item_text, valid_item
from streams.topics import CATALOGUE_ITEMS, TRAINING_CONTROL
from streams.training.evaluation_data import ItemFacts

_IDLE_MS = 300
_SILENCE_S = 30.0


async def read_items(settings: Settings, kafka: KafkaSettings) -> dict[str, ItemFacts]:
    """The catalogue as the catalogue stage reads it: texts by item id; what that stage refuses is left out.

    Raises BrokerUnavailable where the broker falls silent, ConfigurationError where the topic is missing.
    """
    codec = await open_codec(CATALOGUE_ITEMS, settings.registry_url, topic_prefix=settings.topic_prefix)
    found: dict[str, ItemFacts] = {}
    async with reader(kafka, settings.topic_prefix + CATALOGUE_ITEMS) as consumer:
        partitions = list(consumer.assignment())
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        silent_since = asyncio.get_running_loop().time()
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            fetched = await consumer.getmany(timeout_ms=_IDLE_MS)
            now = asyncio.get_running_loop().time()
            if fetched:
                silent_since = now
            elif now - silent_since > _SILENCE_S:
                raise BrokerUnavailable(f"the broker has sent nothing of {CATALOGUE_ITEMS} for {_SILENCE_S:.0f} s; try again")
            for records in fetched.values():
                for record in records:
                    if record.value is None:
                        found.pop((record.key or b"").decode(errors="replace"), None)
                        continue
                    try:
                        item = valid_item(record.key, codec.decode(record.value, record.headers))
                    except RecordError:
                        continue  # the catalogue stage counts and dead-letters it
                    text = item_text(item, settings.item_text_characters)
                    found[item["item_id"]] = ItemFacts(text, item["category"] or None, item["in_stock"] and not item["blocked"])
    return found


async def send_control(record: TrainingControl, settings: Settings, kafka: KafkaSettings) -> None:
    """Returns when the broker has acknowledged it. Raises as ``read_items``, and TransientError where it does not."""
    topic = settings.topic_prefix + TRAINING_CONTROL
    codec = await open_codec(TRAINING_CONTROL, settings.registry_url, topic_prefix=settings.topic_prefix)
    value = codec.encode(record)
    await need_topic(kafka, topic)
    producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=settings.idempotent_producer)
    try:
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            raise no_broker(kafka, error) from error
        try:
            await producer.send_and_wait(topic, value=value, key=record["request_id"].encode())
        except KafkaError as error:
            raise TransientError(f"the broker did not acknowledge the record of {topic} ({type(error).__name__}); try again") from error
    finally:
        await producer.stop()

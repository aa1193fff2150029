"""What the trainer reads and writes at the broker, except for the topics that it follows."""

from __future__ import annotations

from streams.errors import RecordError
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far, write_record
from streams.serde.codec import open_codec
from streams.serde.records import TrainingControl
from streams.settings import KafkaSettings, Settings
from streams.stages.catalogue.validate import band_of, item_text, valid_item
from streams.topics import CATALOGUE_ITEMS, TRAINING_CONTROL
from streams.training.evaluation_data import ItemFacts


async def read_items(settings: Settings, kafka: KafkaSettings) -> dict[str, ItemFacts]:
    """The catalogue as the catalogue stage reads it: texts by item id, without the items that this stage refuses. Raises
    BrokerUnavailable if the broker stops answering, ConfigurationError if the topic is missing.
    """
    codec = await open_codec(CATALOGUE_ITEMS, settings)
    found: dict[str, ItemFacts] = {}
    async with reader(kafka, settings.topic_prefix + CATALOGUE_ITEMS) as consumer:
        async for record in records_so_far(consumer, CATALOGUE_ITEMS):
            if record.value is None:
                found.pop((record.key or b"").decode(errors="replace"), None)
                continue
            await codec.prepare(record.value)
            try:
                item = valid_item(record.key, codec.decode(record.value, record.headers))
            except RecordError:
                continue  # the catalogue stage counts and dead-letters it
            text = item_text(item, settings.item_text_characters, settings.item_language)
            found[item["item_id"]] = ItemFacts(text, item["category"] or None, item["in_stock"] and not item["blocked"], band_of(item))
    return found


async def send_control(record: TrainingControl, settings: Settings, kafka: KafkaSettings) -> None:
    """Returns when the broker has acknowledged it. Raises as ``read_items``, and TransientError if it does not."""
    topic = settings.topic_prefix + TRAINING_CONTROL
    codec = await open_codec(TRAINING_CONTROL, settings)
    value = codec.encode(record)
    identity = record["request_id"].encode()
    await write_record(kafka, topic, identity, value, idempotent=settings.idempotent_producer, then="try again")

"""What the trainer reads and writes at the broker, except for the topics that it follows."""

from __future__ import annotations

import asyncio

from streams.errors import RecordError
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far, write_record
from streams.serde.codec import open_codec, open_codecs
from streams.serde.records import Item, TrainingControl
from streams.settings import KafkaSettings, Settings
from streams.sources.item_settings import item_sources
from streams.sources.item_source import ItemLine
from streams.sources.sources import NONE
from streams.stages.catalogue.validate import band_of, item_text, valid_item
from streams.topics import CATALOGUE_ITEMS, TRAINING_CONTROL, item_topics
from streams.training.evaluation_data import ItemFacts


async def read_items(settings: Settings, kafka: KafkaSettings) -> dict[str, ItemFacts]:
    """The catalogue as the catalogue stage reads it: texts by item id, without the items that this stage refuses. Raises
    BrokerUnavailable if the broker stops answering, ConfigurationError if the topic is missing.
    """
    codecs = await asyncio.to_thread(open_codecs, settings)
    sources = await asyncio.to_thread(item_sources, settings, codecs)
    found: dict[str, ItemFacts] = {}
    members: dict[tuple[str, bytes], tuple[str, ...]] = {}
    """By topic and key of a record that a mapping reads: its items, as the catalogue stage remembers them."""
    for topic in dict.fromkeys((CATALOGUE_ITEMS, *item_topics(settings.items_source_topics))):
        async with reader(kafka, settings.topic_prefix + topic) as consumer:
            async for record in records_so_far(consumer, topic):
                key = record.key or b""
                before = members.pop((topic, key), ())
                if record.value is None:
                    for item_id in before or (key.decode(errors="replace"),):
                        found.pop(item_id, None)
                    continue
                await codecs.for_topic(CATALOGUE_ITEMS).prepare(record.value)
                name, lines = sources.read(record)
                items = [item for line in lines if (item := _valid(line, None if name != NONE else record.key)) is not None]
                if name != NONE and record.key is not None:
                    ids = tuple(item["item_id"] for item in items)
                    if len(items) < len(lines):
                        ids = tuple(dict.fromkeys((*before, *ids)))
                    for item_id in set(before).difference(ids):
                        found.pop(item_id, None)
                    members[topic, key] = ids
                for item in items:
                    text = item_text(item, settings.item_text_characters, settings.item_language)
                    is_recommendable = item["in_stock"] and not item["blocked"]
                    found[item["item_id"]] = ItemFacts(text, item["category"] or None, is_recommendable, band_of(item))
    return found


def _valid(line: ItemLine, key: bytes | None) -> Item | None:
    """The item, if the catalogue stage takes it; otherwise it counts and dead-letters it."""
    if isinstance(line, RecordError):
        return None
    try:
        return valid_item(line["item_id"].encode() if key is None else key, line)
    except RecordError:
        return None


async def send_control(record: TrainingControl, settings: Settings, kafka: KafkaSettings) -> None:
    """Returns when the broker has acknowledged it. Raises as ``read_items``, and TransientError if it does not."""
    topic = settings.topic_prefix + TRAINING_CONTROL
    codec = await open_codec(TRAINING_CONTROL, settings)
    value = codec.encode(record)
    identity = record["request_id"].encode()
    await write_record(kafka, topic, identity, value, idempotent=settings.idempotent_producer, then="try again")

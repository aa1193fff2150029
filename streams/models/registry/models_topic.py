"""Reads and writes the topic ``models`` for operators and the trainer."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from nacl.signing import SigningKey, VerifyKey

from streams.errors import TransientError
from streams.kafka.clients import client_config, need_topic, no_broker, reader
from streams.models.registry.announcement import Announcement, sign_announcement
from streams.models.registry.channels import Channels, read_channels
from streams.serde.codec import open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import MODELS


async def current_channels(settings: Settings, kafka: KafkaSettings, key: VerifyKey) -> Channels:
    """What every channel serves now. Raises BrokerUnavailable, and ConfigurationError where the topic is missing."""
    codec = await open_codec(MODELS, settings.registry_url, topic_prefix=settings.topic_prefix)
    async with reader(kafka, settings.topic_prefix + MODELS) as consumer:
        return await read_channels(consumer, codec, key)


async def send_announcement(announcement: Announcement, key: SigningKey, settings: Settings, kafka: KafkaSettings) -> None:
    """Signs and writes it; returns when the broker has acknowledged it. Raises as above, and TransientError where it does not."""
    topic = settings.topic_prefix + MODELS
    codec = await open_codec(MODELS, settings.registry_url, topic_prefix=settings.topic_prefix)
    value = codec.encode(sign_announcement(announcement, key))
    await need_topic(kafka, topic)
    producer = AIOKafkaProducer(**client_config(kafka), acks="all", enable_idempotence=settings.idempotent_producer)
    try:
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            raise no_broker(kafka, error) from error
        try:
            await producer.send_and_wait(topic, value=value, key=announcement.channel.encode())
        except KafkaError as error:
            raise TransientError(
                f"the broker did not acknowledge the announcement ({type(error).__name__}); see `veilstream models list`, then try again"
            ) from error
    finally:
        await producer.stop()

"""Writes announcements: to the topic ``models``, then to the head in the store."""

from __future__ import annotations

import asyncio

from nacl.signing import SigningKey

from streams.errors import TransientError
from streams.kafka.topic_records import write_record
from streams.models.registry.announcement import Announcement, sign_announcement
from streams.models.registry.channels import Channels, current_channels
from streams.models.registry.store import ModelStore
from streams.serde.codec import open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import MODELS


async def send_announcement(announcement: Announcement, key: SigningKey, settings: Settings, kafka: KafkaSettings) -> None:
    """Signs and writes it. Returns when the broker has acknowledged it, and the store's head says the same.

    Raises as ``current_channels`` does, and TransientError if the broker does not acknowledge it, if the head can't be written, or if
    another announcer was at work on the channel at the same moment and its announcement holds.
    """
    codec = await open_codec(MODELS, settings)
    value = codec.encode(sign_announcement(announcement, key))
    name = announcement.channel.encode()
    await write_record(
        kafka,
        settings.topic_prefix + MODELS,
        name,
        value,
        idempotent=settings.idempotent_producer,
        then="see `veilstream models list`, then try again",
    )
    channels = await current_channels(settings, kafka, key.verify_key)
    channels.apply(name, value)  # the end of the topic, as a broker tells it, may be a moment old
    if channels.head.last(announcement.channel) != announcement:
        raise TransientError(
            f"another announcement was written on {announcement.channel} at the same moment, and holds; see `veilstream models list`, "
            "then try again if yours is the right one"
        )
    await settle_head(channels, settings)


async def settle_head(channels: Channels, settings: Settings) -> None:
    """Write the store's head where it does not say what the channels do. Raises TransientError that says what it means if it can't."""
    store = ModelStore(settings.models)

    def settle() -> None:
        data = channels.head.to_bytes()
        if channels.head.records() and store.read_head() != data:
            store.write_head(data)

    try:
        await asyncio.to_thread(settle)
    except TransientError as error:
        raise TransientError(
            f"what is announced is not in the head of the store, so a new worker can be shown an older model ({error}); "
            "then announce it again"
        ) from error

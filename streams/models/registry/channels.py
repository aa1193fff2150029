"""Which version each channel serves, by the topic ``models``. Reads and writes this topic for operators and the trainer."""

from __future__ import annotations

from collections import Counter

from aiokafka import AIOKafkaConsumer
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ModelRefused, RecordError, Refusal
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far, write_record
from streams.models.registry.announcement import Announcement, Channel, sign_announcement, verify_announcement
from streams.serde.codec import Codec, Headers, open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import MODELS


class Channels:
    """Fed with the topic's records in order. What does not verify is counted and changes nothing."""

    def __init__(self, codec: Codec, key: VerifyKey) -> None:
        self._codec = codec
        self._key = key
        self._last: dict[Channel, Announcement] = {}
        self.refused: Counter[str] = Counter()
        """Number of refused records by reason. A removal (a record without value) counts too, because it is not signed."""

    def apply(self, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Announcement | None:
        """The announcement in a record, if it is to be obeyed."""
        try:
            announcement = self._verified(key, value, headers)
        except RecordError as error:
            self.refused[error.reason.value] += 1
            return None
        except ModelRefused as error:
            self.refused[error.refusal.value] += 1
            return None
        self._last[announcement.channel] = announcement
        return announcement

    def current(self, channel: Channel) -> Announcement | None:
        """What the channel serves; None if nothing was announced, or it was withdrawn."""
        last = self._last.get(channel)
        return None if last is None or last.withdrawn else last

    def serving(self, version: str) -> list[Channel]:
        """The channels that serve a version, stable first."""
        return [name for name in ("stable", "canary") if (found := self.current(name)) is not None and found.model_version == version]

    def next_time(self, channel: Channel, now_ms: int) -> int:
        """A time for the channel's next announcement, milliseconds: now, but after the last one, whose clock may go fast."""
        last = self._last.get(channel)
        return now_ms if last is None else max(now_ms, last.announced_at + 1)

    def _verified(self, key: bytes | None, value: bytes | None, headers: Headers) -> Announcement:
        announcement = verify_announcement(self._codec.decode(value, headers), self._key)
        if key != announcement.channel.encode():
            raise ModelRefused(Refusal.MALFORMED, "the record's key is not its channel; announce it again")
        last = self._last.get(announcement.channel)
        if last is not None and announcement.announced_at < last.announced_at:
            raise ModelRefused(Refusal.OUTDATED, "an old announcement was written again; announce the intended version")
        return announcement


async def read_channels(consumer: AIOKafkaConsumer, codec: Codec, key: VerifyKey) -> Channels:
    """The channels as the whole topic, up to its end as of now, has them; the consumer is assigned to all its partitions.

    Raises BrokerUnavailable if the broker falls silent.
    """
    channels = Channels(codec, key)
    async for record in records_so_far(consumer, MODELS):
        await codec.prepare(record.value)
        channels.apply(record.key, record.value, record.headers)
    return channels


async def current_channels(settings: Settings, kafka: KafkaSettings, key: VerifyKey) -> Channels:
    """What every channel serves now. Raises BrokerUnavailable, and ConfigurationError if the topic is missing."""
    codec = await open_codec(MODELS, settings)
    async with reader(kafka, settings.topic_prefix + MODELS) as consumer:
        return await read_channels(consumer, codec, key)


async def send_announcement(announcement: Announcement, key: SigningKey, settings: Settings, kafka: KafkaSettings) -> None:
    """Signs and writes it; returns when the broker has acknowledged it. Raises as above, and TransientError if it does not."""
    topic = settings.topic_prefix + MODELS
    codec = await open_codec(MODELS, settings)
    value = codec.encode(sign_announcement(announcement, key))
    await write_record(
        kafka,
        topic,
        announcement.channel.encode(),
        value,
        idempotent=settings.idempotent_producer,
        then="see `veilstream models list`, then try again",
    )

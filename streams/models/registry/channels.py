"""Which version each channel serves, by the topic ``models`` and by the head in the store."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer
from nacl.signing import VerifyKey

from streams.errors import ModelRefused, RecordError, Refusal
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far
from streams.models.registry.announcement import Announcement, Channel
from streams.models.registry.head import Head, head_records, newer
from streams.models.registry.store import ModelStore
from streams.serde.codec import Codec, Headers, open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import MODELS


class Channels:
    """Fed with the topic's records in order. What does not verify, or is older than what is known, is counted and changes nothing."""

    def __init__(self, codec: Codec, key: VerifyKey, *, uncounted: bool = True) -> None:
        """``uncounted``: see ``Head``."""
        self._codec = codec
        self.head = Head(key, uncounted=uncounted)
        self.refused: Counter[str] = Counter()
        """Number of refused records by reason. A removal (a record without value) counts too, because it is not signed."""
        self.missing: list[Announcement] = []
        """What ``learn`` found that is newer than what the topic holds."""

    def apply(self, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Announcement | None:
        """The announcement in a record, if it is to be obeyed."""
        try:
            record = self._codec.decode(value, headers)
            if key != record["channel"].encode():
                raise ModelRefused(Refusal.MALFORMED, "the record's key is not its channel; announce it again")
            return self.head.take(record)
        except RecordError as error:
            self.refused[error.reason.value] += 1
        except ModelRefused as error:
            self.refused[error.refusal.value] += 1
        return None

    def learn(self, data: bytes | None) -> list[Announcement]:
        """Takes a head's bytes, after the topic's records: the announcements that the topic should hold and does not. What can't be
        verified is counted. None: there is no head."""
        if data is None:
            return []
        try:
            taken, refused = newer(self.head, head_records(data))
        except ModelRefused as error:
            taken, refused = [], [error.refusal]
        self.refused.update(refusal.value for refusal in refused)
        self.missing += taken
        return taken

    def current(self, channel: Channel) -> Announcement | None:
        """What the channel serves; None if nothing was announced, or it was withdrawn."""
        last = self.head.last(channel)
        return None if last is None or last.withdrawn else last

    def serving(self, version: str) -> list[Channel]:
        """The channels that serve a version, stable first."""
        return [name for name in ("stable", "canary") if (found := self.current(name)) is not None and found.model_version == version]

    def next_time(self, channel: Channel, now_ms: int) -> int:
        """A time for the channel's next announcement, milliseconds: now, but after the last one, whose clock may go fast."""
        last = self.head.last(channel)
        return now_ms if last is None else max(now_ms, last.announced_at + 1)

    def next_counter(self, channel: Channel, after: int = 0) -> int:
        """The counter for the channel's next announcement: above the last one's, and above ``after``."""
        last = self.head.last(channel)
        return max(after, 0 if last is None else last.counter) + 1


async def read_channels(consumer: AIOKafkaConsumer, codec: Codec, key: VerifyKey, *, uncounted: bool = True) -> Channels:
    """The channels as the whole topic, up to its end as of now, has them; the consumer is assigned to all its partitions.

    Raises BrokerUnavailable if the broker falls silent.
    """
    channels = Channels(codec, key, uncounted=uncounted)
    async for record in records_so_far(consumer, MODELS):
        await codec.prepare(record.value)
        channels.apply(record.key, record.value, record.headers)
    return channels


async def current_channels(settings: Settings, kafka: KafkaSettings, key: VerifyKey) -> Channels:
    """What every channel serves now, by the topic and the store's head.

    Raises BrokerUnavailable, ConfigurationError if the topic is missing, and TransientError if the store can't be reached.
    """
    codec = await open_codec(MODELS, settings)
    async with reader(kafka, settings.topic_prefix + MODELS) as consumer:
        channels = await read_channels(consumer, codec, key, uncounted=settings.models_uncounted)
    channels.learn(await asyncio.to_thread(ModelStore(settings.models).read_head))
    return channels

"""Reads the whole topic into a Verifier: once for what links say of other chains, once for the links themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from nacl.signing import VerifyKey

from streams.audit.anchors import Anchor
from streams.audit.anonymity import Anonymity, Measured
from streams.audit.verifier import Finding, Verifier
from streams.engine.records import SourceRecord
from streams.errors import RecordError
from streams.kafka.clients import reader
from streams.kafka.topic_records import Shows, records_so_far
from streams.serde.codec import open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import BEHAVIOUR_CLEAN, PRIVACY_AUDIT, TRAINING_PAIRS


async def verify_topic(
    settings: Settings,
    kafka: KafkaSettings,
    keys: Mapping[str, Sequence[VerifyKey]],
    *,
    anchors: Iterable[Anchor] = (),
    tell: Callable[[Finding], object] = lambda finding: None,
    on_link: Callable[[Mapping[str, Any], SourceRecord], object] = lambda link, record: None,
    show: Shows = lambda done, total: None,
) -> Verifier:
    """The verifier that has taken everything up to the end as of now. ``show``: see ``records_so_far``; the topic is read twice,
    and both count.

    Raises BrokerUnavailable, and ConfigurationError if the topic is missing.
    """
    codec = await open_codec(PRIVACY_AUDIT, settings)
    verifier = Verifier(codec, keys, anchors=anchors, tell=tell, on_link=on_link)
    async with reader(kafka, settings.topic_prefix + PRIVACY_AUDIT) as consumer:
        async for record in records_so_far(consumer, PRIVACY_AUDIT, show=lambda done, total: show(done, 2 * total)):
            await codec.prepare(record.value)
            verifier.look_at_anchors(record)
        async for record in records_so_far(consumer, PRIVACY_AUDIT, show=lambda done, total: show(total + done, 2 * total)):
            await codec.prepare(record.value)
            verifier.take(record)
    verifier.finish()
    return verifier


async def measure_anonymity(settings: Settings, kafka: KafkaSettings, show: Callable[[str, int, int], object]) -> list[Measured]:
    """Of all that behaviour.clean and training.pairs hold now. Raises as above; records that can't be read are passed over. ``show``
    is told the topic, and how far it is read."""
    bucket_ms = settings.time_bucket_s * 1000
    wide_ms = max(settings.k_time_s * 1000, bucket_ms)
    anonymity = Anonymity(settings.k, window_ms=settings.k_window_s * 1000, bucket_ms=bucket_ms, wide_ms=wide_ms)
    for topic, take in ((BEHAVIOUR_CLEAN, anonymity.take_event), (TRAINING_PAIRS, anonymity.take_pair)):
        codec = await open_codec(topic, settings)
        async with reader(kafka, settings.topic_prefix + topic) as consumer:
            async for record in records_so_far(consumer, topic, show=partial(show, topic)):
                await codec.prepare(record.value)
                try:
                    take(codec.decode(record.value, record.headers))
                except RecordError:
                    continue  # the stages that read it dead-letter it
    return anonymity.measured()

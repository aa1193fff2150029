"""The topic ``privacy.audit``: written link by link, read whole, or its end only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from nacl.signing import VerifyKey

from streams.audit.auditors import Auditor, signing_key
from streams.audit.chain import ChainId, Head, chain_of, is_link_of, link_hash
from streams.audit.run_log import RunLog
from streams.clock import Clock
from streams.errors import RecordError
from streams.kafka.clients import reader
from streams.kafka.topic_records import write_record
from streams.privacy.key_folder import key_folder
from streams.serde.codec import Codec, open_codec
from streams.settings import KafkaSettings, Settings
from streams.topics import PRIVACY_AUDIT

_LAST_RECORDS = 2000
"""Of each partition, in which a command looks for heads of chains: so it takes some seconds at most, however long the topic is."""
_IDLE_MS = 200
_SILENCE_S = 10.0


async def open_run_log(auditor: Auditor, settings: Settings, kafka: KafkaSettings, clock: Clock, codec: Codec | None = None) -> RunLog:
    """A log whose links go to the topic. Raises ConfigurationError if the key is missing, or the registry has no schema."""
    key = signing_key(key_folder(settings), auditor)
    codec = codec or await open_codec(PRIVACY_AUDIT, settings)

    async def write(name: bytes, value: bytes) -> None:
        topic = settings.topic_prefix + PRIVACY_AUDIT
        then = f"give who writes here the right to write to {PRIVACY_AUDIT}, then try again"
        await write_record(kafka, topic, name, value, idempotent=settings.idempotent_producer, then=then)

    return RunLog(auditor, key, codec, write, clock)


async def recent_heads(settings: Settings, kafka: KafkaSettings, keys: Mapping[str, Sequence[VerifyKey]]) -> dict[ChainId, Head]:
    """The heads of those chains that have a link among the last records, the newest last. A link that does not verify counts for nothing.

    Raises BrokerUnavailable, and ConfigurationError if the topic is missing."""
    codec = await open_codec(PRIVACY_AUDIT, settings)
    heads: dict[ChainId, Head] = {}
    async with reader(kafka, settings.topic_prefix + PRIVACY_AUDIT) as consumer:
        for record in await _last_records(consumer):
            found = await _head_of(record, codec, keys)
            if found is not None and found[1].sequence > heads.get(found[0], Head()).sequence:
                heads.pop(found[0], None)
                heads[found[0]] = found[1]
    return heads


async def _last_records(consumer: Any) -> list[Any]:
    partitions = list(consumer.assignment())
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    for tp in partitions:
        consumer.seek(tp, max(begins[tp], ends[tp] - _LAST_RECORDS))
    clock = asyncio.get_running_loop().time
    found: list[Any] = []
    deadline = clock() + _SILENCE_S
    while any([await consumer.position(tp) < ends[tp] for tp in partitions]) and clock() < deadline:
        for records in (await consumer.getmany(timeout_ms=_IDLE_MS)).values():
            found += records
    return sorted(found, key=lambda record: (record.timestamp, record.partition, record.offset))


async def _head_of(record: Any, codec: Codec, keys: Mapping[str, Sequence[VerifyKey]]) -> tuple[ChainId, Head] | None:
    await codec.prepare(record.value)
    try:
        link = codec.decode(record.value, record.headers)
    except RecordError:
        return None  # `veilstream audit verify` names it
    if not any(is_link_of(link, key) for key in keys.get(link["stage"], ())):
        return None
    return chain_of(link), Head(link["sequence"], link_hash(link))

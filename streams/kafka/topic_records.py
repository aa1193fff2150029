"""For tools: reads whole topics and writes single records, outside any consumer group, with acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams.errors import BrokerUnavailable, TransientError
from streams.kafka.clients import naming_rights, need_topic, writer
from streams.settings import KafkaSettings

_IDLE_MS = 300
_SILENCE_S = 30.0


Shows = Callable[[int, int], object]
"""Is called with the number of records that are read, and with that of all."""


def _not_shown(done: int, total: int) -> None:
    """Nobody waits for it."""


async def records_so_far(consumer: AIOKafkaConsumer, name: str, *, exactly: bool = False, show: Shows = _not_shown) -> AsyncIterator[Any]:
    """Every record up to the current end, of all assigned partitions of the consumer; each partition's in order.

    With ``exactly``, newer records from the same fetch are left out. (The embedded broker reports ends that are behind its
    content.) ``show`` is told of each fetch how far it is, by offsets: those that compaction has removed count.

    Raises BrokerUnavailable, which names the topic ``name``, if the broker stops answering.
    """
    partitions = list(consumer.assignment())
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    begins = await consumer.beginning_offsets(partitions)
    total = sum(max(0, ends[tp] - begins[tp]) for tp in partitions)
    clock = asyncio.get_running_loop().time
    silent_since = clock()
    while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
        fetched = await consumer.getmany(timeout_ms=_IDLE_MS)
        if not fetched and clock() - silent_since > _SILENCE_S:
            raise BrokerUnavailable(f"the broker has sent nothing of {name} for {_SILENCE_S:.0f} s; try again")
        for tp, records in fetched.items():
            for record in records:
                if not exactly or record.offset < ends[tp]:
                    yield record
        show(sum([max(0, await consumer.position(tp) - begins[tp]) for tp in partitions]), total)
        if fetched:
            silent_since = clock()  # whoever reads may have taken its time over these


async def write_record(kafka: KafkaSettings, topic: str, key: bytes, value: bytes, *, idempotent: bool, then: str) -> None:
    """Write one record to a topic (full name). Returns when the broker has acknowledged it.

    Raises BrokerUnavailable if no broker answers, ConfigurationError if the topic is missing, AccessDenied if the credentials may not
    write it, and TransientError if the acknowledgement does not come. Its message says with ``then`` what to do.
    """
    await need_topic(kafka, topic, "Write")
    async with writer(kafka, idempotent=idempotent) as producer:
        try:
            with naming_rights("Write", topic):
                await producer.send_and_wait(topic, value=value, key=key)
        except KafkaError as error:
            raise TransientError(f"the broker did not acknowledge the record of {topic} ({type(error).__name__}); {then}") from error

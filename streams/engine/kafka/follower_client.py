"""What a follower asks of its client: never without end, and past what can't be parsed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CorruptRecordException, KafkaTimeoutError
from aiokafka.structs import TopicPartition

from streams.engine.records import SourceRecord

FETCH_MS = 500
ANSWER_S = 10.0
"""How long an answer, or a record that is known to be there, is waited for."""


async def connected(config: Mapping[str, Any]) -> AIOKafkaConsumer:
    """A started client outside any group. Raises what the client raises."""
    consumer = AIOKafkaConsumer(
        **config,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=200,
        isolation_level="read_committed",
    )
    try:
        await consumer.start()
    except BaseException:
        await consumer.stop()
        raise
    return consumer


async def ends_of(consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Last stable offsets. The client would try for forty seconds."""
    try:
        async with asyncio.timeout(ANSWER_S):  # not wait_for, which in Python 3.11 may swallow that we are cancelled
            return dict(await consumer.end_offsets(tps))
    except TimeoutError:
        raise KafkaTimeoutError(f"nobody tells where {', '.join(map(str, tps))} end") from None


async def position_of(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
    """While it is being looked for, a position is waited for without end."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return int(await consumer.position(tp))
    except TimeoutError:
        raise KafkaTimeoutError(f"nobody tells where {tp} begins") from None


class Unparsable(NamedTuple):
    """What stands there was left out."""

    offset: int


async def one_by_one(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int, most: int, monotonic: Callable[[], float]
) -> AsyncGenerator[Sequence[SourceRecord] | Unparsable, None]:
    """The records of a partition, each by itself, up to its ``end``, to ``most`` of them, or to the first after what can't be parsed.
    Raises KafkaTimeoutError where nothing comes of it for ``ANSWER_S``."""
    taken, is_past_it = 0, False
    deadline = monotonic() + ANSWER_S
    while taken < most and (at := await position_of(consumer, tp)) < end:
        try:
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(tp, timeout_ms=FETCH_MS, max_records=1)
        except Exception as error:
            if not is_of_a_record(error):
                raise
            consumer.seek(tp, at + 1)
            is_past_it = True
            yield Unparsable(at)
            deadline = monotonic() + ANSWER_S
            continue
        if fetched:
            for records in fetched.values():
                taken += len(records)
                yield records
            deadline = monotonic() + ANSWER_S
        elif monotonic() > deadline:
            raise KafkaTimeoutError(f"nothing comes of {tp}")
        if is_past_it:
            break


def is_of_a_record(error: Exception) -> bool:
    """Whether the client stumbled over what a record holds: the checksum is wrong, or parsing the bytes raised what such code does."""
    return isinstance(error, CorruptRecordException | ValueError | IndexError | EOFError | struct.error)

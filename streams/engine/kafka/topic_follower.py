"""Follows a compacted topic whole, outside any consumer group, and feeds a read model in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import TopicPartition

from streams.backoff import Backoff
from streams.engine.kafka.follower_client import ANSWER_S, FETCH_MS, Unparsable, connected, ends_of, is_of_a_record, one_by_one, position_of
from streams.engine.records import SourceRecord
from streams.errors import TransientError

log = logging.getLogger(__name__)

_MAX_RECORDS = 5000
_GATHER_S = 0.1
"""What comes one by one is gathered: nobody waits for a read model that long, and each fetch costs the broker as much."""
_ASK_EVERY_S = 1.0
"""How often a quiet follower asks where its topic ends."""
_FRESH_S = 3.0
"""How long an answer counts as of now: the next one is due after a fetch that waits, and the pause above."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_JITTER = 0.2
_SAME_CLIENT = 3
"""So many tries in a row are made with the client that is there; then it is replaced by a new one."""


class TopicFollower:
    """Reads every partition of a topic from its beginning and goes on; ``apply`` gets the records of one fetch.

    Trouble of the broker ends nothing: it is said once, and tried again from the last record that was applied. So is a TransientError
    of ``apply``, which then gets the same records again. Any other exception of ``apply`` is a bug and ends the follower: see ``failure``.

    A record that the client can't parse (a header's name that is not UTF-8, a batch whose checksum is wrong) is left out and counted.
    The client parses whole batches, so what stands behind it in the same batch of the producer can't be had either.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        topic: str,
        apply: Callable[[Sequence[SourceRecord]], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = dict(client_config)
        self.topic = topic
        self._apply = apply
        self._monotonic = monotonic
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._applied: dict[int, int] = {}
        self._progress = asyncio.Condition()
        self._failure: BaseException | None = None
        self._trouble: str | None = None
        self._skipped = 0
        self._known_at: float | None = None
        """When it last knew that it had everything; at first, when it began."""
        self._up_to_date = False
        self._ask_at = 0.0
        self._got_at = 0.0
        """When a fetch last brought something that was missing, or nothing was."""

    @property
    def failure(self) -> BaseException | None:
        """What ended it for ever: an exception of ``apply``."""
        return self._failure

    @property
    def trouble(self) -> str | None:
        """The class of the error that it is retrying, and the topic; None while all is well."""
        return self._trouble

    @property
    def skipped(self) -> int:
        """How many positions were left out because what is there can't be parsed."""
        return self._skipped

    def age_s(self) -> float:
        """Seconds since it last knew that it had applied everything that was there; before it ever did, since its start. 0 when it is up
        to date: what it knows is at most three seconds old. Grows while it can't read, and after a failure."""
        if self._known_at is None:
            return 0.0
        age = max(0.0, self._monotonic() - self._known_at)
        return 0.0 if self._up_to_date and age < _FRESH_S else age

    async def start(self, partitions: int) -> None:
        """Connect and begin to read all of the topic's partitions. Raises what the client raises."""
        consumer = await connected(self._config)
        try:
            tps = [TopicPartition(self.topic, p) for p in range(partitions)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            for tp in tps:
                self._applied[tp.partition] = await consumer.position(tp)
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer
        self._known_at = self._ask_at = self._got_at = self._monotonic()
        self._task = asyncio.create_task(self._follow(), name=f"follow {self.topic}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()

    async def caught_up(self, partition: int | None = None) -> None:
        """Wait until everything that is in the topic now (or in one partition of it) is applied, through troubles. Raises what stopped
        the follower, and TransientError where the topic's end can't be had."""
        if self._failure is not None:
            raise self._failure
        consumer = self._consumer
        if consumer is None:
            raise TransientError(f"the follower of {self.topic} is not connected")
        tps = [TopicPartition(self.topic, p) for p in self._applied if partition is None or p == partition]
        try:
            ends = await ends_of(consumer, tps)
        except KafkaError as error:
            raise TransientError(f"reading the end of {self.topic} failed: {type(error).__name__}") from error

        def reached() -> bool:
            return self._failure is not None or all(self._applied[tp.partition] >= end for tp, end in ends.items())

        async with self._progress:
            await self._progress.wait_for(reached)
        if self._failure is not None:
            raise self._failure

    async def _follow(self) -> None:
        backoff, lost = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, jitter=_JITTER), False
        try:
            while True:
                try:
                    if lost:
                        await self._resume(anew=backoff.failures >= _SAME_CLIENT or self._consumer is None)
                        lost = False
                    if await self._read():
                        backoff.reset()
                        self._over()
                except _ApplyFailed as failed:
                    if not isinstance(failed.error, TransientError):
                        raise failed.error from None
                    error: Exception = failed.error
                except Exception as raised:  # noqa: BLE001 - all that is not of ``apply`` is the client's or the broker's trouble
                    error = raised
                else:
                    continue
                self._say(error)
                lost = True
                await asyncio.sleep(backoff.next_s())
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for the follower gets it
            log.error("the follower of %s stopped: %s", self.topic, type(error).__name__)
            self._failure = error
            self._up_to_date = False
            async with self._progress:
                self._progress.notify_all()

    async def _read(self) -> bool:
        """One fetch; whether it is certain that reading works. An empty fetch tells nothing: the client gives one when nobody answers."""
        consumer = self._connection()
        try:
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=FETCH_MS, max_records=_MAX_RECORDS)
        except Exception as error:
            if not is_of_a_record(error):
                raise
            await self._read_singly(consumer)
            return True
        for tp, records in fetched.items():
            await self._take(tp, records)
        # The position also passes what compaction removed at the end, transactions' markers and what was aborted.
        await self._advance({tp.partition: await position_of(consumer, tp) for tp in consumer.assignment()})
        if fetched:
            self._got_at = self._monotonic()
        is_certain = await self._ask(consumer) or bool(fetched)
        if fetched:
            await asyncio.sleep(_GATHER_S)
        return is_certain

    async def _take(self, tp: TopicPartition, records: Sequence[Any]) -> None:
        try:
            self._apply(records)
        except Exception as error:
            raise _ApplyFailed(error) from error
        self._applied[tp.partition] = records[-1].offset + 1
        await asyncio.sleep(0)

    async def _advance(self, positions: Mapping[int, int]) -> None:
        async with self._progress:
            self._applied.update(positions)
            self._progress.notify_all()

    async def _ask(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether it has everything that was there a moment ago."""
        asked_at = self._monotonic()
        if asked_at < self._ask_at:
            return False
        ends = await ends_of(consumer, list(consumer.assignment()))
        self._ask_at = asked_at + _ASK_EVERY_S
        self._up_to_date = all(self._applied[tp.partition] >= end for tp, end in ends.items())
        if self._up_to_date:
            self._known_at = self._got_at = asked_at
        elif asked_at - self._got_at > ANSWER_S:
            # The client keeps most errors of a fetch to itself.
            raise KafkaTimeoutError(f"there is more in {self.topic}, and nothing comes")
        return self._up_to_date

    async def _read_singly(self, consumer: AIOKafkaConsumer) -> None:
        """Something in the last fetch can't be parsed. The client has then lost its place: what it had parsed before the bad one it does
        not give any more, and its position may be behind it. So each partition is read again from what was applied, record by record,
        past what can't be parsed; as far as one fetch reaches."""
        tps = sorted(consumer.assignment())
        ends = await ends_of(consumer, tps)
        self._rewind(consumer)
        try:
            for tp in tps:
                consumer.pause(*(other for other in tps if other != tp))
                consumer.resume(tp)
                await self._read_one_singly(consumer, tp, ends[tp])
        finally:
            consumer.resume(*tps)

    async def _read_one_singly(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> None:
        bad: list[int] = []
        async with contextlib.aclosing(one_by_one(consumer, tp, end, _MAX_RECORDS, self._monotonic)) as found:
            async for one in found:
                if isinstance(one, Unparsable):
                    bad.append(one.offset)
                    self._skipped += 1
                    self._applied[tp.partition] = one.offset + 1
                else:
                    await self._take(tp, one)
        if bad:
            what = f"{bad[0]}" if len(bad) == 1 else f"{bad[0]} to {bad[-1]}"
            log.warning("%s/%d: what is at %s can't be parsed and is left out", self.topic, tp.partition, what)
        await self._advance({tp.partition: await position_of(consumer, tp)})

    async def _resume(self, *, anew: bool) -> None:
        """From what was applied, with a new client where the old one does not get well."""
        self._ask_at = self._got_at = self._monotonic()
        if anew:
            old, self._consumer = self._consumer, None
            if old is not None:
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await old.stop()
            consumer = await connected(self._config)
            try:
                consumer.assign([TopicPartition(self.topic, p) for p in self._applied])
                self._rewind(consumer)
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        else:
            self._rewind(self._connection())

    def _rewind(self, consumer: AIOKafkaConsumer) -> None:
        """Where retention has gone past it, the client begins at the topic's beginning."""
        for tp in consumer.assignment():
            consumer.seek(tp, self._applied[tp.partition])

    def _connection(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise TransientError(f"the follower of {self.topic} is not connected")
        return self._consumer

    def _say(self, error: Exception) -> None:
        self._up_to_date = False
        before, self._trouble = self._trouble, f"{type(error).__name__} at {self.topic}"
        if before is None:
            log.warning("the follower of %s can't read (%s); it goes on trying", self.topic, type(error).__name__)

    def _over(self) -> None:
        if self._trouble is not None:
            log.info("the follower of %s reads again", self.topic)
            self._trouble = None


class _ApplyFailed(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

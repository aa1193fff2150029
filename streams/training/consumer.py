"""Follows the trainer's topics. Each fetch and its offsets go into the store in one transaction.

So a kill neither loses nor doubles anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.backoff import Backoff, is_set_within, retry
from streams.errors import RecordError, TransientError
from streams.kafka.clients import client_config, need_topic, no_broker
from streams.privacy.moves import MovesReader
from streams.serde.codec import Codec, open_codec
from streams.serde.outcomes import each
from streams.serde.records import ConsentDecision, FeatureLog, Feedback, Forgotten, Moved, TrainingControl, TrainingPair
from streams.settings import KafkaSettings, Settings
from streams.stages.profile.moves import ProfileMove
from streams.topics import CONSENT_DECISIONS, FEEDBACK, PRIVACY_FORGOTTEN, PRIVACY_MOVES, RANKING_FEATURES, TRAINING_CONTROL, TRAINING_PAIRS
from streams.training.metrics import TrainerMetrics
from streams.training.requests import pending
from streams.training.reward_tally import RewardTally
from streams.training.store import PairStore

log = logging.getLogger(__name__)

_TOPICS = (CONSENT_DECISIONS, PRIVACY_FORGOTTEN, PRIVACY_MOVES, TRAINING_PAIRS, FEEDBACK, TRAINING_CONTROL, RANKING_FEATURES)
_MOST = 5000
_FETCH_MS = 500
_PAUSE_S = 5.0
_ANSWER_S = 10.0
_LOOKS = 4
_LOOK_AGAIN_S = 1.0
"""A new leader may for a moment report an end that is before the last reported one."""


class TrainerConsumer:
    """``requests`` and ``tally`` are as of what was taken in last."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaSettings,
        store: PairStore,
        metrics: TrainerMetrics,
        on_removed: Callable[[int], object] = lambda removed: None,
        on_forgotten: Callable[[Sequence[Forgotten]], Awaitable[None]] | None = None,
        on_moved: Callable[[Sequence[ProfileMove]], object] = lambda moves: None,
        *,
        moves: MovesReader | None = None,
    ) -> None:
        """``on_removed``: told how many pairs and logs were removed because their shoppers refused, or asked for it.
        ``on_forgotten``: told of requests to forget before they are done, after a kill perhaps again. ``on_moved``: told the same of who
        has another pseudonym. ``moves``: what the trainer has of ``moves.key``."""
        self._on_moved = on_moved
        self._moves = moves or MovesReader()
        self._on_removed = on_removed
        self._on_forgotten = on_forgotten
        self._prefix, self._kafka, self._store, self._metrics = settings.topic_prefix, kafka, store, metrics
        self._settings = settings
        self._codecs: dict[str, Codec] = {}
        self._take: dict[str, Callable[[int, Sequence[tuple[int, Any]], int], None]] = {
            CONSENT_DECISIONS: self._take_decisions,
            PRIVACY_FORGOTTEN: self._take_requests,
            PRIVACY_MOVES: self._take_moves,
            TRAINING_PAIRS: self._take_pairs,
            FEEDBACK: self._take_feedback,
            TRAINING_CONTROL: self._take_control,
            RANKING_FEATURES: self._take_logs,
        }
        self.tally = RewardTally.load(store.state("tally"))
        self.requests = pending(cast("list[dict[str, Any]]", store.state("requests") or []), [])
        self.caught_up = False
        """Once all that the topics held was read: a round that begins before would not know the newest pairs."""
        self._following: dict[TopicPartition, int] = {}
        """Where to read on."""
        self._ends: dict[TopicPartition, int] | None = None
        """What is to be reached until it is caught up."""
        self._consumer = AIOKafkaConsumer(
            **client_config(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
            isolation_level="read_committed",
        )

    async def start(self) -> None:
        """Raises BrokerUnavailable, ConfigurationError if a topic is missing, and what a registry of schemas raises."""
        for topic in _TOPICS:
            self._codecs[topic] = await open_codec(topic, self._settings)
        partitions = [(topic, part) for topic in _TOPICS for part in range(await need_topic(self._kafka, self._prefix + topic))]
        try:
            await self._consumer.start()
            tps = [TopicPartition(self._prefix + topic, part) for topic, part in partitions]
            self._consumer.assign(tps)
            begins = await self._consumer.beginning_offsets(tps)
            known = {topic: self._store.offsets(topic) for topic in _TOPICS}
            stored = {tp: known[self._name(tp)][tp.partition] for tp in tps if tp.partition in known[self._name(tp)]}
            anew = await self._made_anew(stored)
        except (KafkaError, OSError) as error:
            raise await no_broker(self._kafka, error) from error
        for tp in tps:
            if tp in anew:
                self._begin_anew(tp, begins[tp], f"it ends at {anew[tp]}")
            else:
                # Where retention has gone past it, what is left is read.
                self._following[tp] = max(stored.get(tp, 0), begins[tp])
        self._rewind()
        self._metrics.stored.set(len(self._store))
        self._metrics.logs.set(self._store.logs)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped. A broker that is away, or a full disk, is waited for: nothing is lost that the topic holds."""
        while not stop.is_set():
            try:
                await self._take_in(stop)
            except (KafkaError, OSError, TimeoutError) as error:
                self._metrics.retries.inc()
                log.warning("the trainer's topics can't be read (%s); trying again", type(error).__name__)
                await is_set_within(stop, _PAUSE_S)
                # With the error, the client drops fetched records of other partitions, although its position is already behind them.
                self._rewind()
            self._metrics.pending.set(len(self.requests))

    async def stop(self) -> None:
        await self._consumer.stop()

    async def _take_in(self, stop: asyncio.Event) -> None:
        """One fetch. An empty fetch does not mean the end of the topic: it is also empty if no broker answers."""
        if not self.caught_up and self._ends is None:
            self._ends = await _within(self._consumer.end_offsets(list(self._following)))
        fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS, max_records=_MOST)
        for tp, records in fetched.items():
            if records[0].offset < self._following[tp]:
                self._begin_anew(tp, records[0].offset, f"offset {records[0].offset} came")
                self._ends = None
            await self._take_records(stop, tp, records)
            if stop.is_set():
                return
        if not self.caught_up and self._ends is not None:
            # The position also passes transactions' markers, which are no records.
            left = [tp for tp, end in self._ends.items() if await _within(self._consumer.position(tp)) < end]
            self.caught_up = not left
            if not fetched:
                self._ends = None  # a topic that was made anew may end before

    async def _take_records(self, stop: asyncio.Event, tp: TopicPartition, records: Sequence[Any]) -> None:
        topic, following = self._name(tp), records[-1].offset + 1

        async def take() -> int:
            # In a thread: where an id of a schema is met first, the registry is asked.
            values, rejected = await asyncio.to_thread(_decoded, self._codecs[topic], records)
            if topic == PRIVACY_FORGOTTEN and self._on_forgotten is not None:
                await self._on_forgotten([request for _, request in values])
            self._take[topic](tp.partition, values, following)
            return rejected

        def on_retry(error: Exception, _wait_s: float) -> None:
            self._metrics.retries.inc()
            log.warning("%s; trying again", error)

        try:
            backoff = Backoff(_PAUSE_S, _PAUSE_S)
            rejected = await retry(take, transient=TransientError, backoff=backoff, on_retry=on_retry, stop=stop)
        except TransientError:
            return  # stopped meanwhile; the store holds where to go on
        self._metrics.rejected.labels(topic).inc(rejected)
        self._following[tp] = following

    async def _made_anew(self, stored: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The partitions that end before what was read of them, and where; what an open transaction holds back is a part of them."""
        ends = await self._consumer.end_offsets(list(stored))
        before = {tp: end for tp, end in ends.items() if end < stored[tp]}
        if not before:
            return {}
        plain = AIOKafkaConsumer(**client_config(self._kafka), group_id=None, enable_auto_commit=False)
        try:
            await plain.start()
            for look in range(_LOOKS):
                if look:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                ends = await plain.end_offsets(list(before))
                before = {tp: end for tp, end in ends.items() if end < stored[tp]}
        finally:
            await plain.stop()
        return before

    def _begin_anew(self, tp: TopicPartition, begin: int, why: str) -> None:
        known = self._following.get(tp) or self._store.offsets(self._name(tp)).get(tp.partition, 0)
        log.warning(
            "%s/%d was read up to %d, but now %s: it was recreated, and is read from %d; records with a known id are not counted again",
            tp.topic,
            tp.partition,
            known,
            why,
            begin,
        )
        self._store.begin_anew(self._name(tp), tp.partition, begin)
        self._following[tp] = begin

    def _rewind(self) -> None:
        for tp, following in self._following.items():
            self._consumer.seek(tp, following)

    def _name(self, tp: TopicPartition) -> str:
        return str(tp.topic).removeprefix(self._prefix)

    def _take_decisions(self, partition: int, values: Sequence[tuple[int, ConsentDecision]], following: int) -> None:
        self._tell(self._store.decide([decision for _, decision in values], {(CONSENT_DECISIONS, partition): following}))

    def _take_requests(self, partition: int, values: Sequence[tuple[int, Forgotten]], following: int) -> None:
        self._tell(self._store.erase([request for _, request in values], {(PRIVACY_FORGOTTEN, partition): following}))

    def _take_moves(self, partition: int, values: Sequence[tuple[int, Moved]], following: int) -> None:
        moves: list[ProfileMove] = []
        for _, value in values:
            sealer = self._moves.of(value["sealed"]) if value["stage"] == "profile" else None
            if sealer is not None:
                try:
                    moves.append(sealer.open("profile", value["sealed"], ProfileMove))
                except RecordError:
                    self._metrics.rejected.labels(PRIVACY_MOVES).inc()
        if moves:
            self._on_moved(moves)
        self._tell(self._store.move(moves, {(PRIVACY_MOVES, partition): following}))

    def _tell(self, removed: int) -> None:
        if removed:
            self._on_removed(removed)
            self._metrics.stored.set(len(self._store))
            self._metrics.logs.set(self._store.logs)

    def _take_pairs(self, partition: int, values: Sequence[tuple[int, TrainingPair]], following: int) -> None:
        self._metrics.pairs.inc(self._store.append([pair for _, pair in values], {(TRAINING_PAIRS, partition): following}))
        self._metrics.stored.set(len(self._store))

    def _take_logs(self, partition: int, values: Sequence[tuple[int, FeatureLog]], following: int) -> None:
        self._store.append_logs([log for _, log in values], {(RANKING_FEATURES, partition): following})
        self._metrics.logs.set(self._store.logs)

    def _take_feedback(self, partition: int, values: Sequence[tuple[int, Feedback]], following: int) -> None:
        values = [(at, one) for at, record in values for one in each(record)]
        known = self._store.counted([record["feedback_id"] for _, record in values])
        new: dict[str, tuple[int, Feedback]] = {}
        for value in values:
            if value[1]["feedback_id"] not in known:
                new.setdefault(value[1]["feedback_id"], value)
        tally = RewardTally.load(self.tally.dump())
        tally.add(partition, new.values())
        self._store.advance({(FEEDBACK, partition): following}, {"tally": tally.dump()}, list(new))
        self.tally = tally

    def _take_control(self, partition: int, values: Sequence[tuple[int, TrainingControl]], following: int) -> None:
        requests = pending(self.requests, [record for _, record in values])
        self._store.advance({(TRAINING_CONTROL, partition): following}, {"requests": requests})
        self.requests = requests


def _decoded(codec: Codec, records: Sequence[Any]) -> tuple[list[tuple[int, Any]], int]:
    """The records' times and values, and how many could not be read."""
    values: list[tuple[int, Any]] = []
    tombstones = 0
    for record in records:
        if record.value is None:
            tombstones += 1  # of decisions on consent: the request to forget comes by itself
            continue
        try:
            values.append((record.timestamp, codec.decode(record.value, record.headers)))
        except RecordError:
            continue
    return values, len(records) - len(values) - tombstones


async def _within(asked: Any) -> Any:
    """The client would try for forty seconds, or without end."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await asked
    except TimeoutError:
        raise KafkaTimeoutError from None

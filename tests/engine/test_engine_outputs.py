"""The producer against a broker that loses requests and answers, refuses, and forgets: nothing is written twice, and nothing is said to be
written that is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given
from hypothesis import strategies as st

from streams.engine.outputs import ID_HEADER, LINK_LOST, MAX_BATCH_BYTES, Answer, Outputs, Row, Where
from streams.engine.records import OutputRecord
from streams.errors import NotOwner, RecordError, TransientError

TOO_LARGE, NOT_LEADER, OUT_OF_ORDER, UNKNOWN_PRODUCER = 10, 6, 45, 59
Batch = tuple[tuple[int, int], int, list[Row]]


class Broker:
    """A ProduceLink that keeps sequence numbers as Kafka does (KIP-98). What goes wrong is drawn."""

    def __init__(self, rng: Random, *, faults: float = 0.0, forgets: float = 0.0, partitions: int = 3) -> None:
        self.rng = rng
        self.faults = faults
        self.forgets = forgets
        self.partitions = partitions
        self.logs: dict[Where, list[Row]] = {}
        self.requests: list[list[Where]] = []
        self.pauses: list[float] = []
        self._known: dict[tuple[Where, int], tuple[int, int, int]] = {}
        """First and next sequence number, and offset, of the last batch of each producer."""
        self._producers = 0

    async def partition_count(self, topic: str) -> int:
        return self.partitions

    async def warm_up(self, topic: str) -> None:
        self.logs.setdefault((topic, 0), [])

    async def new_producer(self) -> tuple[int, int]:
        if self.rng.random() < self.faults:
            raise TransientError("no coordinator")
        self._producers += 1
        return (self._producers, 0)

    def encode(self, rows: Sequence[Row], producer: tuple[int, int], sequence: int) -> Batch:
        return producer, sequence, list(rows)

    async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
        for fence in fences:
            fence()
        self.requests.append(sorted(batches))
        answers = {}
        for where, batch in batches.items():
            luck = self.rng.random()
            if luck < self.faults / 3:
                answers[where] = Answer(LINK_LOST, -1)
                continue
            if luck < 2 * self.faults / 3:
                answers[where] = Answer(NOT_LEADER, -1)
                continue
            answer = self._append(where, *batch)
            answers[where] = Answer(LINK_LOST, -1) if luck < self.faults else answer
        if self.rng.random() < self.forgets:
            self._known.clear()
        return answers

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def _append(self, where: Where, producer: tuple[int, int], sequence: int, rows: list[Row]) -> Answer:
        log = self.logs.setdefault(where, [])
        if any((value or b"").startswith(b"huge") for _, value, _ in rows):
            return Answer(TOO_LARGE, -1)
        first, following, offset = self._known.get((where, producer[0]), (-1, -1, -1))
        if following < 0 and sequence > 0:
            return Answer(UNKNOWN_PRODUCER, -1)
        if sequence == first:
            # What it is taken for, whatever is in it: the broker compares numbers, not contents.
            return Answer(0, offset)
        if following >= 0 and sequence != following:
            return Answer(OUT_OF_ORDER, -1)
        self._known[(where, producer[0])] = (sequence, sequence + len(rows), len(log))
        log += rows
        return Answer(0, len(log) - len(rows))

    def ids(self) -> Counter[tuple[str, bytes]]:
        return Counter((where[0], dict(headers)[ID_HEADER][:16]) for where, log in self.logs.items() for _, _, headers in log)


def output(number: int, *, topic: str = "out", partition: int | None = 0, value: bytes = b"v") -> OutputRecord:
    return OutputRecord(topic, b"k%d" % number, value, number.to_bytes(16, "big"), partition)


def owner() -> None:
    """A fence that lets everything through."""


async def write(outputs: Outputs, records: Sequence[OutputRecord], fence: Callable[[], None] = owner) -> list[OutputRecord]:
    done: list[OutputRecord] = []
    await outputs.write(records, b"tag!", fence, done.append)
    return done


def test_all_partitions_go_in_one_request_and_positions_are_told() -> None:
    async def run() -> None:
        broker = Broker(Random(0))
        outputs = Outputs(broker, topic_prefix="p.")
        records = [output(n, partition=n % 3) for n in range(9)]
        assert sorted(await write(outputs, records)) == sorted(records)
        assert broker.requests == [[("p.out", 0), ("p.out", 1), ("p.out", 2)]]
        assert outputs.positions == {("out", 0): 3, ("out", 1): 3, ("out", 2): 3}
        assert next(headers for _, _, headers in broker.logs[("p.out", 1)]) == [(ID_HEADER, (1).to_bytes(16, "big") + b"tag!")]

    asyncio.run(run())


def test_a_key_without_a_partition_goes_where_every_kafka_client_would_send_it() -> None:
    async def run() -> None:
        broker = Broker(Random(0), partitions=7)
        await write(Outputs(broker), [output(n, partition=None) for n in range(1, 4)])
        everywhere = list(range(7))
        for (_, partition), log in broker.logs.items():
            assert [DefaultPartitioner()(key, everywhere, everywhere) for key, _, _ in log] == [partition] * len(log)

    asyncio.run(run())


def test_what_the_broker_refuses_takes_no_number_and_stops_only_its_partition() -> None:
    async def run() -> None:
        broker = Broker(Random(0))
        outputs = Outputs(broker)
        done: list[OutputRecord] = []
        records = [output(1), output(2, value=b"huge"), output(3), output(4, partition=1), output(5, partition=1)]
        with pytest.raises(RecordError, match="error 10"):
            await outputs.write(records, b"", owner, done.append)
        # What follows the refused one in its partition was made as if that one counted.
        assert [o.record_id[-1] for o in sorted(done)] == [1, 4, 5]
        assert broker.ids() == Counter({("out", output(n).record_id): 1 for n in (1, 4, 5)})
        assert len(await write(outputs, [output(6), output(7, partition=1)])) == 2, "numbers go on where they were"

    asyncio.run(run())


def test_one_partition_in_trouble_holds_up_no_other_writer() -> None:
    async def run() -> None:
        class LeaderAway(Broker):
            is_away = True

            async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
                away = {where: Answer(NOT_LEADER, -1) for where in batches if self.is_away and where[1] == 0}
                return {**away, **await super().produce({w: b for w, b in batches.items() if w not in away}, fences)}

            async def pause(self, seconds: float) -> None:
                await asyncio.sleep(0)

        broker = LeaderAway(Random(0))
        outputs = Outputs(broker)
        stuck = asyncio.create_task(write(outputs, [output(1), output(2, partition=2)]))
        for n in range(10, 20):
            assert len(await write(outputs, [output(n, partition=1)])) == 1
            await asyncio.sleep(0)
        assert not stuck.done() and ("out", 0) in outputs.retrying
        broker.is_away = False
        assert len(await stuck) == 2
        assert outputs.retrying == {}

    asyncio.run(run())


def test_pauses_grow_to_a_bound_and_the_fence_ends_them() -> None:
    async def run() -> None:
        broker = Broker(Random(3))
        calls = 0

        def fence() -> None:
            nonlocal calls
            calls += 1
            if calls > 40:
                raise NotOwner("given away")

        outputs = Outputs(broker)
        await outputs.warm_up(["out"])
        broker.faults = 1.0
        with pytest.raises(NotOwner):
            await write(outputs, [output(1)], fence)
        assert broker.pauses == sorted(broker.pauses) and broker.pauses[-1] == 5.0
        assert outputs.retrying == {}

    asyncio.run(run())


def test_large_writes_are_cut_into_batches_the_broker_takes() -> None:
    async def run() -> None:
        broker = Broker(Random(0))
        records = [output(n, value=b"x" * 400_000) for n in range(5)] + [output(9, value=b"x" * 2 * MAX_BATCH_BYTES)]
        await write(Outputs(broker), records)
        assert len(broker.requests) == 4, "two and two and one, and the large one alone"
        assert [key for key, _, _ in broker.logs[("out", 0)]] == [record.key for record in records]

    asyncio.run(run())


def test_a_cancelled_write_ends_its_producer() -> None:
    """The broker may have the batch: another one under its number would be taken for it, and lost."""

    async def run() -> None:
        class NeverAnswers(Broker):
            hangs = True

            def __init__(self, rng: Random) -> None:
                super().__init__(rng)
                self.is_hanging = asyncio.Event()

            async def produce(self, batches: Mapping[Where, Any], fences: Sequence[Callable[[], None]]) -> Mapping[Where, Answer]:
                answers = await super().produce(batches, fences)
                if self.hangs:
                    self.is_hanging.set()
                    await asyncio.Event().wait()
                return answers

        broker = NeverAnswers(Random(0))
        outputs = Outputs(broker)
        task = asyncio.create_task(write(outputs, [output(1)]))
        await broker.is_hanging.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        broker.hangs = False
        await write(outputs, [output(2)])
        assert broker.ids() == Counter({("out", output(n).record_id): 1 for n in (1, 2)})

    asyncio.run(run())


def test_the_changelogs_last_offset_is_told() -> None:
    async def run() -> None:
        outputs = Outputs(Broker(Random(0)), topic_prefix="p.")
        assert await outputs.write_changelog("log", 1, {b"a": b"1", b"b": None}.items(), owner) == 1
        assert await outputs.write_changelog("log", 1, {b"a": b"2"}.items(), owner) == 2

    asyncio.run(run())


@given(st.integers(0, 1 << 30), st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.1]))
@example(0, 0.6, 0.1, 0.1)
def test_each_output_is_written_once_and_only_what_is_written_is_acknowledged(
    seed: int, faults: float, forgets: float, loses: float
) -> None:
    """Writes one after another, as a checkpoint makes them: after trouble it looks at the tail and writes what is missing."""

    async def run() -> None:
        rng = Random(seed)
        # Kafka forgets a producer after a day without a word: never between a batch and its second try.
        broker = Broker(rng, faults=faults, forgets=forgets if not faults else 0.0)
        outputs = Outputs(broker)
        refused: set[bytes] = set()
        numbers = iter(range(10_000))

        def fence() -> None:
            if rng.random() < loses:
                raise NotOwner("given away")

        for _ in range(12):
            missing = [
                output(n, partition=rng.randrange(3), value=b"huge" if rng.random() < 0.05 else b"v")
                for n in [next(numbers) for _ in range(rng.randrange(1, 9))]
            ]
            everything = list(missing)
            while missing:
                before = broker.ids()
                done: list[OutputRecord] = []
                try:
                    await outputs.write(missing, b"", fence, done.append)
                except RecordError:
                    bad = next(o for o in missing if (o.value or b"").startswith(b"huge") and ("out", o.record_id) not in broker.ids())
                    refused.add(bad.record_id)
                except TransientError:
                    pass
                else:
                    assert len(done) == len(missing)
                written = broker.ids()
                assert all(written[("out", o.record_id)] == 1 and ("out", o.record_id) not in before for o in done)
                assert max(written.values(), default=1) == 1
                missing = [o for o in missing if ("out", o.record_id) not in written and o.record_id not in refused]
            assert {r for _, r in broker.ids()} >= {o.record_id for o in everything} - refused
        for where, log in broker.logs.items():
            in_order = [int.from_bytes(dict(headers)[ID_HEADER][:16], "big") for _, _, headers in log]
            if not loses and not refused and not forgets:
                assert in_order == sorted(in_order), f"{where} is out of order"

    asyncio.run(run())

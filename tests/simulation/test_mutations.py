"""Each fault that was found in the delivery core, put back: the simulation must see it.

One that it did not see would mean that the schedules are too tame, or the judge too mild.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from streams.atrest.partition import PartitionSeal
from streams.atrest.table import SealedTable
from streams.engine import beginning as beginning_module
from streams.engine import guarded_handler as guarded_handler_module
from streams.engine import outputs as outputs_module
from streams.engine.checkpoint import Checkpoint, Prepared
from streams.engine.kafka.topics import commit_in
from streams.engine.outputs import Outputs
from streams.engine.ownership import Ownership
from streams.engine.queues import Batch, PartitionQueue
from streams.engine.records import FetchedRun
from streams.engine.resume import Bounds, GroupCommit, Seen, Start, start_of
from streams.engine.source_progress import Offer
from streams.engine.state import MemoryStore
from streams.engine.unpack import RecordBatch, unpack
from tests.simulation import worker as worker_module
from tests.simulation.world import play

ENOUGH = 8_000
"""Schedules in which a fault must show."""

Patch = pytest.MonkeyPatch
MUTATIONS: dict[str, Callable[[Patch], None]] = {}


def mutation(name: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def keep(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS[name] = apply
        return apply

    return keep


@mutation("1 an error of the coordinator counts as nothing committed")
def _(patch: Patch) -> None:
    def careless(answer: Any, topic: str, partition: int) -> GroupCommit | None:
        return commit_in(answer._replace(error=0, partitions=answer.partitions or {(topic, partition): (-1, "", 0)}), topic, partition)

    patch.setattr(worker_module, "commit_in", careless)


def _look_at_nothing(patch: Patch) -> None:
    async def no_stamps(self: Any, begins: Any, ends: Any, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        return {}

    patch.setattr(worker_module.Topics, "stamps", no_stamps)


@mutation("2 a run that was asked for before counts as the one that is waited for")
def _(patch: Patch) -> None:
    def add(self: PartitionQueue, run: FetchedRun) -> bool:
        self._ends = run.begins
        return original(self, run._replace(cursor=self._cursor))

    async def compute(self: Checkpoint, batch: Batch) -> Prepared | None:
        self._computed_to.pop(batch.topic, None)
        self._sources[batch.topic].next_offset = batch.begins
        return await original_compute(self, batch)

    original, original_compute = PartitionQueue.add, Checkpoint.compute
    patch.setattr(PartitionQueue, "add", add)
    patch.setattr(Checkpoint, "compute", compute)


@mutation("3 no fence")
def _(patch: Patch) -> None:
    patch.setattr(Ownership, "check", lambda self, partition, generation: None)


@mutation("3 ownership does not end by itself")
def _(patch: Patch) -> None:
    def holds(self: Ownership, partition: tuple[str, int], generation: int) -> bool:
        return generation == self._generation and partition in self._owned

    patch.setattr(Ownership, "holds", holds)


@mutation("4 what the broker refused takes a sequence number, and is sent again and again")
def _(patch: Patch) -> None:
    patch.setattr(outputs_module, "_PRODUCER_UNKNOWN", frozenset())


@mutation("5 a record that can't be parsed stops fetching")
def _(patch: Patch) -> None:
    def no_rescue(batch: RecordBatch, topic: str, partition: int) -> Sequence[Any]:
        raise ValueError("not UTF-8")

    patch.setattr(worker_module, "_rescue", no_rescue)


@mutation("6 a commit goes back")
def _(patch: Patch) -> None:
    async def settle(self: Checkpoint, prepared: Prepared) -> None:
        await original(self, prepared)
        for source in self._sources.values():
            if source.committed > 2:
                source.offer = Offer(source.committed - 1, {}, source.base, source.incarnation)

    original = Checkpoint.settle
    patch.setattr(Checkpoint, "settle", settle)


@mutation("7 what was aborted is processed")
def _(patch: Patch) -> None:
    def everything(batches: Iterable[RecordBatch], **settings: Any) -> Any:
        return unpack(batches, **{**settings, "aborted": ()})

    patch.setattr(worker_module, "unpack", everything)


@mutation("7 a transaction's end marker is waited for as if it were a record")
def _(patch: Patch) -> None:
    def to_last_record(batches: Iterable[RecordBatch], **settings: Any) -> Any:
        unpacked = unpack(batches, **settings)
        last = max((r.offset - settings["base"] for r in unpacked.records), default=settings["fetch_offset"] - 1)
        return unpacked._replace(next_offset=min(unpacked.next_offset, last + 1))

    patch.setattr(worker_module, "unpack", to_last_record)


@mutation("8 an output beyond the broker's limit is sent again and again")
def _(patch: Patch) -> None:
    patch.setattr(outputs_module, "_REFUSED", frozenset())


@mutation("9 a lack of memory is the record's fault")
def _(patch: Patch) -> None:
    patch.setattr(guarded_handler_module, "is_infrastructure", lambda error: False)


@mutation("10 the memory store does not tell partitions apart")
def _(patch: Patch) -> None:
    def together(method: str) -> None:
        original = getattr(MemoryStore, method)
        patch.setattr(MemoryStore, method, lambda self, partition, *rest: original(self, 0, *rest))

    for method in ("get_many", "items", "put_many"):
        together(method)


@mutation("11 lost commits count as never begun")
def _(patch: Patch) -> None:
    async def stamps(self: Any, begins: Any, ends: Any, tag: bytes) -> Mapping[bytes, set[tuple[str, bytes]]]:
        return {} if not any(begins.values()) else await original(self, begins, ends, tag)  # type: ignore[no-any-return]

    original = worker_module.Topics.stamps
    patch.setattr(worker_module.Topics, "stamps", stamps)


@mutation("14 a topic made anew counts as the one that was")
def _(patch: Patch) -> None:
    patch.setattr(beginning_module, "start_of", _same_topic)


def _same_topic(commit: GroupCommit | None, bounds: Bounds, incarnation: int, seen: Seen | None, now_s: float) -> Start:
    return start_of(commit, bounds, 0, seen, now_s)


@mutation("outputs' tails are not looked at after a take-over")
def _(patch: Patch) -> None:
    _look_at_nothing(patch)


@mutation("a producer goes on after a batch of whose fate it knows nothing")
def _(patch: Patch) -> None:
    async def deliver(self: Outputs, waiting: Any, fence: Any, on_written: Any) -> list[str]:
        return await self._deliver_all(waiting, {}, fence, on_written)

    patch.setattr(Outputs, "_deliver", deliver)


@mutation("state is written before outputs")
def _(patch: Patch) -> None:
    async def write(self: Checkpoint, topic: str, result: Any) -> None:
        if result.state:
            await self._table.apply(self._partition, result.state, self._fence_of(topic))
        await original(self, topic, result)

    original = Checkpoint.write
    patch.setattr(Checkpoint, "write", write)


@mutation("a commit of an earlier generation is offered")
def _(patch: Patch) -> None:
    async def take_over(self: Checkpoint, topics: Sequence[str], generation: int) -> None:
        self._generation = generation
        await original(self, topics, generation)

    original = Checkpoint.take_over
    patch.setattr(Checkpoint, "take_over", take_over)


@mutation("nobody looks whether a source is still the topic that it was")
def _(patch: Patch) -> None:
    async def always(self: Checkpoint) -> bool:
        return True

    patch.setattr(Checkpoint, "is_as_left", always)


@mutation("the data keys of the erased are left as they were")
def _(patch: Patch) -> None:
    patch.setattr(PartitionSeal, "after", lambda self, changes, erased: {})
    patch.setattr(PartitionSeal, "rewritten", lambda self, key, value: None)


@mutation("what a kill left of an erasure is not cleared away")
def _(patch: Patch) -> None:
    patch.setattr(PartitionSeal, "rewritten", lambda self, key, value: None)


@mutation("a data key is written after the values that are sealed under it")
def _(patch: Patch) -> None:
    async def apply(self: SealedTable, partition: int, changes: Any, fence: Callable[[], None], erased: Any = ()) -> None:
        seal = self._seals[partition]
        wanted = seal.before(changes, erased)
        if wanted:
            seal.keep(seal.sealed_keys(wanted))
        await self._table.apply(partition, seal.seal(changes), fence)
        await self._write_keys(partition, {**wanted, **seal.after(changes, erased)}, fence)

    patch.setattr(SealedTable, "apply", apply)


@mutation("the data keys that another worker wrote are not read")
def _(patch: Patch) -> None:
    async def take_over(self: SealedTable, partition: int, generation: int) -> None:
        if partition not in self._seals:
            await original(self, partition, generation)

    original = SealedTable.take_over
    patch.setattr(SealedTable, "take_over", take_over)
    patch.setattr(SealedTable, "drop", lambda self, partition: None)


@mutation("an erased shopper gets no new data key")
def _(patch: Patch) -> None:
    original = PartitionSeal.before
    patch.setattr(PartitionSeal, "before", lambda self, changes, erased: original(self, changes, ()))


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.slow
def test_the_simulation_sees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.disable(logging.CRITICAL)
    try:
        MUTATIONS[name](monkeypatch)
        assert any(play(seed) is not None for seed in range(ENOUGH)), f"not seen in {ENOUGH} schedules: {name}"
    finally:
        logging.disable(logging.NOTSET)

"""The Faust transport ``veilstream://``: whole fetched batches for source topics, single messages for changelogs.

Registered under the entry point ``faust.transports``. Faust keeps what it is good at (rebalancing, tables, recovery,
timers); the per-message path, which costs it most of its time, and its commit bookkeeping, which can lose events,
are replaced.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust import App
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as base
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.threads import WorkerThread

from streams.engine.faust.batch import FetchedBatch
from streams.engine.ledger import Commit, CommitLedger
from streams.engine.records import SourceRecord


class BatchApp(App):
    """A Faust app with a commit ledger."""

    def __init__(self, *args: Any, ledger: CommitLedger, **kwargs: Any) -> None:
        self.ledger = ledger
        super().__init__(*args, **kwargs)


class BatchMessage(ConsumerMessage):
    """One fetched batch as Faust sees it. Its repr, which Faust logs, holds the position only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<batch {self.topic}/{self.partition} up to {self.offset}>"


class _Thread(WorkerThread):
    """Never keeps a process alive that has failed: an orderly stop joins it, nothing else may wait for it."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True


class BatchConsumerThread(base.AIOKafkaConsumerThread):
    """Commits with the ledger's metadata."""

    Worker = _Thread

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        ledger = cast(BatchApp, self.app).ledger
        kafka = self._ensure_consumer()
        commits: dict[TP, Commit] = {}
        for tp, offset in offsets.items():
            commit = ledger.committable(tp)
            if commit is not None and commit.offset == offset and tp in self.assignment():
                commits[tp] = commit
        if not commits:
            return False
        try:
            await kafka.commit({base.ensure_aiokafka_TP(tp): OffsetAndMetadata(c.offset, c.metadata) for tp, c in commits.items()})
        except (CommitFailedError, IllegalStateError) as error:
            # The group has moved on; whoever owns the partitions now starts from the last commit.
            self.log.warning("commit refused, the partitions are being reassigned: %s", type(error).__name__)
            return False
        for tp, commit in commits.items():
            ledger.committed(tp, commit)
        return True


class BatchConsumer(base.Consumer):
    """Yields one message per fetched run of a source partition and commits what the ledger allows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begins: dict[TP, int] = {}
        """The offset to be fetched next."""
        self._seeks: Counter[TP] = Counter()
        """How often a partition was sought: a fetch that was under way meanwhile brings records from where it was before."""
        self._seeking = asyncio.Lock()

    @property
    def _ledger(self) -> CommitLedger:
        return cast(BatchApp, self.app).ledger

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek(self, partition: TP, offset: int) -> None:
        """Go on fetching from the offset."""
        await super().seek(partition, offset)
        self._sought(ensure_TP(partition), offset)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets. aiokafka leaves a partition where it is if nothing, or offset 0, is committed: what was
        fetched of it before the rebalance and dropped would be lost, so such a partition goes back to its beginning."""
        async with self._seeking:
            await super().perform_seek()
            sources = [tp for tp in self.assignment() if not self._is_changelog_tp(tp)]
            begins = {tp: offset for tp in sources if (offset := self._read_offset.get(tp))}
            fresh = [tp for tp in sources if tp not in begins]
            if fresh:
                for tp, offset in (await self.earliest_offsets(*fresh)).items():
                    begins[ensure_TP(tp)] = offset
                    await super().seek(ensure_TP(tp), offset)
            for tp, offset in begins.items():
                self._ledger.restart(tp)
                self._sought(tp, offset)

    def _sought(self, tp: TP, offset: int) -> None:
        self._begins[tp] = offset
        self._seeks[tp] += 1

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message a fetched run of a source partition, in order and without a gap; a changelog's messages one by one."""
        seeks = self._seeks.copy()
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self._drop()
            return
        for raw_tp, run in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return  # a rebalance: every partition will be sought to its committed offset
            if not run:
                continue
            tp = ensure_TP(raw_tp)
            is_paused = active is not None and tp not in active and tp not in self._buffered_partitions
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if self._is_changelog_tp(tp):
                for record in () if is_paused else run:
                    yield tp, self._to_message(tp, record)
            elif is_paused or tp not in self._begins or self._seeks[tp] != seeks[tp]:
                await self._fetch_again(tp)  # asked for before it was paused, or sought elsewhere
            else:
                begins, self._begins[tp] = self._begins[tp], run[-1].offset + 1
                self._ledger.delivered(tp, run[0].offset, run[-1].offset)
                yield tp, self._to_batch(tp, run, begins)

    async def _drop(self) -> None:
        """What came during a rebalance is thrown away; recovery, which ends every rebalance, seeks as well."""
        try:
            if self.assignment():
                await self.perform_seek()
        except (KafkaError, AssertionError) as error:  # aiokafka asserts that something is assigned
            self.log.warning("partitions moved while they were sought: %s", type(error).__name__)

    async def _fetch_again(self, tp: TP) -> None:
        """What was fetched is thrown away: go back to where it should have begun."""
        async with self._seeking:
            try:
                if tp in self._begins and tp in self.assignment():
                    await self.seek(tp, self._begins[tp])
            except IllegalStateError:
                self.log.warning("%s/%d moved while it was sought", tp.topic, tp.partition)

    def _to_batch(self, tp: TP, run: list[Any], begins: int) -> BatchMessage:
        last = run[-1]
        batch = FetchedBatch(tp.topic, tp.partition, cast("list[SourceRecord]", run), self.app.consumer_generation_id, begins)
        return BatchMessage(
            last.topic, last.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type, None, None,
            cast(bytes, batch), None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def committed_offset(self, tp: TP) -> int:
        """The offset from which the partition was last fetched; 0 where nothing was ever committed."""
        return self._committed_offset.get(tp) or 0

    async def revive(self, tp: TP) -> None:
        """Deliver again everything after the last commit, and go on fetching.

        For a partition that stands still though there is work: around a rebalance Faust may drop buffered messages, or
        forget to fetch a partition again whose buffer was full when it was cleared.
        """
        async with self._seeking:
            if tp not in self.assignment():
                return
            self._ledger.restart(tp)
            await self.seek(tp, self.committed_offset(tp))
            self._buffered_partitions.discard(tp)
            self.resume_partitions({tp})

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps are the ledger's business."""

    async def _commit_tps(self, tps: Iterable[TP], start_new_transaction: bool) -> bool:
        offsets = {TP(*partition): commit.offset for partition, commit in self._ledger.pending()}
        return bool(offsets) and await self._commit_offsets(offsets, start_new_transaction=start_new_transaction)


class Transport(base.Transport):
    """aiokafka's transport with the batch consumer."""

    Consumer = BatchConsumer
    driver_version = f"veilstream over {base.Transport.driver_version}"

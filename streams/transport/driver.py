"""The Faust transport ``veilstream://``: whole fetched batches for source topics, single messages for changelogs.

Registered under the entry point ``faust.transports``. Faust keeps what it is good at (rebalancing, tables, recovery,
timers); the per-message path, which costs it most of its time, and its commit bookkeeping, which can lose events,
are replaced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust import App
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as base
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.threads import WorkerThread

from streams.runtime.records import SourceRecord
from streams.transport.batch import FetchedBatch
from streams.transport.ledger import Commit, CommitLedger


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

    @property
    def _ledger(self) -> CommitLedger:
        return cast(BatchApp, self.app).ledger

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        await super().perform_seek()
        for tp in self.assignment():
            if not self._is_changelog_tp(tp):
                self._ledger.restart(tp)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for raw_tp, run in records.items():
            if not run or not self.flow_active or self.app.consumer_generation_id != generation:
                continue
            tp = ensure_TP(raw_tp)
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if self._is_changelog_tp(tp):
                for record in run:
                    yield tp, self._to_message(tp, record)
            else:
                self._ledger.delivered(tp, run[0].offset, run[-1].offset)
                yield tp, self._to_batch(tp, run)

    def _to_batch(self, tp: TP, run: list[Any]) -> BatchMessage:
        last = run[-1]
        batch = FetchedBatch(tp.topic, tp.partition, cast("list[SourceRecord]", run), self.app.consumer_generation_id)
        return BatchMessage(
            last.topic, last.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type, None, None,
            cast(bytes, batch), None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def committed_offset(self, tp: TP) -> int:
        """The offset from which the partition was last fetched; 0 where nothing was ever committed."""
        return self._committed_offset.get(tp) or 0

    async def revive(self, tp: TP) -> None:
        """Deliver again what was fetched and never reached the agent, and go on fetching.

        For a partition that stands still though there is work: around a rebalance Faust may drop buffered messages, or
        forget to fetch a partition again whose buffer was full when it was cleared.
        """
        undone = self._ledger.oldest_undone(tp)
        if undone is not None:
            self._ledger.restart(tp)
            await self.seek(tp, undone)
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

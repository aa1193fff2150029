"""Builds the engine of a stage: fetcher, group member, runner, and a worker and a checkpoint for each partition number."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Set
from pathlib import Path
from typing import NamedTuple

from streams import topics
from streams.engine.checkpoint import Checkpoint
from streams.engine.ownership import Ownership
from streams.engine.partition_worker import PartitionWorker
from streams.engine.parts import Broker, Fetcher, MakeMember, Member, StageParts
from streams.engine.records import FetchedRun
from streams.engine.rejects import RejectGuard
from streams.engine.runner import Runner
from streams.engine.runtime import AsyncioRuntime
from streams.engine.state import NoState, StateTable, Table
from streams.settings import Settings

_LEASE_SHARE = 0.9
"""Share of the session after which ownership ends. A request that is on its way to a broker then has the rest of the session to
arrive, before another worker can own the partition.
"""
_QUEUE_BYTES = 8 * 1_048_576


class Assembled(NamedTuple):
    """Nothing of it runs yet."""

    fetcher: Fetcher
    member: Member
    runner: Runner


def assemble(
    parts: StageParts,
    settings: Settings,
    broker: Broker,
    make_member: MakeMember,
    *,
    partitions: int,
    fail: Callable[[BaseException], None],
    catch_up: Callable[[int], Awaitable[None]],
) -> Assembled:
    """``fail`` gets what ends the process; ``catch_up`` is awaited before a partition's first batch."""
    spec = parts.spec
    sources = [settings.topic_prefix + name for name in spec.sources]
    runtime = AsyncioRuntime()
    ownership = Ownership(settings.session_timeout_s * _LEASE_SHARE)
    # Anybody who may write to these sources could pull the brake for everybody. What comes after them is the product's own.
    is_open = any(name not in topics.BY_NAME or "producers" in topics.BY_NAME[name].writers for name in spec.sources)
    rejects = RejectGuard(settings.reject_share_max, settings.reject_window, stops=settings.rejects == "stop" or not is_open)
    table: Table | None = None

    def make_worker(partition: int) -> PartitionWorker:
        nonlocal table
        if table is None:
            table = NoState()
            if member.changelog is not None:
                name = str(Path(settings.state_dir) / spec.name)
                if parts.state is None:
                    table = StateTable(member.store(), member.changelog, broker.outputs, name)
                else:
                    table = parts.state.table(member.store(), member.changelog, broker.outputs, name, broker.topics)
        checkpoint = Checkpoint(
            stage=spec.name,
            partition=partition,
            handler=parts.handler,
            outputs_of={name: spec.aligned and name not in spec.scattered and topics.BY_NAME[name].co_partitioned for name in spec.outputs},
            ownership=ownership,
            outputs=broker.outputs,
            table=table,
            topics=broker.topics,
            committer=member,
            dead_letters=parts.dead_letters,
            rejects=rejects,
            metrics=parts.metrics,
            now_s=time.time,
            lookup_most=settings.lookup_max_records,
            pause=runtime.sleep,
            catch_up=catch_up,
        )
        return PartitionWorker(
            partition,
            sources=sources,
            checkpoint=checkpoint,
            fetching=fetcher,
            runtime=runtime,
            max_records=settings.fetch_max_records,
            max_bytes=_QUEUE_BYTES,
            fail=fail,
            on_retry=parts.metrics.retries.inc,
            on_fenced=parts.metrics.fenced.inc,
        )

    # The member tells the runner, and the runner commits by the member.
    def deliver(run: FetchedRun) -> bool:
        return runner.deliver(run)

    def on_assigned(owned: Set[tuple[str, int]], generation: int) -> None:
        parts.metrics.rebalances.inc()
        runner.on_assigned(owned, generation)

    async def on_revoking() -> None:
        await runner.on_revoking()

    def questionable(topic: str, partition: int) -> None:
        if partition in runner.workers:
            runner.workers[partition].question()

    member = make_member(
        spec,
        partitions=partitions,
        ownership=ownership,
        deliver=deliver,
        on_assigned=on_assigned,
        on_revoking=on_revoking,
        read_log=broker.read,
        incarnation=broker.topics.incarnation,
    )
    runner = Runner(
        stage=spec.name,
        sources=sources,
        make_worker=make_worker,
        ownership=ownership,
        committer=member,
        runtime=runtime,
        drain_s=settings.session_timeout_s / 2,
    )
    fetcher = broker.fetcher(linger_ms=spec.linger_ms, deliver=member.put, has_room=runner.has_room, questionable=questionable)
    return Assembled(fetcher, member, runner)

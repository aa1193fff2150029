"""A process that dies, or a broker that fails, at any step of any batch: nothing lost, nothing doubled.

The broker here is three small classes that keep what was acknowledged. Every write and commit is a step, and a step may
be the one at which the process dies (before or after it took effect) or the broker fails to answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from streams.engine.faust.batch import FetchedBatch
from streams.engine.ledger import Commit, CommitLedger

from streams.engine.metrics import StageMetrics
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord, SourceRecord, StateView
from streams.engine.rejects import RejectGuard
from streams.engine.runner import BatchRunner
from streams.errors import RecordError, TransientError

SOURCE, OUT, DEAD = "source", "out", "dead"


class Died(BaseException):
    """The process is gone."""


@dataclass
class Broker:
    """What survives the process: output logs, changelog state, commits. ``script`` says what happens at which step."""

    script: dict[int, str]
    outputs: dict[tuple[str, int], list[tuple[bytes, bytes]]] = field(default_factory=dict)
    state: dict[bytes, bytes] = field(default_factory=dict)
    commits: dict[tuple[str, int], Commit] = field(default_factory=dict)
    step: int = 0
    is_dead: bool = False
    """The process, not the broker."""

    async def happen(self, effect: Callable[[], None]) -> None:
        await asyncio.sleep(0)  # whatever else is under way goes on meanwhile
        if self.is_dead:
            raise Died
        fate = self.script.get(self.step)
        self.step += 1
        if fate in ("dies after", "fails after", None):
            effect()
        if fate in ("dies before", "dies after"):
            self.is_dead = True
            raise Died
        if fate in ("fails before", "fails after"):
            raise TransientError("the broker did not answer")


class Writer:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.positions: dict[tuple[str, int], int] = {}

    async def partition_count(self, topic: str) -> int:
        return 2

    async def write(self, outputs: Sequence[OutputRecord], tag: bytes) -> None:
        groups: dict[tuple[str, int], list[OutputRecord]] = {}
        for output in outputs:
            groups.setdefault((output.topic, output.partition or 0), []).append(output)
        for where, group in groups.items():  # every partition is acknowledged by itself
            log = self.broker.outputs.setdefault(where, [])
            await self.broker.happen(lambda log=log, group=group: log.extend((o.record_id, tag) for o in group))
            self.positions[where] = len(log)


class Tail:
    def __init__(self, broker: Broker, source_end: int) -> None:
        self.broker = broker
        self.source_end = source_end

    async def committed(self, topic: str, partition: int) -> Commit | None:
        return self.broker.commits.get((topic, partition))

    async def end(self, topic: str, partition: int) -> int:
        return self.source_end

    async def beginning(self, topic: str, partition: int) -> int:
        return 0

    async def ends(self, where: Iterator[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {w: len(self.broker.outputs.get(w, ())) for w in where}

    async def ids_since(
        self, positions: Mapping[tuple[str, int], int], tag: bytes
    ) -> tuple[set[tuple[str, bytes]], dict[tuple[str, int], int]]:
        found = {(w[0], i) for w, start in positions.items() for i, t in self.broker.outputs.get(w, [])[start:] if t == tag}
        return found, await self.ends(iter(positions))


class Table:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def view(self, partition: int) -> StateView:
        return View(self.broker.state)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self.broker.state.items()))

    async def apply(self, partition: int, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():  # record by record: a changelog write can be torn
            if value is not None:
                await self.broker.happen(lambda key=key, value=value: self.broker.state.__setitem__(key, value))


class View:
    def __init__(self, state: Mapping[bytes, bytes]) -> None:
        self._state = state

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {key: self._state[key] for key in keys if key in self._state}


def identity(record: SourceRecord) -> bytes:
    return record.partition.to_bytes(8, "big") + record.offset.to_bytes(8, "big")


async def count(batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
    """A stage that counts per key and says the count; a poison value raises."""
    result = BatchResult()
    known = {key: tuple(map(int, value.split(b":"))) for key, value in state.get_many([r.key or b"" for r in batch]).items()}
    for record in batch:
        if record.value == b"poison":
            raise ValueError("poison")
        key = record.key or b""
        total, applied = known.get(key, (0, -1))
        if record.offset > applied:
            known[key] = (total + 1, record.offset)
        # An event that is already in the state is said again: the runner knows whether it is in the output.
        result.outputs.append(OutputRecord(OUT, key, None, identity(record), record.offset % 2))
    result.state = {key: b"%d:%d" % value for key, value in known.items()}
    return result


class DeadLetters:
    def build(self, record: SourceRecord, error: RecordError, *, attempt: int = 1) -> OutputRecord:
        return OutputRecord(DEAD, None, None, identity(record), 0)


async def live(
    broker: Broker,
    sources: Sequence[Sequence[MemoryRecord]],
    sizes: Sequence[int],
    generation: int,
    commit_every: int,
    drops: Set[int] = frozenset(),
) -> None:
    """One life of the process, from the committed offsets to the end of both source partitions, side by side. Of the batches
    ``drops`` Faust drops each that was delivered; what the watchdog then does follows in the end."""
    ledger = CommitLedger()
    broker.is_dead = False

    async def commit() -> None:
        for where, offered in list(ledger.pending()):
            await broker.happen(lambda where=where, offered=offered: broker.commits.__setitem__(where, offered))
            ledger.committed(where, offered)

    async def no_wait(_: float) -> None:
        return None

    runner = BatchRunner(
        stage="toy",
        handler=count,
        outputs={OUT: False, DEAD: False},
        table=Table(broker),  # type: ignore[arg-type]
        writer=Writer(broker),  # type: ignore[arg-type]
        tail=Tail(broker, max(len(records) for records in sources)),  # type: ignore[arg-type]
        ledger=ledger,
        dead_letters=DeadLetters(),
        rejects=RejectGuard(1.0, 1000),
        metrics=StageMetrics(CollectorRegistry(), "toy"),
        commit_now=commit,
        sleep=no_wait,
    )
    starts = [broker.commits.get((SOURCE, p), Commit(0, "")).offset for p in range(len(sources))]
    turn = generation
    while True:
        if all(start >= len(records) for start, records in zip(starts, sources, strict=True)):
            try:
                await commit()
            except TransientError:
                continue
            ends = [broker.commits.get((SOURCE, p), Commit(0, "")).offset for p in range(len(sources))]
            still = [p for p, records in enumerate(sources) if ends[p] < len(records)]
            if not still:
                return
            for p in still:
                ledger.restart((SOURCE, p))
                starts[p] = ends[p]
        turn += 1
        batches = []
        for p in range(len(sources)):
            batch = list(sources[p][starts[p] : starts[p] + sizes[(turn + p) % len(sizes)]])
            if batch:
                ledger.delivered((SOURCE, p), starts[p], batch[-1].offset)
                if 2 * (turn - generation) + p not in drops:
                    batches.append(FetchedBatch(SOURCE, p, batch, generation, starts[p]))
                starts[p] += len(batch)
        await asyncio.gather(*(runner.run(batch) for batch in batches))
        if turn % commit_every == 0:
            try:
                await commit()
            except TransientError:
                continue  # the next commit covers it


fates = st.sampled_from(["dies before", "dies after", "fails before", "fails after"])


@settings(max_examples=400, deadline=None)
@given(
    keys=st.tuples(*[st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=25)] * 2),
    poison=st.sets(st.tuples(st.integers(0, 1), st.integers(0, 24)), max_size=2),
    script=st.dictionaries(st.integers(0, 60), fates, max_size=8),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    commit_every=st.integers(1, 6),
    drops=st.sets(st.integers(1, 12), max_size=4),
)
def test_nothing_is_lost_and_nothing_doubled(
    keys: tuple[list[bytes], list[bytes]],
    poison: set[tuple[int, int]],
    script: dict[int, str],
    sizes: list[int],
    commit_every: int,
    drops: set[int],
) -> None:
    sources = [
        [MemoryRecord(SOURCE, p, i, 0, b"%d" % p + key, b"poison" if (p, i) in poison else b"x") for i, key in enumerate(mine)]
        for p, mine in enumerate(keys)
    ]
    broker = Broker(dict(script))
    for generation in range(len(script) + 2):
        try:
            asyncio.run(live(broker, sources, sizes, generation, commit_every, drops))
            break
        except Died:
            continue
    else:
        raise AssertionError("it never got to the end")
    everything = [record for records in sources for record in records]
    logged = {topic: sorted(i for (t, _), log in broker.outputs.items() if t == topic for i, _ in log) for topic in (OUT, DEAD)}
    assert logged[OUT] == [identity(r) for r in everything if r.value != b"poison"]
    assert logged[DEAD] == [identity(r) for r in everything if r.value == b"poison"]
    expected = Counter(r.key for r in everything if r.value != b"poison")
    assert {key: int(value.split(b":")[0]) for key, value in broker.state.items()} == expected
    assert {where: commit.offset for where, commit in broker.commits.items()} == {(SOURCE, p): len(mine) for p, mine in enumerate(keys)}


def test_positions_wait_for_outputs_that_an_earlier_life_wrote_ahead() -> None:
    """Life 1 writes far ahead of its commits; life 2 commits a little of it after another source has written; life 3 must
    still find what life 1 wrote."""
    sources = [[MemoryRecord(SOURCE, p, i, 0, b"%d" % p, b"x") for i in range(12)] for p in range(2)]

    def run_life(broker: Broker, which: Sequence[Sequence[MemoryRecord]], generation: int, commit_every: int) -> None:
        try:
            asyncio.run(live(broker, which, [2], generation, commit_every))
        except Died:
            return

    for death in range(1, 40):
        broker = Broker({})
        run_life(broker, [sources[0][:0], sources[1][:0]], 0, 1)
        broker.script = {broker.step + 25: "dies after"}
        run_life(broker, [sources[0], sources[1][:0]], 0, 1000)
        broker.script = {broker.step + death: "dies before"}
        run_life(broker, sources, 1, 2)
        broker.script = {}
        run_life(broker, sources, 2, 1)
        out = sorted(i for (t, _), log in broker.outputs.items() if t == OUT for i, _ in log)
        assert out == [identity(r) for records in sources for r in records], f"death at step {death}"

"""A sealed table without a broker, and the states of a deployment as whoever has its keys reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from streams.app import STAGES
from streams.atrest.metrics import AtRestMetrics
from streams.atrest.reading import StateReader
from streams.atrest.table import SealedTable, SealRules
from streams.engine.records import MemoryRecord, SourceRecord
from streams.engine.resume import Bounds
from streams.engine.state import Store
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys, load_state_keys
from tests.support.deployment import Deployment

CHANGELOG, DATA_KEYS = "a-stage-table-changelog", "a-stage-table-keys"
ONE, TWO = StateKey("s1", b"1" * 32), StateKey("s2", b"2" * 32)


class Topics:
    """What was written to both topics, in order; writes, and reads back. ``fails_at``: the write that is not answered, counted from 1."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], list[tuple[bytes, bytes | None]]] = {}
        self.writes: list[str] = []
        self.fails_at = 0

    async def write_changelog(self, topic: str, partition: int, changes: Any, fence: Callable[[], None]) -> int | None:
        fence()
        self.writes.append(topic)
        if len(self.writes) == self.fails_at:
            raise KilledError
        rows = self.rows.setdefault((topic, partition), [])
        rows += list(changes)
        return len(rows) - 1

    async def bounds(self, topic: str, partition: int) -> Bounds:
        return Bounds(0, len(self.rows.get((topic, partition), [])))

    async def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[SourceRecord]]:
        rows = self.rows[(topic, partition)][begin:end]
        yield [MemoryRecord(topic, partition, begin + n, 0, key, value) for n, (key, value) in enumerate(rows)]

    def newest(self, topic: str, partition: int = 0) -> dict[bytes, bytes]:
        """As compaction leaves them."""
        return {key: value for key, value in dict(self.rows.get((topic, partition), [])).items() if value is not None}

    def recovered(self, store: Store, partition: int = 0) -> Store:
        store.put_many(partition, dict(self.rows.get((CHANGELOG, partition), [])), None)
        return store


class KilledError(Exception):
    """In place of a kill -9."""


class Sealed:
    """One worker's table over such topics."""

    def __init__(
        self,
        topics: Topics,
        store: Store,
        *others: StateKey,
        current: StateKey = ONE,
        accepts_plain: bool = False,
        of_shoppers: bool = True,
        moves: int = 500,
    ) -> None:
        self.topics, self.store = topics, store
        self.registry = CollectorRegistry()
        rules = SealRules(StateKeys.of(current, others), DATA_KEYS if of_shoppers else None, accepts_plain, moves)
        metrics = AtRestMetrics(self.registry, "a")
        self.table = SealedTable(store, CHANGELOG, topics, "the-table", rules=rules, key_log=topics, metrics=metrics)

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(f"veilstream_state_{name}", {"stage": "a"}) or 0.0

    def read(self, keys: Sequence[bytes], partition: int = 0) -> Mapping[bytes, bytes]:
        return self.table.view(partition).get_many(keys)


def states_of(shop: Deployment, stage: str, *, every: bool = False) -> list[tuple[int, bytes, bytes | None]]:
    """Partition, key and value of what the changelog of a stage says in the end, opened with the deployment's keys of now; without what is
    deleted or shredded. With ``every`` of every record that was ever written: those that do not open have None."""
    changelog, keys_topic = f"veilstream-{stage}-{STAGES[stage].table}-changelog", f"veilstream-{stage}-{STAGES[stage].table}-keys"
    records: dict[int, dict[bytes, bytes | None]] = {}
    for record in shop.read(keys_topic) if STAGES[stage].seals == "shoppers" else ():
        records.setdefault(record.partition, {})[record.key or b""] = record.value
    reader = StateReader(load_state_keys(shop.folder / "keys"), shop.topic(changelog), shop.topic(keys_topic))
    written = [(r.partition, r.key or b"", r.value) for r in shop.read(changelog)]
    if not every:
        written = [(p, key, value) for (p, key), value in {(p, key): value for p, key, value in written}.items()]
    found = [(p, key, reader.open(p, key, value, records.get(p, {}))) for p, key, value in written if value is not None]
    return found if every else [one for one in found if one[2] is not None]

"""A stage's table whose values are sealed. The same sealed bytes are in the changelog and in the local store.

The data keys of shoppers lie in a compacted topic of their own, and in the memory of the worker that has the partition: never on its disk.

1. New data keys are written, and acknowledged, before the values that are sealed under them.
2. The values go to the changelog, then to the local store, as in ``StateTable``.
3. The data keys of deleted and of erased values are overwritten after that.

So a kill leaves a data key without a value, or an old one beside a new one, and never a value without its key. ``move`` clears both away.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.atrest.metrics import AtRestMetrics
from streams.atrest.moving import Pass
from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import DataKey, Place, key_id_of
from streams.engine.records import SourceRecord
from streams.engine.resume import Bounds
from streams.engine.state import ChangelogWriter, Size, StateTable, Store
from streams.errors import ConfigurationError
from streams.privacy.state_keys import StateKeys

log = logging.getLogger(__name__)


class KeyLog(Protocol):
    """Where the topic of the data keys is read. Topics are full names. Raises TransientError."""

    async def bounds(self, topic: str, partition: int) -> Bounds: ...
    def read(self, topic: str, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[SourceRecord]]: ...


@dataclass(frozen=True)
class SealRules:
    """``keys_topic``: full name of the topic of the data keys; None for a state that is no shopper's."""

    keys: StateKeys
    keys_topic: str | None
    accepts_plain: bool = False
    moves_per_step: int = 500
    """Most values that are sealed anew in one step."""


class SealedTable:
    """As ``StateTable``. ``name`` tells an operator which folder it is."""

    def __init__(
        self,
        store: Store,
        changelog_topic: str,
        writer: ChangelogWriter,
        name: str,
        *,
        rules: SealRules,
        key_log: KeyLog,
        metrics: AtRestMetrics,
    ) -> None:
        self._table = StateTable(store, changelog_topic, writer, name)
        self._store = store
        self._changelog_topic = changelog_topic
        self._writer = writer
        self._name = name
        self._rules = rules
        self._key_log = key_log
        self._metrics = metrics
        self._seals: dict[int, PartitionSeal] = {}
        self._generations: dict[int, int] = {}
        self._passes: dict[int, Pass] = {}

    async def take_over(self, partition: int, generation: int) -> None:
        """Read the partition's data keys, where another worker may have written some. Raises TransientError."""
        if self._generations.get(partition) == generation:
            return
        what, topic = f"the state {self._name}, partition {partition}", self._rules.keys_topic
        seal = PartitionSeal(
            Place(self._rules.keys, self._changelog_topic, partition, what),
            None if topic is None else Place(self._rules.keys, topic, partition, what),
            accepts_plain=self._rules.accepts_plain,
            what=what,
            on_shredded=self._metrics.shredded.inc,
        )
        if topic is not None:
            begin, end = await self._key_log.bounds(topic, partition)
            if begin < end:
                async for records in self._key_log.read(topic, partition, begin, end):
                    seal.keep({record.key or b"": record.value for record in records})
        self._seals[partition], self._generations[partition] = seal, generation
        self._passes[partition] = Pass()
        self._tell()

    def drop(self, partition: int) -> None:
        """Another worker has the partition now: its data keys are forgotten."""
        for kept in (self._seals, self._generations, self._passes):
            kept.pop(partition, None)
        self._tell()

    def view(self, partition: int) -> _SealedView:
        return _SealedView(self._table, self._seals[partition], partition)

    def keys_after(self, partition: int, after: bytes | None, most: int) -> list[bytes]:
        return self._table.keys_after(partition, after, most)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of the partition, but for what is shredded."""
        seal = self._seals[partition]
        for key, data in self._table.items(partition):
            value = seal.open(key, data)
            if value is not None:
                yield key, value

    async def apply(
        self, partition: int, changes: Mapping[bytes, bytes | None], fence: Callable[[], None], erased: Collection[bytes] = ()
    ) -> None:
        """Write the changes. What was written before of those in ``erased`` can't be opened any more then, wherever it was copied to; nor
        what is deleted. Raises as ``StateTable.apply``."""
        seal = self._seals[partition]
        await self._write_keys(partition, seal.before(changes, erased), fence)
        await self._table.apply(partition, seal.seal(changes), fence)
        await self._write_keys(partition, seal.after(changes, erased), fence)

    def size(self, partition: int) -> Size:
        return self._table.size(partition)

    def is_moved(self, partition: int) -> bool:
        return self._passes[partition].is_done

    async def move(self, partition: int, fence: Callable[[], None]) -> None:
        """One step of sealing anew what is not under the current keys. Raises as ``apply``, and as a view does."""
        run, seal = self._passes[partition], self._seals[partition]
        most = self._rules.moves_per_step
        changes = run.next_values(self._store, partition, seal, most)
        if changes is not None:
            await self.apply(partition, changes, fence)
            self._metrics.moved.inc(len(changes))
            return
        await self._write_keys(partition, run.next_keys(self._store, partition, seal, most), fence)
        if run.is_at_end:
            run.is_done = True
            log.info("all values of %s, partition %d, are sealed under %s", self._name, partition, self._rules.keys.current.key_id)
        self._tell()

    async def _write_keys(self, partition: int, wanted: Mapping[bytes, tuple[DataKey, ...]], fence: Callable[[], None]) -> None:
        topic, seal = self._rules.keys_topic, self._seals[partition]
        if not wanted or topic is None:
            return
        rows = seal.sealed_keys(wanted)
        await self._writer.write_changelog(topic, partition, rows.items(), fence)
        fence()
        seal.keep(rows)
        self._tell()

    def _tell(self) -> None:
        self._metrics.unmoved.set(sum(not run.is_done for run in self._passes.values()))
        self._metrics.data_keys.set(sum(len(seal) for seal in self._seals.values()))


class _SealedView:
    def __init__(self, table: StateTable, seal: PartitionSeal, partition: int) -> None:
        self._view = table.view(partition)
        self._seal = seal

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        opened: dict[bytes, bytes] = {}
        for key, data in self._view.get_many(keys).items():
            value = self._seal.open(key, data)
            if value is not None:
                opened[key] = value
        return opened


class PlainTable(StateTable):
    """The table of a worker without a state key. It never hands sealed bytes to a stage as if they were a value."""

    def view(self, partition: int) -> _PlainView:  # type: ignore[override]
        return _PlainView(super().view(partition), self._name)

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().items(partition):
            refuse_sealed(value, f"the state {self._name}")
            yield key, value


class _PlainView:
    def __init__(self, view: _Gets, name: str) -> None:
        self._view = view
        self._name = name

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = self._view.get_many(keys)
        for value in found.values():
            refuse_sealed(value, f"the state {self._name}")
        return found


class _Gets(Protocol):
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...


def refuse_sealed(value: bytes, name: str) -> None:
    """Raises ConfigurationError for a sealed value, where there is no state key."""
    key_id = key_id_of(value)
    if key_id is not None:
        raise ConfigurationError(
            f"{name} is sealed under the state key {key_id.decode('ascii', 'replace')!r}, and the keys folder has no state.key; "
            "copy it from where the workers had it (VEILSTREAM_KEYS_DIR)"
        )

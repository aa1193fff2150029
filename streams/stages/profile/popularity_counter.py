"""Counts the events of one source partition. It starts from the counts that the partition's last owner published.

Producers can make up item ids without end, and every worker keeps all counts. So of the items that no catalogue has, each partition keeps
the last ones that had events; the records of the others are removed. What comes into the catalogue later is counted from then on, with
what is still kept of before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

from streams.engine.ports import RecordCodec
from streams.engine.records import OutputRecord
from streams.ranking.popularity import EXACT_EXPOSURES, EXPOSURE_STEP, UNKNOWN, DecayedCount
from streams.ranking.popularity_table import PopularityTable
from streams.serde.records import Popularity
from streams.stages.profile.influence import Weights
from streams.topics import ITEMS_POPULARITY

_NOTHING = DecayedCount(0.0, 0, -1)
_AT_ONCE = 10
"""One in so many of the unknown items that may be kept is removed at a time: to find them, many counts are looked at."""


@dataclass(slots=True)
class PopularityTally:
    """The counts that one batch changes. An event that the partition has already counted is not counted again."""

    table: PopularityTable
    partition: int
    half_life_ms: float
    written: Mapping[str, DecayedCount]
    """What this worker published in earlier batches and the board may not have read back."""
    last_offset: int = -1
    changed: dict[str, DecayedCount] = field(default_factory=dict)

    def add(
        self,
        item_id: str,
        weights: Weights,
        time_ms: int,
        offset: int,
        *,
        bought: bool = False,
        new_buyer: bool = False,
        is_newcomer: bool = False,
    ) -> None:
        """Count one event, in offset order."""
        known = self.changed.get(item_id) or self._published(item_id)
        if offset <= known.source_offset:
            return
        if known.source_offset < 0:
            known = DecayedCount(0.0, time_ms, -1)
        self.changed[item_id] = known.plus(
            weights[0],
            time_ms,
            offset,
            self.half_life_ms,
            others=weights[1:],
            bought=bought,
            new_buyer=new_buyer,
            is_newcomer=is_newcomer,
        )

    def note(
        self, item_id: str, offset: int, event_id: str, *, exposed: bool = False, dismissed: bool = False, returned: bool = False
    ) -> None:
        """Count an event that is no popularity, in offset order."""
        known = self.changed.get(item_id) or self._published(item_id)
        if offset <= known.source_offset:
            return
        exposures = int(exposed)
        if exposed and known.exposures >= EXACT_EXPOSURES:
            if int(event_id[-4:], 16) % EXPOSURE_STEP:
                return
            exposures = EXPOSURE_STEP
        self.changed[item_id] = known.with_outcome(offset, exposures=exposures, dismissals=int(dismissed), returns=int(returned))

    def _published(self, item_id: str) -> DecayedCount:
        read = self.table.latest(self.partition, item_id) or _NOTHING
        own = self.written.get(item_id, _NOTHING)
        return own if own.source_offset > read.source_offset else read


class PopularityCounter:
    """Bridges the time between publishing a count and reading it back.

    The counts published by one batch become the base of the next only when that batch begins, because then they are acknowledged. A
    batch that is repeated was not acknowledged, or the partition was taken over. On a take-over, the board first reads the topic to
    its end. In both cases the board knows all counts that were really written.
    """

    def __init__(self, codec: RecordCodec, table: PopularityTable, half_life_ms: float) -> None:
        self._codec = codec
        self._table = table
        self._half_life_ms = half_life_ms
        self._written: dict[int, dict[str, DecayedCount]] = {}
        self._pending: dict[int, PopularityTally] = {}
        self._removed: dict[int, set[str]] = {}
        """What the table may not yet have read."""

    def begin(self, partition: int, first_offset: int) -> PopularityTally:
        """A tally for a batch that begins at ``first_offset``."""
        pending = self._pending.pop(partition, None)
        written = self._written.setdefault(partition, {})
        if pending is not None and first_offset > pending.last_offset:
            written.update(pending.changed)
        for item_id in [i for i, own in written.items() if own.source_offset >= first_offset or self._has_read(partition, i, own)]:
            del written[item_id]
        return PopularityTally(self._table, partition, self._half_life_ms, written)

    def end(self, tally: PopularityTally, last_offset: int) -> list[OutputRecord]:
        """The records that publish the tally, one an item, to the partition of the same number."""
        tally.last_offset = last_offset
        self._pending[tally.partition] = tally
        return [self._output(tally.partition, item_id, count) for item_id, count in tally.changed.items()]

    def removals(self, tally: PopularityTally, catalogue: Collection[str], most: int) -> list[OutputRecord]:
        """Records that remove counts of items that are not in the catalogue, where the partition counts more than ``most`` items more than
        that has: of those whose last events were longest ago. Call it after ``end``."""
        partition = tally.partition
        kept, written = self._table.of(partition), self._written[partition]
        removed = {item_id for item_id in self._removed.get(partition, ()) if item_id in kept and item_id not in tally.changed}
        over = len(kept) - len(removed) - len(catalogue) - most
        gone: list[str] = []
        if over > 0:
            unknown = (item_id for item_id in kept if item_id not in catalogue and item_id not in removed)
            gone = list(islice((i for i in unknown if i not in tally.changed and i not in written), over + most // _AT_ONCE))
        self._removed[partition] = removed.union(gone)
        return [self._removal(partition, item_id, tally.last_offset) for item_id in gone]

    def _removal(self, partition: int, item_id: str, offset: int) -> OutputRecord:
        record_id = blake2b(f"{partition}/{offset}/{item_id}/removed".encode(), digest_size=16, person=b"vs.popularity").digest()
        return OutputRecord(ITEMS_POPULARITY, item_id.encode(), None, record_id, partition)

    def _has_read(self, partition: int, item_id: str, own: DecayedCount) -> bool:
        read = self._table.latest(partition, item_id)
        return read is not None and read.source_offset >= own.source_offset

    def _output(self, partition: int, item_id: str, count: DecayedCount) -> OutputRecord:
        recent, fortnight, season = count.others
        value = self._codec.encode(
            Popularity(
                item_id=item_id,
                count=count.value,
                as_of=count.as_of_ms,
                source_offset=count.source_offset,
                recent=recent,
                fortnight=fortnight,
                season=season,
                first_at=None if count.first_ms == UNKNOWN else count.first_ms,
                bought_at=None if count.bought_ms == UNKNOWN else count.bought_ms,
                buyers=count.buyers,
                exposures=count.exposures,
                dismissals=count.dismissals,
                returns=count.returns,
                newcomers=count.newcomers,
            )
        )
        identity = f"{partition}/{count.source_offset}/{item_id}"
        record_id = blake2b(identity.encode(), digest_size=16, person=b"vs.popularity").digest()
        return OutputRecord(ITEMS_POPULARITY, item_id.encode(), value, record_id, partition)

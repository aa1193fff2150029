"""Counts what the shoppers of one partition buy together, in the stage's own table, and publishes what enough of them did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from streams.engine.ports import RecordCodec
from streams.engine.records import OutputRecord
from streams.errors import ConfigurationError
from streams.ranking.together import ItemPairs, TogetherRules, count_purchase, is_due, publishable
from streams.serde.records import ItemsTogether
from streams.topics import ITEMS_TOGETHER

_PREFIX = b"\0together\0"
"""No pseudonym begins with it."""
_VERSION = b"\x01"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ItemPairs)


def state_key(item_id: str) -> bytes:
    """The item's key in the stage's table."""
    return _PREFIX + item_id.encode()


def is_profile(key: bytes) -> bool:
    """Whether a key of the stage's table is a shopper's."""
    return not key.startswith(_PREFIX)


@dataclass(slots=True)
class TogetherTally:
    """The pairs that one batch changes."""

    rules: TogetherRules
    pairs: dict[str, ItemPairs]
    """Of all items bought in the batch."""
    changed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Item to offset and time of the last purchase counted."""

    def add(self, item_id: str, bought: dict[str, int], before_ms: int | None, time_ms: int, offset: int) -> None:
        """Count one purchase, in offset order; see ``count_purchase``. One that was counted before a crash is not counted again."""
        pairs = self.pairs[item_id]
        if offset <= pairs.applied_offset:
            return
        pairs.applied_offset = offset
        if count_purchase(pairs, item_id, bought, before_ms, time_ms, self.rules):
            _, latest = self.changed.get(item_id, (0, time_ms))
            self.changed[item_id] = (offset, max(latest, time_ms))


class TogetherCounter:
    """Between the stage's table, a batch, and the topic."""

    def __init__(self, codec: RecordCodec, rules: TogetherRules) -> None:
        self._codec = codec
        self._rules = rules

    def begin(self, items: Iterable[str], stored: Mapping[bytes, bytes]) -> TogetherTally:
        """A tally for a batch in which these items are bought. Raises ConfigurationError for a state that can't be read."""
        return TogetherTally(self._rules, {item: load_pairs(stored.get(state_key(item))) for item in items})

    def end(self, tally: TogetherTally, partition: int) -> tuple[dict[bytes, bytes], list[OutputRecord]]:
        """What the batch changes in the table, and the records that publish it, to the partition of the same number."""
        outputs = []
        for item_id, (offset, time_ms) in tally.changed.items():
            pairs = tally.pairs[item_id]
            if is_due(pairs, self._rules):
                total, counts = publishable(pairs, time_ms, self._rules)
                if counts:
                    pairs.published = pairs.counted
                    outputs.append(self._output(partition, item_id, total, counts, time_ms, offset))
        return {state_key(item): _VERSION + _encoder.encode(tally.pairs[item]) for item in tally.changed}, outputs

    def _output(self, partition: int, item_id: str, total: float, counts: dict[str, float], as_of_ms: int, offset: int) -> OutputRecord:
        value = self._codec.encode(
            ItemsTogether(
                item_id=item_id, total=total, others=list(counts), counts=list(counts.values()), as_of=as_of_ms, source_offset=offset
            )
        )
        record_id = blake2b(f"{partition}/{offset}/{item_id}".encode(), digest_size=16, person=b"vs.together").digest()
        return OutputRecord(ITEMS_TOGETHER, item_id.encode(), value, record_id, partition)


def load_pairs(data: bytes | None) -> ItemPairs:
    """An item's pairs from the state, none where there are none yet. Raises ConfigurationError for what can't be read."""
    if data is None:
        return ItemPairs(partners={})
    if data[:1] != _VERSION:
        raise ConfigurationError("pairs in the state are of another version of veilstream; use that one, or delete the stage's state")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise ConfigurationError("pairs in the state are damaged; delete the stage's local state, it is rebuilt") from error

"""Counts what the shoppers of one partition buy together, in the stage's own table, and publishes what enough of them did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

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
    return not key.startswith(b"\0")


class _Published(NamedTuple):
    """An item's pairs as they are published after one purchase."""

    item_id: str
    total: float
    counts: dict[str, float]
    as_of_ms: int
    offset: int


@dataclass(slots=True)
class TogetherTally:
    """The pairs that one batch changes. Whether they are published follows from each purchase, not from where a batch ends."""

    rules: TogetherRules
    pairs: dict[str, ItemPairs]
    """Of all items bought in the batch."""
    changed: dict[str, ItemPairs] = field(default_factory=dict)
    published: list[_Published] = field(default_factory=list)

    def add(self, item_id: str, bought: dict[str, int], before_ms: int | None, time_ms: int, offset: int) -> None:
        """Count one purchase, in offset order; see ``count_purchase``. One that was counted before a crash is not counted again."""
        pairs, rules = self.pairs[item_id], self.rules
        if offset <= pairs.applied_offset or not count_purchase(pairs, item_id, bought, before_ms, time_ms, rules):
            return
        pairs.applied_offset = offset
        self.changed[item_id] = pairs
        if is_due(pairs, rules):
            total, counts = publishable(pairs, time_ms, rules)
            if counts:
                pairs.published = pairs.counted
                self.published.append(_Published(item_id, total, counts, time_ms, offset))


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
        state = {state_key(item): _VERSION + _encoder.encode(pairs) for item, pairs in tally.changed.items()}
        return state, [self._output(partition, one) for one in tally.published]

    def _output(self, partition: int, one: _Published) -> OutputRecord:
        value = self._codec.encode(
            ItemsTogether(
                item_id=one.item_id,
                total=one.total,
                others=list(one.counts),
                counts=list(one.counts.values()),
                as_of=one.as_of_ms,
                source_offset=one.offset,
            )
        )
        record_id = blake2b(f"{partition}/{one.offset}/{one.item_id}".encode(), digest_size=16, person=b"vs.together").digest()
        return OutputRecord(ITEMS_TOGETHER, one.item_id.encode(), value, record_id, partition)


def load_pairs(data: bytes | None) -> ItemPairs:
    """An item's pairs from the state, none where there are none yet. Raises ConfigurationError for what can't be read."""
    if data is None:
        return ItemPairs(partners={})
    if data[:1] != _VERSION:
        raise ConfigurationError("pairs in the state are of another version of veilstream; use that one, or delete the stage's state")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError("pairs in the state are damaged; delete the stage's local state, it is rebuilt") from error

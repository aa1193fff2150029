"""Encodes known items under newer models, one part at a time, and removes the vectors of retired models."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from streams.engine.ports import RecordCodec
from streams.engine.records import BatchResult, OutputRecord
from streams.errors import RecordError
from streams.models.hotswap.active_encoders import ActiveEncoders, encode_beside
from streams.ranking.lexical import item_terms
from streams.serde.records import ItemVector
from streams.serde.vectors import vector_key
from streams.stages.catalogue.state import MEMBERS, Content, KnownItem, dump_item, load_item
from streams.topics import ITEMS_VECTORS

PART = 128
"""Items at a time: changes of the partition's items wait while they are encoded, so not many."""


class Backfilled(NamedTuple):
    result: BatchResult
    is_done: bool
    """Nothing is left to do for these models."""
    textless: int
    """Items that can't be encoded before they are published again: their state is of a version that kept no texts."""


async def backfill(
    partition: int, items: Iterable[tuple[bytes, bytes]], active: ActiveEncoders, codec: RecordCodec, now_ms: int
) -> Backfilled:
    """The next part of a partition's state. Called again from the same state it gives the same records, ``encoded_at`` apart."""
    due: dict[str, KnownItem] = {}
    textless = 0
    for key, data in items:
        if key.startswith(MEMBERS):
            continue
        item = load_item(data)
        lacking = any(encoder.version not in item.vectors for encoder in active.encoders)
        if lacking and item.partition < 0:
            textless += 1
        elif item.partition == partition and (lacking or not active.retired.isdisjoint(item.versions)):
            due[key.decode()] = item
            if len(due) == PART:
                break
    result = BatchResult()
    added: dict[str, dict[str, bytes]] = {item_id: {} for item_id in due}
    for encoder in active.encoders:
        version = encoder.version
        lacking_it = {item_id: item for item_id, item in due.items() if version not in item.vectors}
        vectors = await encode_beside(encoder, {item.content.text_hash: item.text for item in lacking_it.values()})
        for item_id, item in lacking_it.items():
            found = vectors[item.content.text_hash]
            vector = added[item_id][version] = b"" if isinstance(found, RecordError) else found
            result.outputs.append(
                _output(item_id, version, item.content, vector_value(codec, item_id, version, item.content, vector, now_ms, item.text))
            )
    for item_id, item in due.items():
        after = item.became(KnownItem(item.partition, item.text, item.content, added[item_id]))
        for version in sorted(active.retired.intersection(item.versions)):
            after = after.without(version)
            result.outputs.append(_output(item_id, version, item.content, None))
        result.state[item_id.encode()] = dump_item(after)
    return Backfilled(result, len(due) < PART, textless)


def vector_value(codec: RecordCodec, item_id: str, version: str, content: Content, vector: bytes, now_ms: int, text: str) -> bytes | None:
    """The record's value; None, a tombstone, where there is no vector."""
    if not vector:
        return None
    value = ItemVector(
        item_id=item_id,
        model_version=version,
        vector=vector,
        text_hash=content.text_hash,
        recommendable=content.recommendable,
        category=content.category,
        price_band=content.price_band,
        encoded_at=now_ms,
        terms=item_terms(text, item_id),
        group_id=content.group_id,
    )
    return codec.encode(value)


def _output(item_id: str, version: str, content: Content, value: bytes | None) -> OutputRecord:
    shown = (content.text_hash, content.recommendable, content.category, content.price_band)
    grouped = () if content.group_id is None else (content.group_id,)
    identity = "\0".join((version, item_id, *map(str, shown), *grouped))
    person = b"vs.itemretired" if value is None else b"vs.itembackfill"
    return OutputRecord(
        ITEMS_VECTORS, vector_key(version, item_id), value, blake2b(identity.encode(), digest_size=16, person=person).digest()
    )

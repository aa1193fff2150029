"""``catalogue.items`` to ``items.vectors``: every item is encoded once for the whole cluster, under every live model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from streams.clock import Clock
from streams.engine.ports import DeadLetters, ModelProvider, TopicCodecs
from streams.engine.records import BatchResult, OutputRecord, PartitionState, SourceRecord, StateView
from streams.errors import RecordError
from streams.models.hotswap.active_encoders import ActiveEncoders, encode_beside, encode_texts
from streams.serde.records import Item
from streams.serde.vectors import vector_key
from streams.sources.item_sources import ItemSources
from streams.sources.loading import load_item_sources
from streams.sources.sources import NONE
from streams.stages.catalogue.backfill import backfill, vector_value
from streams.stages.catalogue.members import Accepted, Members
from streams.stages.catalogue.state import Content, KnownItem, dump_item, load_item
from streams.stages.catalogue.validate import band_of, item_of_key, item_text, text_hash, valid_item
from streams.topics import CATALOGUE_ITEMS, ITEMS_VECTORS

if TYPE_CHECKING:
    from streams.settings import Settings

_Vectors = Mapping[str, Mapping[str, bytes | RecordError]]
"""By model version and text hash."""
Refused = set[tuple[str, int]]
"""Topics and offsets of records that are refused, or some items of them."""


@dataclass(frozen=True, slots=True)
class CatalogueRules:
    """The settings that this stage needs."""

    text_characters: int = 1000
    """Most characters of an item's text that the encoder is given."""
    language: str | None = None
    """Of the titles, the one that the encoder is given."""

    @classmethod
    def from_settings(cls, settings: Settings) -> CatalogueRules:
        return cls(text_characters=settings.item_text_characters, language=settings.item_language)


class _Change(NamedTuple):
    """An item of a source record, or (content None) its removal."""

    record: SourceRecord
    item_id: str
    text: str
    content: Content | None
    is_one_of: bool = False
    """Whether the record may have several."""
    line: int = 0


class CatalogueStage:
    """The stage's BatchHandler, and a PartitionOwner: between batches it encodes known items under newer models.

    Every source record gives its own output, even if the same item follows later in the batch. Only the last output is needed. But
    a redo with other batch boundaries could then write an older record after a newer one.

    A record that a source's mapping reads may have several items. They are remembered by its key: what the next record of the key has no
    more is removed, and its tombstone removes them all.
    """

    def __init__(
        self,
        *,
        codecs: TopicCodecs,
        models: ModelProvider[ActiveEncoders],
        dead_letters: DeadLetters,
        rules: CatalogueRules,
        clock: Clock,
        sources: ItemSources | None = None,
    ) -> None:
        """Without ``sources`` those are known that the product has presets for, by header."""
        self._sources = sources or ItemSources(codecs.for_topic(CATALOGUE_ITEMS), load_item_sources(None))
        self._vectors = codecs.for_topic(ITEMS_VECTORS)
        self._models = models
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock
        self._done: dict[int, tuple[tuple[str, ...], frozenset[str]]] = {}
        self.textless: dict[int, int] = {}
        """By partition: items that a new model does not get before they are published again."""

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Raises what the encoder raises, and ConfigurationError for a state or an encoder that does not fit."""
        result = BatchResult()
        refused: Refused = set()
        records = [self._accept(record, result, refused) for record in batch]
        members = Members(state.get_many([key for record in records if (key := record.members_key) is not None]))
        changes = [change for record in records for change in self._changes(record, members, result, refused)]
        result.state.update(members.changed)
        keys = list(dict.fromkeys(change.item_id.encode() for change in changes))
        known = {key.decode(): load_item(data) for key, data in state.get_many(keys).items()}
        with self._models.use() as active:
            vectors = await _encode(active, changes, known)
            self._note_models(batch[0].partition, active)
        now_ms = self._clock.now_ms()
        for change in changes:
            try:
                self._apply(change, known, vectors, now_ms, result)
            except RecordError as error:
                self._refuse(change.record, error, result, refused, change.line)
        result.rejected = len(refused)
        return result

    def _note_models(self, partition: int, active: ActiveEncoders) -> None:
        """What a batch has written is of its own models: where these are others than those that the partition is complete for, it is so no
        longer. They may be back before the timer has seen that they were gone."""
        done = self._done.get(partition)
        if done is not None and done[0] != tuple(encoder.version for encoder in active.encoders):
            del self._done[partition]

    async def on_assigned(self, partition: int, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Another worker may have changed the partition since."""
        self._done.pop(partition, None)

    async def on_timer(self, partition: int, state: PartitionState) -> BatchResult:
        """The next part of what this partition lacks."""
        with self._models.use() as active:
            wanted = (tuple(encoder.version for encoder in active.encoders), active.retired)
            if self._done.get(partition) == wanted:
                return BatchResult()
            result, is_done, self.textless[partition] = await backfill(
                partition, state.items(), active, self._vectors, self._clock.now_ms()
            )
            if is_done:
                # Complete when this is written. If the write fails, the partition is taken over again.
                self._done[partition] = wanted
            return result

    def _accept(self, record: SourceRecord, result: BatchResult, refused: Refused) -> Accepted:
        """The record's items that are valid; the others are refused."""
        if record.value is None:
            return Accepted(record, (), is_mapped=False, is_whole=True)
        name, lines = self._sources.read(record)
        is_mapped = name != NONE
        items: list[Item] = []
        places: list[int] = []
        for place, line in enumerate(lines):
            try:
                if isinstance(line, RecordError):
                    raise line
                items.append(valid_item(line["item_id"].encode() if is_mapped else record.key, line))
                places.append(place)
            except RecordError as error:
                self._refuse(record, error, result, refused, place)
        return Accepted(record, tuple(zip(items, places, strict=True)), is_mapped=is_mapped, is_whole=len(items) == len(lines))

    def _changes(self, accepted: Accepted, members: Members, result: BatchResult, refused: Refused) -> list[_Change]:
        record = accepted.record
        if record.value is None:
            removed = members.removed(record.key)
            if removed:
                return [_Change(record, item_id, "", None, True) for item_id in removed]
            try:
                return [_Change(record, item_of_key(record.key), "", None)]
            except RecordError as error:
                self._refuse(record, error, result, refused)
                return []
        changes = []
        for item, line in accepted.items:
            text = item_text(item, self._rules.text_characters, self._rules.language)
            is_recommendable = item["in_stock"] and not item["blocked"]
            content = Content(text_hash(text), is_recommendable, item["category"] or None, band_of(item), item["group_id"])
            changes.append(_Change(record, item["item_id"], text, content, accepted.is_mapped, line))
        if accepted.is_mapped:
            gone = members.became(record.key, [change.item_id for change in changes], is_whole=accepted.is_whole)
            changes += [_Change(record, item_id, "", None, True) for item_id in gone]
        return changes

    def _apply(self, change: _Change, known: dict[str, KnownItem], vectors: _Vectors, now_ms: int, result: BatchResult) -> None:
        before = known.get(change.item_id)
        if change.content is None:
            versions = dict.fromkeys((*vectors, *(before.versions if before is not None else ())))
            result.outputs += [self._output(change, version, None) for version in versions]
            known.pop(change.item_id, None)
            result.state[change.item_id.encode()] = None
            return
        encoded: dict[str, bytes] = {}
        for version, by_hash in vectors.items():
            vector = by_hash[change.content.text_hash]
            if isinstance(vector, RecordError):
                if not encoded:
                    raise vector
                vector = b""
            encoded[version] = vector
        for version, data in encoded.items():
            value = vector_value(self._vectors, change.item_id, version, change.content, data, now_ms, change.text)
            result.outputs.append(self._output(change, version, value))
        after = KnownItem(change.record.partition, change.text, change.content, encoded)
        if before is not None:
            after = before.became(after)
        if after != before:
            known[change.item_id] = after
            result.state[change.item_id.encode()] = dump_item(after)

    def _output(self, change: _Change, version: str, value: bytes | None) -> OutputRecord:
        record = change.record
        position = f"{version}/{record.topic}/{record.partition}/{record.offset}"
        if change.is_one_of:
            position = f"{position}/{change.item_id}"
        record_id = blake2b(position.encode(), digest_size=16, person=b"vs.itemvector").digest()
        return OutputRecord(ITEMS_VECTORS, vector_key(version, change.item_id), value, record_id)

    def _refuse(self, record: SourceRecord, error: RecordError, result: BatchResult, refused: Refused, line: int = 0) -> None:
        result.outputs.append(self._dead_letters.build(record, error, line=line))
        # A record counts once, whatever number of its items were refused.
        refused.add((record.topic, record.offset))


async def _encode(active: ActiveEncoders, changes: Sequence[_Change], known: Mapping[str, KnownItem]) -> _Vectors:
    """The vectors of all texts of the batch; only those are encoded that no item is known to have had."""
    vectors: dict[str, dict[str, bytes | RecordError]] = {}
    for place, encoder in enumerate(active.encoders):
        version = encoder.version
        had: dict[str, bytes | RecordError] = {}
        for item in known.values():
            vector = item.vector(version, item.content.text_hash)
            if vector is not None:
                had[item.content.text_hash] = vector
        texts = {c.content.text_hash: c.text for c in changes if c.content is not None and c.content.text_hash not in had}
        vectors[version] = had | await (encode_beside if place else encode_texts)(encoder, texts)
    return vectors

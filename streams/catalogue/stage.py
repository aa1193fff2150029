"""``catalogue.items`` to ``items.vectors``: every item is encoded once for the whole cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from streams.catalogue.state import EncodedItem, dump_item, load_item
from streams.catalogue.text import item_text, text_hash
from streams.catalogue.validate import item_of_key, valid_item
from streams.catalogue.vectors import key_prefix, to_bytes, vector_key
from streams.clock import Clock
from streams.errors import ConfigurationError, RecordError
from streams.ingest.money import price_band
from streams.runtime.ports import DeadLetters, TextEncoder, TopicCodecs
from streams.runtime.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.topics import CATALOGUE_ITEMS, ITEMS_VECTORS
from streams.wire.records import Item, ItemVector

if TYPE_CHECKING:
    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class CatalogueRules:
    """The settings that this stage needs."""

    text_characters: int = 1000
    """Most characters of an item's text that the encoder is given."""

    @classmethod
    def from_settings(cls, settings: Settings) -> CatalogueRules:
        return cls(text_characters=settings.item_text_characters)


class _Change(NamedTuple):
    """One accepted source record: an item, or (None) its removal."""

    record: SourceRecord
    item_id: str
    item: Item | None
    text: str
    hash: str


class CatalogueStage:
    """The stage's BatchHandler.

    Every source record gives its own output, also where the same item follows later in the batch. Only the last would be
    needed, but then a redo with other batch boundaries could write an older record after a newer one.
    """

    def __init__(
        self, *, codecs: TopicCodecs, encoder: TextEncoder, dead_letters: DeadLetters, rules: CatalogueRules, clock: Clock
    ) -> None:
        key_prefix(encoder.version)
        self._items = codecs.for_topic(CATALOGUE_ITEMS)
        self._vectors = codecs.for_topic(ITEMS_VECTORS)
        self._encoder = encoder
        self._dead_letters = dead_letters
        self._rules = rules
        self._clock = clock

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        """Raises what the encoder raises, and ConfigurationError for a state or an encoder that does not fit."""
        result = BatchResult()
        changes = self._accept(batch, result)
        keys = list(dict.fromkeys(change.item_id.encode() for change in changes))
        known = {key.decode(): load_item(data) for key, data in state.get_many(keys).items()}
        vectors = await self._encode(changes, known)
        now_ms = self._clock.now_ms()
        for change in changes:
            try:
                self._apply(change, known, vectors, now_ms, result)
            except RecordError as error:
                self._refuse(change.record, error, result)
        return result

    def _accept(self, batch: Sequence[SourceRecord], result: BatchResult) -> list[_Change]:
        changes = []
        for record in batch:
            try:
                if record.value is None:
                    changes.append(_Change(record, item_of_key(record.key), None, "", ""))
                    continue
                item = valid_item(record.key, self._items.decode(record.value, record.headers))
                text = item_text(item, self._rules.text_characters)
                changes.append(_Change(record, item["item_id"], item, text, text_hash(text)))
            except RecordError as error:
                self._refuse(record, error, result)
        return changes

    async def _encode(self, changes: Sequence[_Change], known: Mapping[str, EncodedItem]) -> dict[str, bytes | RecordError]:
        """By text hash: the vectors of all texts of the batch; only those are encoded that no item is known to have had."""
        version = self._encoder.version
        vectors: dict[str, bytes | RecordError] = {item.text_hash: item.vector for item in known.values() if item.model_version == version}
        texts = {change.hash: change.text for change in changes if change.item is not None and change.hash not in vectors}
        if texts:
            encoded = await self._encoder.encode_many(list(texts.values()))
            if encoded.shape != (len(texts), self._encoder.dimension):
                raise ConfigurationError(
                    f"the encoder gave an array of shape {encoded.shape} for {len(texts)} texts of dimension {self._encoder.dimension}"
                )
            for fingerprint, vector in zip(texts, encoded, strict=True):
                try:
                    vectors[fingerprint] = to_bytes(vector)
                except RecordError as error:
                    vectors[fingerprint] = error
        return vectors

    def _apply(
        self,
        change: _Change,
        known: dict[str, EncodedItem],
        vectors: Mapping[str, bytes | RecordError],
        now_ms: int,
        result: BatchResult,
    ) -> None:
        version = self._encoder.version
        before = known.get(change.item_id)
        if change.item is None:
            others = before.all_versions_but(version) if before is not None else ()
            result.outputs += [self._output(change, v, None) for v in (version, *others)]
            known.pop(change.item_id, None)
            result.state[change.item_id.encode()] = None
            return
        vector = vectors[change.hash]
        if isinstance(vector, RecordError):
            raise vector
        result.outputs.append(
            self._output(change, version, self._vectors.encode(_item_vector(change, change.item, version, vector, now_ms)))
        )
        if before is None or before.model_version != version or before.text_hash != change.hash:
            after = EncodedItem(version, change.hash, vector) if before is None else before.under(version, change.hash, vector)
            known[change.item_id] = after
            result.state[change.item_id.encode()] = dump_item(after)

    def _output(self, change: _Change, version: str, value: bytes | None) -> OutputRecord:
        record = change.record
        position = f"{version}/{record.topic}/{record.partition}/{record.offset}"
        record_id = blake2b(position.encode(), digest_size=16, person=b"vs.itemvector").digest()
        return OutputRecord(ITEMS_VECTORS, vector_key(version, change.item_id), value, record_id)

    def _refuse(self, record: SourceRecord, error: RecordError, result: BatchResult) -> None:
        result.outputs.append(self._dead_letters.build(record, error))
        result.rejected += 1


def _item_vector(change: _Change, item: Item, version: str, vector: bytes, now_ms: int) -> ItemVector:
    return ItemVector(
        item_id=change.item_id,
        model_version=version,
        vector=vector,
        text_hash=change.hash,
        recommendable=item["in_stock"] and not item["blocked"],
        category=item["category"] or None,
        price_band=None if item["price"] is None else price_band(item["price"]),
        encoded_at=now_ms,
    )

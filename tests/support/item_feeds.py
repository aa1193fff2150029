"""Feeds read both ways: from a file, and by the catalogue stage from a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nacl.public import PrivateKey

from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord
from streams.errors import RecordError
from streams.models.hotswap.active_encoders import OneEncoder
from streams.privacy.seal import Sealer
from streams.producers.csv_rows import ReadReport
from streams.producers.item_files import read_item_source
from streams.ranking.item_matrix import ItemMatrix
from streams.sources.item_mapping import ItemMapping, read_item_mapping
from streams.sources.item_source import ItemSource
from streams.sources.item_sources import ItemSources
from streams.sources.loading import item_presets
from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
from streams.topics import CATALOGUE_ITEMS, DEAD_LETTER, ITEMS_VECTORS
from tests.support.ingest_harness import NOW
from tests.support.profile_harness import CODECS, MemoryState
from tests.support.stage_keys import SIGNING_KEY

DIMENSION = 16
RECOVERY = PrivateKey.generate()


def mapping_of(reads: str) -> ItemMapping:
    """A preset by name, or a mapping by its text."""
    return read_item_mapping(reads, "test.yaml") if "\n" in reads else item_presets()[reads]


def from_file(path: Path, data: bytes, reads: str, at_ms: int = NOW) -> tuple[list[dict[str, Any]], list[str]]:
    """The items of a file, and why others are refused, broken rows last."""
    path.write_bytes(data)
    report = ReadReport()
    items: list[dict[str, Any]] = []
    refused: list[str] = []
    for record in read_item_source(path, mapping_of(reads), report, at_ms):
        for line in record.lines:
            if isinstance(line, RecordError):
                refused.append(str(line))
            else:
                items.append(line)
    codec = CODECS.for_topic(CATALOGUE_ITEMS)
    assert [codec.decode(codec.encode(item)) for item in items] == items, "what is published is what was read"
    return items, refused + [reason for reason, count in report.broken.items() for _ in range(count)]


class Encoder:
    """Hashing, noting what it was asked for."""

    version, dimension = "v1", DIMENSION

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def encode_many(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        return HashingEncoder(DIMENSION).encode(texts)


class Feeds:
    """The catalogue stage over memory, with the presets and these mappings."""

    def __init__(self, *mappings: ItemMapping, rules: CatalogueRules | None = None, **options: Any) -> None:
        known = {name: ItemSource(one) for name, one in (item_presets() | {one.name: one for one in mappings}).items()}
        clock = FixedClock(NOW)
        self.encoder = Encoder()
        self.state = MemoryState()
        self.outputs: list[Any] = []
        self.stage = CatalogueStage(
            codecs=CODECS,
            models=OneEncoder(self.encoder),
            dead_letters=DeadLetterBuilder(
                CODECS.for_topic(DEAD_LETTER), Sealer(RECOVERY.public_key), "catalogue", clock, 1_000_000, signing_key=SIGNING_KEY
            ),
            rules=rules or CatalogueRules(),
            clock=clock,
            sources=ItemSources(CODECS.for_topic(CATALOGUE_ITEMS), known, **options),
        )

    def compute(self, records: Sequence[MemoryRecord]) -> BatchResult:
        """What the stage makes of a batch, without writing it."""

        async def call() -> BatchResult:
            return await self.stage(list(records), self.state)

        return asyncio.run(call())

    def run(self, records: Sequence[MemoryRecord]) -> BatchResult:
        result = self.compute(records)
        self.state.write(result.state)
        self.outputs += result.outputs
        return result

    @property
    def letters(self) -> list[dict[str, Any]]:
        return [CODECS.for_topic(DEAD_LETTER).decode(one.value) for one in self.outputs if one.topic == DEAD_LETTER]

    @property
    def catalogue(self) -> dict[str, dict[str, Any]]:
        """The newest record of every item."""
        found: dict[str, dict[str, Any]] = {}
        for output in self.outputs:
            if output.topic == ITEMS_VECTORS:
                item_id = output.key.decode().partition("/")[2]
                found.pop(item_id, None)
                if output.value is not None:
                    found[item_id] = CODECS.for_topic(ITEMS_VECTORS).decode(output.value)
        return found

    def matrix(self) -> ItemMatrix:
        matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), "v1", DIMENSION)
        matrix.apply([MemoryRecord(one.topic, 0, 0, 0, one.key, one.value) for one in self.outputs if one.topic == ITEMS_VECTORS])
        return matrix


def record(
    value: bytes | None,
    key: bytes | None = b"k",
    *,
    source: str | None = None,
    offset: int = 0,
    topic: str = CATALOGUE_ITEMS,
    at_ms: int = NOW,
) -> MemoryRecord:
    headers = (("veilstream-source", source.encode()),) if source is not None else ()
    return MemoryRecord(topic, 0, offset, at_ms, key, value, headers)

"""The ingest stage over real codecs, with a fixed clock: a record in, clean events and dead letters out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nacl.public import PrivateKey

from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer, Sealer
from streams.serde import local_codecs
from streams.settings import Settings
from streams.sources.loading import presets
from streams.sources.mapping import SourceMapping, read_mapping
from streams.sources.source import Source
from streams.sources.sources import Sources
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, DEAD_LETTER
from tests.support.stage_keys import SIGNING_KEY, opened_id

NOW = 1_795_755_600_000
"""2026-11-27T05:00:00Z"""
CODECS = local_codecs()
SUBSCRIBER, RECOVERY = PrivateKey.generate(), PrivateKey.generate()
RULES = IngestRules.from_settings(Settings(default_region=None, k=1))
HASHES = Pseudonymizer(PseudonymKey("k1", b"k" * 32))
JSON = (("content-type", b"application/json"),)


class NoState:
    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {}


class Outcome(NamedTuple):
    """What a batch became."""

    result: BatchResult
    events: list[dict[str, Any]]
    letters: list[dict[str, Any]]

    @property
    def users(self) -> list[str]:
        return [opened_id(SUBSCRIBER, event) for event in self.events]


def make_stage(rules: IngestRules = RULES, mappings: Sequence[SourceMapping] = (), **options: Any) -> IngestStage:
    """With the presets, and these mappings beside them; ``options`` are those of Sources, ``watch``, ``consents``, or
    of a rotation ``hashes``, ``former`` and ``moves``."""
    clock = FixedClock(NOW)
    watch, consents = options.pop("watch", None), options.pop("consents", None)
    hashes, former, moves = options.pop("hashes", HASHES), options.pop("former", None), options.pop("moves", None)
    known = {name: Source(mapping) for name, mapping in (presets() | {mapping.name: mapping for mapping in mappings}).items()}
    return IngestStage(
        codecs=CODECS,
        pseudonymizer=hashes,
        sealer=IdSealer(SUBSCRIBER.public_key, SIGNING_KEY),
        dead_letters=DeadLetterBuilder(
            CODECS.for_topic(DEAD_LETTER), Sealer(RECOVERY.public_key), "ingest", clock, 262_144, signing_key=SIGNING_KEY
        ),
        rules=rules,
        clock=clock,
        sources=Sources(CODECS.for_topic(BEHAVIOUR_RAW), known, **options),
        watch=watch,
        consents=consents,
        former=former,
        moves=moves,
    )


def run(stage: IngestStage, records: Sequence[MemoryRecord]) -> Outcome:
    async def call() -> BatchResult:
        return await stage(list(records), NoState())

    result = asyncio.run(call())

    def values(topic: str) -> list[dict[str, Any]]:
        return [CODECS.for_topic(topic).decode(output.value) for output in result.outputs if output.topic == topic]

    return Outcome(result, values(BEHAVIOUR_CLEAN), values(DEAD_LETTER))


def record(
    value: Any,
    *headers: tuple[str, bytes],
    offset: int = 0,
    key: bytes | None = None,
    source: str | None = None,
    topic: str = BEHAVIOUR_RAW,
) -> MemoryRecord:
    """A record of JSON (or of bytes as they are) with these headers, those of JSON if there are none."""
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    named = (("veilstream-source", source.encode()),) if source is not None else ()
    return MemoryRecord(topic, 0, offset, NOW, key, data, (*named, *headers) or JSON)


def feed(value: Any, *headers: tuple[str, bytes], source: str | None = None, mapping: str | None = None) -> Outcome:
    """What one record becomes, by a preset, by the text of a mapping, or in the product's own form."""
    if mapping is None:
        return run(make_stage(), [record(value, *headers, source=source)])
    read = read_mapping(mapping, "test.yaml")
    return run(make_stage(mappings=[read]), [record(value, *headers, source=read.name)])

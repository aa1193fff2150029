"""A small shop in memory for tests of the profile stage: items with vectors, a board, the stage, its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
from nacl.public import PrivateKey

from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord
from streams.models.hotswap.serving_model import OneModel
from streams.privacy.moves import MovesReader
from streams.privacy.seal import Sealer
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.serde.codec import local_codecs
from streams.serde.vectors import to_bytes, vector_key
from streams.stages.profile.stage import ProfileStage
from streams.topics import BEHAVIOUR_CLEAN, DEAD_LETTER, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS, PROFILE_LINKS, RECOMMENDATIONS
from tests.support.rules import profile_rules
from tests.support.stage_keys import SIGNING_KEY

CODECS = local_codecs()
START_MS = 1_700_000_000_000 // 60_000 * 60_000
DIMENSION = 32
VERSION = "hashing"

_WORDS = (
    "red",
    "blue",
    "metal",
    "lunch",
    "box",
    "candle",
    "holder",
    "clock",
    "paper",
    "tea",
    "set",
    "garden",
    "sign",
    "heart",
    "bag",
    "retro",
)
BLOCKED = frozenset({"i007", "i021"})
TITLES = {f"i{n:03d}": " ".join(_WORDS[(n * step) % len(_WORDS)] for step in (1, 3, 7)) for n in range(60)}


class MemoryState(dict[bytes, bytes]):
    """A StateView over a dict."""

    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {key: self[key] for key in keys if key in self}

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


def vector_record(item_id: str, vector: np.ndarray, offset: int = 0, *, recommendable: bool = True, version: str = VERSION) -> MemoryRecord:
    value = CODECS.for_topic(ITEMS_VECTORS).encode(
        {
            "item_id": item_id,
            "model_version": version,
            "vector": to_bytes(vector.astype(np.float32)),
            "text_hash": "0" * 32,
            "recommendable": recommendable,
            "category": None,
            "price_band": None,
            "encoded_at": START_MS,
        }
    )
    return MemoryRecord(ITEMS_VECTORS, 0, offset, START_MS, vector_key(version, item_id), value)


def popularity_record(item_id: str, count: float, as_of: int, source_offset: int, partition: int = 0) -> MemoryRecord:
    value = CODECS.for_topic(ITEMS_POPULARITY).encode({"item_id": item_id, "count": count, "as_of": as_of, "source_offset": source_offset})
    return MemoryRecord(ITEMS_POPULARITY, partition, 0, as_of, item_id.encode(), value)


@cache
def catalogue_records() -> tuple[MemoryRecord, ...]:
    """The items' vectors, as the catalogue stage writes them."""
    vectors = HashingEncoder(DIMENSION, VERSION).encode(list(TITLES.values()))
    return tuple(vector_record(i, v, recommendable=i not in BLOCKED) for i, v in zip(TITLES, vectors, strict=True))


def event(
    number: int, user: str, event_type: str, item_id: str | None = None, *, at_s: float = 0, query: str | None = None
) -> dict[str, Any]:
    """A CleanEvent ``at_s`` seconds after the start; its id follows from ``number``."""
    return {
        "event_id": blake2b(b"%d" % number, digest_size=16).hexdigest(),
        "pseudonym": f"k1.{user}",
        "sealed_id": b"sealed " + user.encode(),
        "event_type": event_type,
        "occurred_at": START_MS + int(at_s * 1000),
        "item_id": item_id,
        "query": query,
        "quantity": 1,
        "price_band": None,
        "currency": None,
        "country": None,
        "recommendation_id": None,
        "position": None,
        "session": None,
        "flags": [],
        "linked_to": None,
        "refused": [],
        "request_id": None,
        "move": None,
    }


def identify(number: int, user: str, linked_to: str, *, at_s: float = 0) -> dict[str, Any]:
    """The CleanEvent by which one shopper turns out to be another."""
    return event(number, user, "identify", at_s=at_s) | {"linked_to": f"k1.{linked_to}"}


def link_records(outputs: Iterable[OutputRecord], *, partition: int = 0, first: int = 0) -> list[MemoryRecord]:
    """The links among the outputs, as they are read back."""
    found = [output for output in outputs if output.topic == PROFILE_LINKS]
    return [MemoryRecord(PROFILE_LINKS, partition, offset, START_MS, o.key, o.value) for offset, o in enumerate(found, start=first)]


def event_records(events: Iterable[dict[str, Any]], *, partition: int = 0, first: int = 0) -> list[MemoryRecord]:
    encode = CODECS.for_topic(BEHAVIOUR_CLEAN).encode
    return [
        MemoryRecord(BEHAVIOUR_CLEAN, partition, offset, e["occurred_at"], e["pseudonym"].encode(), encode(e))
        for offset, e in enumerate(events, start=first)
    ]


@dataclass
class ProfileHarness:
    """``texts`` collects what the encoder was asked for."""

    blocked = BLOCKED

    rules: ProfileRules = field(default_factory=lambda: profile_rules(threshold=0.05, top_k=5, popularity_breadth=1))
    state: MemoryState = field(default_factory=MemoryState)
    texts: list[str] = field(default_factory=list)
    moves: MovesReader | None = None

    def __post_init__(self) -> None:
        harness = self
        hashing = HashingEncoder(DIMENSION, VERSION)

        class Noting(MicroBatcher):
            async def encode_many(self, texts: Sequence[str]) -> np.ndarray:
                harness.texts += texts
                return await super().encode_many(texts)

        self.matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, DIMENSION)
        self.matrix.apply(catalogue_records())
        self.popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), self.rules.popularity_half_life_ms)
        self.together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), self.rules.together.half_life_ms)
        self.recovery = PrivateKey.generate()
        self.encoder = Noting(hashing)
        self.restart()

    def restart(self) -> None:
        """A fresh stage on the same state: what a crash leaves."""
        dead_letters = DeadLetterBuilder(
            CODECS.for_topic(DEAD_LETTER),
            Sealer(self.recovery.public_key),
            "profile",
            FixedClock(START_MS),
            10_000,
            signing_key=SIGNING_KEY,
        )
        self.stage = ProfileStage(
            codecs=CODECS,
            models=OneModel(self.encoder, self.matrix, self.rules),
            popularity=self.popularity,
            together=self.together,
            dead_letters=dead_letters,
            rules=self.rules,
            moves=self.moves,
        )

    async def run(self, records: Sequence[MemoryRecord]) -> BatchResult:
        """One batch, and its state written."""
        result = await self.stage(records, self.state)
        self.state.write(result.state)
        return result

    def publish(self, outputs: Iterable[OutputRecord]) -> None:
        """Let the stage read the popularity among the outputs back."""
        self.popularity.apply(
            [MemoryRecord(o.topic, o.partition or 0, 0, 0, o.key, o.value) for o in outputs if o.topic == ITEMS_POPULARITY]
        )


def consent(number: int, user: str, *refused: str) -> dict[str, Any]:
    return event(number, user, "consent") | {"refused": list(refused), "sealed_id": b""}


def of_topic(outputs: Iterable[OutputRecord], topic: str) -> list[OutputRecord]:
    return [output for output in outputs if output.topic == topic]


def recommendations(outputs: Iterable[OutputRecord]) -> list[dict[str, Any]]:
    decode = CODECS.for_topic(RECOMMENDATIONS).decode
    return [decode(output.value) for output in of_topic(outputs, RECOMMENDATIONS)]


def popularity(outputs: Iterable[OutputRecord]) -> dict[str, tuple[float, int, int]]:
    """The last word on each item."""
    decode = CODECS.for_topic(ITEMS_POPULARITY).decode
    values = [decode(output.value) for output in of_topic(outputs, ITEMS_POPULARITY)]
    return {v["item_id"]: (v["count"], v["as_of"], v["source_offset"]) for v in values}

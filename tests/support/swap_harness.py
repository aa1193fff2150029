"""Profile and catalogue models over topics in memory, with a real store of signed versions; encoders without weights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nacl.public import PrivateKey
from nacl.signing import SigningKey
from prometheus_client import CollectorRegistry

from encoders.batching.batched_encoder import BatchedEncoder
from encoders.engines.engine import Vectors
from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError
from streams.models.hotswap.announced import AnnouncedModels, Apply
from streams.models.hotswap.built_model import BuiltModel
from streams.models.hotswap.completeness import FIELDS, Completeness
from streams.models.hotswap.loading import ModelLoader
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.hotswap.profile_models import ProfileModels
from streams.models.registry.announcement import Announcement, announce, sign_announcement, withdraw
from streams.models.registry.channels import Channels
from streams.models.registry.known import KnownAnnouncements
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore
from streams.privacy.seal import Sealer
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.stages.profile.stage import ProfileStage
from streams.topics import DEAD_LETTER, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS, MODELS
from tests.support.model_folders import manifest_of, write_folder
from tests.support.profile_harness import CODECS, DIMENSION, START_MS, TITLES, MemoryState, recommendations, vector_record
from tests.support.rules import profile_rules
from tests.support.stage_keys import SIGNING_KEY
from tests.support.waiting import until

A, B, C = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"
KEY = SigningKey(bytes(range(32)))


class Model(HashingEncoder):
    """Each version sees other words: its vectors are its own."""

    def __init__(self, version: str, dimension: int = DIMENSION) -> None:
        super().__init__(dimension, version)
        self.closed = False

    def encode(self, texts: Sequence[str]) -> Vectors:
        assert not self.closed
        return super().encode([f"{self.version[0]}{text[::-1]}{self.version}" for text in texts])

    def close(self) -> None:
        self.closed = True


class Topic:
    """A log that followers read from its beginning."""

    def __init__(self) -> None:
        self.records: list[MemoryRecord] = []
        self.readers: list[Apply] = []

    def write(self, records: Iterable[MemoryRecord]) -> None:
        new = list(records)
        self.records += new
        for apply in self.readers:
            apply(new)

    def follow(self, apply: Apply) -> TopicReader:
        return TopicReader(self, apply)


class TopicReader:
    topic = "in memory"

    def __init__(self, log: Topic, apply: Apply) -> None:
        self._log = log
        self._apply = apply

    async def start(self, partitions: int) -> None:
        self._apply(self._log.records)
        self._log.readers.append(self._apply)

    async def stop(self) -> None:
        if self._apply in self._log.readers:
            self._log.readers.remove(self._apply)

    async def caught_up(self, partition: int | None = None) -> None:
        """It always is."""


@dataclass
class SwapHarness:
    """The base model is A; ``share`` of the items must be there."""

    folder: Path
    rules: ProfileRules = field(default_factory=lambda: profile_rules(threshold=-2.0, top_k=3, search_blend=1.0, recommended_cooldown_ms=0))

    def __post_init__(self) -> None:
        self.vectors, self.announcements = Topic(), Topic()
        self.store = ModelStore(str(self.folder / "store"))
        self.loaded: list[Model] = []
        self.served: dict[str, Model] = {}
        self.announced_at = 0
        self.state = MemoryState()
        self.now_s = 0.0
        self.real_dimensions: dict[str, int] = {}
        self.put(A, TITLES)

    # what others do

    def put(self, version: str, titles: Iterable[str], *, prefix: str = "", at: int = START_MS) -> None:
        """The catalogue worker writes items, by id, with their titles behind ``prefix``."""
        ids = list(titles)
        encoded = Model(version).encode([prefix + TITLES.get(i, i) for i in ids])
        self.vectors.write(_hashed(vector_record(i, v, version=version), prefix, at) for i, v in zip(ids, encoded, strict=True))

    def publish(self, version: str, *, key: SigningKey = KEY, **changes: Any) -> Manifest:
        source = write_folder(self.folder / f"source {version}", weights=version.encode(), dimension=changes.get("dimension", DIMENSION))
        return self.store.publish(source, manifest_of(source, version, **{"dimension": DIMENSION, "parent": None} | changes), key)

    def promote(self, manifest: Manifest, share: float | None = None, *, key: SigningKey = KEY, **changes: Any) -> Announcement:
        self.announced_at += 1
        location = self.store.location(manifest.model_version)
        channel: Any = "stable" if share is None else "canary"
        announcement = announce(
            manifest, location, channel, announced_at=self.announced_at, counter=self.announced_at, canary_share=share or 0.0
        )
        self.say(announcement, key=key)
        return announcement

    def withdraw(self, current: Announcement) -> None:
        self.announced_at += 1
        self.say(withdraw(current, announced_at=self.announced_at, counter=self.announced_at))

    def say(self, announcement: Announcement, *, key: SigningKey = KEY) -> None:
        value = CODECS.for_topic(MODELS).encode(sign_announcement(announcement, key))
        self.announcements.write([MemoryRecord(MODELS, 0, 0, 0, announcement.channel.encode(), value)])

    # the worker

    def load(self, name_or_path: str) -> Model:
        """By the folder's name, as an encoder's version follows from its files."""
        version = A if name_or_path == "base" else Path(name_or_path).name
        if version == "dddddddddddd":
            raise ConfigurationError("it can't be loaded")
        model = Model({"eeeeeeeeeeee": A}.get(version, version), self.real_dimensions.get(version, DIMENSION))
        self.loaded.append(model)
        return model

    def known(self) -> KnownAnnouncements:
        return KnownAnnouncements(self.folder / "cache", MODELS, self.store.root, KEY.verify_key)

    async def start(self) -> None:
        self.registry = CollectorRegistry()
        metrics = ModelMetrics(self.registry)
        channels = Channels(CODECS.for_topic(MODELS), KEY.verify_key)
        announced = AnnouncedModels(channels, self.announcements.follow, metrics, self.known(), retry_s=0.05)
        loader = ModelLoader(self.load, "base", self.folder / "cache", KEY.verify_key, metrics)
        clock = self._now
        self.models = ProfileModels(
            topic=ITEMS_VECTORS, announced=announced, loader=loader, build=self._build, rules=self.rules, metrics=metrics, monotonic=clock
        )
        await self.models.start(1)
        letters = DeadLetterBuilder(
            CODECS.for_topic(DEAD_LETTER), Sealer(PrivateKey.generate().public_key), "p", FixedClock(0), 0, signing_key=SIGNING_KEY
        )
        popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), self.rules.popularity_half_life_ms)
        together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), self.rules.together.half_life_ms)
        self.stage = ProfileStage(
            codecs=CODECS, models=self.models, popularity=popularity, together=together, dead_letters=letters, rules=self.rules
        )

    async def stop(self) -> None:
        await self.models.stop()
        await self.models.close()

    async def answers(self, records: Sequence[MemoryRecord]) -> list[dict[str, Any]]:
        result = await self.stage(records, self.state)
        self.state.write(result.state)
        assert result.rejected == 0
        return recommendations(result.outputs)

    @property
    def serving(self) -> tuple[str, str | None]:
        """Versions of stable and canary."""
        with self.models.use() as routing:
            return routing.stable.version, None if routing.canary is None else routing.canary.version

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, lambda: f"still {self.serving}")

    async def settle(self) -> None:
        """Longer than the worker takes to look again."""
        await asyncio.sleep(0.5)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"veilstream_{name}", labels)

    def _now(self) -> float:
        return self.now_s

    def _build(self, encoder: Any) -> BuiltModel:
        matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), encoder.version, encoder.dimension)
        completeness = Completeness(CODECS.reading(ITEMS_VECTORS, FIELDS), encoder.version)
        return BuiltModel(BatchedEncoder(encoder), matrix, completeness, self.vectors.follow, self._now)


def _hashed(record: MemoryRecord, text: str, at: int) -> MemoryRecord:
    codec = CODECS.for_topic(ITEMS_VECTORS)
    return record._replace(value=codec.encode({**codec.decode(record.value), "text_hash": text, "encoded_at": at}))


def cosine(version: str, query: str, title: str) -> float:
    """What the version's own vectors give."""
    q, v = Model(version).encode([query, title])
    return float(np.dot(q, v))

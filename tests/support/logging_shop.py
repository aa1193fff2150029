"""A shop on several partitions, in memory: a profile stage with a ranker whose boards lag behind their topics, as on a broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from nacl.public import PrivateKey

from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import MemoryRecord, SourceRecord
from streams.models.hotswap.query_vectors import QueryVectors
from streams.models.hotswap.serving_model import OneModel
from streams.privacy.seal import Sealer
from streams.ranking.learned.model import Ranker
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.stages.profile.rebuild import Checked, LoggingModel, Topics, rebuild, requests_of, texts_of
from streams.stages.profile.stage import ProfileStage
from streams.topics import (
    BEHAVIOUR_CLEAN,
    DEAD_LETTER,
    ITEMS_POPULARITY,
    ITEMS_TOGETHER,
    ITEMS_VECTORS,
    RANKING_FEATURES,
    RECOMMENDATIONS,
)
from tests.support.learned_shop import ITEMS, WIDTH, WORDS, additive_ranker, item_record, shop
from tests.support.profile_harness import CODECS, START_MS, VERSION, MemoryState, event
from tests.support.rules import profile_rules
from tests.support.stage_keys import SIGNING_KEY

PARTITIONS = 3
_BOARDS = (ITEMS_VECTORS, ITEMS_POPULARITY, ITEMS_TOGETHER)
_PLAIN = profile_rules(threshold=-100.0, top_k=5, logged_share=1.0, debounce_ms=600_000)
RULES = replace(_PLAIN, together=replace(_PLAIN.together, shoppers=2))


@dataclass
class LoggingShop:
    """``topics``: all that was written, by topic and partition."""

    rules: ProfileRules = RULES
    ranker: Ranker | None = field(default_factory=lambda: additive_ranker(1, shop().related))
    topics: dict[str, dict[int, list[MemoryRecord]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    states: dict[int, MemoryState] = field(default_factory=lambda: defaultdict(MemoryState))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another worker: it knows nothing yet of the boards."""
        self.encoder = HashingEncoder(WIDTH, VERSION)
        self.matrix = WhitenedItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
        self.popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), self.rules.popularity_half_life_ms)
        self.together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), self.rules.together.half_life_ms)
        self.read: dict[tuple[str, int], int] = {}
        self.stage = ProfileStage(
            codecs=CODECS,
            models=OneModel(MicroBatcher(self.encoder), self.matrix, self.rules, self.ranker),
            popularity=self.popularity,
            together=self.together,
            dead_letters=DeadLetterBuilder(
                CODECS.for_topic(DEAD_LETTER),
                Sealer(PrivateKey.generate().public_key),
                "profile",
                FixedClock(START_MS),
                10_000,
                signing_key=SIGNING_KEY,
            ),
            rules=self.rules,
        )

    def write(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> MemoryRecord:
        log = self.topics[topic][partition]
        log.append(MemoryRecord(topic, partition, len(log), START_MS, key, value))
        return log[-1]

    def put_items(self, rng: np.random.Generator, items: Sequence[str]) -> None:
        """New vectors, prices and titles for items."""
        for item in items:
            n = ITEMS.index(item)
            vector = rng.standard_normal(WIDTH)
            record = item_record(
                item,
                vector / np.linalg.norm(vector),
                category=None if n % 7 == 0 else f"c{n % 5}",
                band=None if n % 11 == 0 else int(rng.integers(13)),
                title=f"{WORDS[n % 6]} {WORDS[(n // 6) % 6]}",
            )
            self.write(ITEMS_VECTORS, n % PARTITIONS, record.key, record.value)

    def follow(self, rng: np.random.Generator | None = None) -> None:
        """The boards read on in any order, not all that there is; without ``rng`` all of it."""
        places = [(topic, partition) for topic in _BOARDS for partition in range(PARTITIONS)]
        for place in np.asarray(places, object)[rng.permutation(len(places))] if rng is not None else places:
            topic, partition = place
            log = self.topics[topic][partition]
            begun = self.read.get((topic, partition), 0)
            end = len(log) if rng is None else begun + int(rng.integers(0, len(log) - begun + 1))
            if end > begun:
                {ITEMS_VECTORS: self.matrix, ITEMS_POPULARITY: self.popularity, ITEMS_TOGETHER: self.together}[topic].apply(log[begun:end])
                self.read[topic, partition] = end

    async def run(self, partition: int, events: Sequence[dict[str, Any]]) -> None:
        """One batch of a partition; its outputs and its state are written."""
        encode = CODECS.for_topic(BEHAVIOUR_CLEAN).encode
        batch = [self.write(BEHAVIOUR_CLEAN, partition, one["pseudonym"].encode(), encode(one)) for one in events]
        await self.repeat(partition, batch)

    async def repeat(self, partition: int, batch: Sequence[SourceRecord]) -> None:
        result = await self.stage(batch, self.states[partition])
        for output in result.outputs:
            self.write(output.topic, partition, output.key, output.value)
        self.states[partition].write(result.state)

    def values(self, topic: str) -> list[dict[str, Any]]:
        decode = CODECS.for_topic(topic).decode
        return [decode(record.value) for partition in sorted(self.topics[topic]) for record in self.topics[topic][partition]]

    @property
    def logs(self) -> list[Any]:
        return self.values(RANKING_FEATURES)

    @property
    def recommendations(self) -> dict[str, Any]:
        """By id."""
        return {value["recommendation_id"]: value for value in self.values(RECOMMENDATIONS)}

    async def check(self, logs: Sequence[Any] | None = None) -> list[Checked]:
        """The logs, rebuilt from the topics."""
        assert self.ranker is not None
        wanted = requests_of(self.logs if logs is None else logs, self.topics[BEHAVIOUR_CLEAN], CODECS, self.rules)
        queries = await QueryVectors(MicroBatcher(self.encoder)).lookup(texts_of(wanted))
        topics = Topics(*(self.topics[name] for name in (BEHAVIOUR_CLEAN, *_BOARDS)))
        return list(rebuild(wanted, topics, CODECS, LoggingModel(VERSION, WIDTH, self.ranker, self.rules), [{}, queries]))


def some_events(rng: np.random.Generator, first: int, count: int) -> dict[int, list[dict[str, Any]]]:
    """Of twelve shoppers, by partition, in order of time; numbers from ``first``."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for number in range(first, first + count):
        user = int(rng.integers(12))
        kind = str(rng.choice(["view", "click", "cart", "purchase", "purchase", "dismiss", "return", "search"]))
        item = None if kind == "search" else ITEMS[int(rng.integers(12 if kind == "purchase" else 40))]
        query = f"{rng.choice(WORDS)} {rng.choice(WORDS)}" if kind == "search" else None
        found[user % PARTITIONS].append(event(number, f"u{user}", kind, item, at_s=number * 30, query=query))
    return found


async def busy_shop(seed: int, batches: int = 12, *, restart_after: int | None = None, **changes: Any) -> LoggingShop:
    """Events, changes of the catalogue and boards that lag behind."""
    rng = np.random.default_rng(seed)
    found = LoggingShop(**changes)
    found.put_items(rng, ITEMS[:120])
    found.follow()
    for number in range(batches):
        if number == restart_after:
            found.restart()
        for partition, events in some_events(rng, number * 30, 30).items():
            await found.run(partition, events)
            found.follow(rng)
        if number % 3 == 2:
            found.put_items(rng, [ITEMS[n] for n in rng.choice(len(ITEMS), 12, replace=False)])
    return found

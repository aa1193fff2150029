"""The simulated shop before the stages' own handlers, in memory: no broker, one partition, and a clock that the shop moves.

What serves can be replaced at any moment (``branch``): topics and tables go on as they are, as after a take-over by another worker. So
several ways of ranking can be compared on one and the same past.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams import topics
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.memory_table import MemoryTable
from streams.engine.ports import FloatArray, TextEncoder
from streams.engine.records import BatchResult, MemoryRecord
from streams.models.hotswap.active_encoders import OneEncoder
from streams.models.hotswap.query_vectors import QueryVectors
from streams.models.hotswap.serving_model import OneModel
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer, Sealer
from streams.ranking.learned.model import Ranker
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.codec import Codecs
from streams.serde.records import Recommendation, TrainingPair
from streams.settings import Settings
from streams.simulator.catalogue import ShopItem
from streams.simulator.shop import Emission, Shop
from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
from streams.stages.feedback.stage import FeedbackRules, FeedbackStage
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.stage import IngestStage
from streams.stages.profile.stage import ProfileStage

Deliver = Callable[[Recommendation, str, int], object]
"""Shows a recommendation to its shopper (user id) at a time, milliseconds."""


@dataclass
class Kept:
    """What a shop's pipeline leaves behind: enough to go on from."""

    offsets: dict[str, int] = field(default_factory=dict)
    """Next offset by topic."""
    compacted: dict[str, dict[bytes, MemoryRecord]] = field(default_factory=dict)
    """Last record of each key, by topic, of those that read models are made of."""
    tables: dict[str, MemoryTable] = field(
        default_factory=lambda: {stage: MemoryTable() for stage in ("catalogue", "ingest", "profile", "feedback")}
    )
    pairs: list[TrainingPair] = field(default_factory=list)


class MemoryShop:
    """One shop, one partition."""

    def __init__(
        self,
        shop: Shop,
        settings: Settings,
        codecs: Codecs,
        encoder: TextEncoder,
        start_ms: int,
        *,
        rules: ProfileRules | None = None,
        ranker: Ranker | None = None,
        kept: Kept | None = None,
        learns: bool = False,
        key: PseudonymKey | None = None,
    ) -> None:
        """``learns``: whether training pairs are made (``pairs``). Without ``rules`` the settings decide."""
        self.shop = shop
        self.rules = ProfileRules.from_settings(settings) if rules is None else rules
        self.deliver: Deliver = shop.receive
        self.on_event: Callable[[Emission], None] | None = None
        """Is told of every event that is sent."""
        self._settings, self._codecs, self._encoder, self._learns = settings, codecs, encoder, learns
        self._kept = Kept() if kept is None else kept
        self._clock = FixedClock(start_ms)
        # The same keys for every shop of a seed: where a rule hangs on a hash, two runs must not differ.
        self._key = PseudonymKey("sim", bytes(range(32))) if key is None else key
        pseudonymizer = Pseudonymizer(self._key)
        self._users = {pseudonymizer.pseudonym(shopper.user_id): shopper.user_id for shopper in shop.shoppers}
        public, signing_key = PrivateKey.generate().public_key, SigningKey.generate()

        def letters(stage: str) -> DeadLetterBuilder:
            codec = codecs.for_topic(topics.DEAD_LETTER)
            return DeadLetterBuilder(codec, Sealer(public), stage, self._clock, 0, signing_key=signing_key)

        self.matrix = WhitenedItemMatrix(codecs.for_topic(topics.ITEMS_VECTORS), encoder.version, encoder.dimension)
        popularity = PopularityTable(codecs.for_topic(topics.ITEMS_POPULARITY), self.rules.popularity_half_life_ms)
        together = TogetherTable(codecs.for_topic(topics.ITEMS_TOGETHER), self.rules.together.half_life_ms)
        self._models = {
            topics.ITEMS_VECTORS: self.matrix.apply,
            topics.ITEMS_POPULARITY: popularity.apply,
            topics.ITEMS_TOGETHER: together.apply,
        }
        for topic, records in self._kept.compacted.items():
            self._models[topic](list(records.values()))
        self._stages: dict[str, Any] = {
            "catalogue": CatalogueStage(
                codecs=codecs,
                models=OneEncoder(encoder),
                dead_letters=letters("catalogue"),
                rules=CatalogueRules.from_settings(settings),
                clock=self._clock,
            ),
            "ingest": IngestStage(
                codecs=codecs,
                pseudonymizer=pseudonymizer,
                sealer=IdSealer(public, signing_key),
                dead_letters=letters("ingest"),
                rules=IngestRules.from_settings(settings),
                clock=self._clock,
            ),
            "profile": ProfileStage(
                codecs=codecs,
                models=OneModel(encoder, self.matrix, self.rules, ranker),
                popularity=popularity,
                together=together,
                dead_letters=letters("profile"),
                rules=self.rules,
            ),
            "feedback": FeedbackStage(
                codecs=codecs, dead_letters=letters("feedback"), rules=FeedbackRules.from_settings(settings), clock=self._clock
            ),
        }

    @property
    def now_ms(self) -> int:
        return self._clock.now_ms()

    @property
    def pairs(self) -> list[TrainingPair]:
        """The training pairs that the feedback stage has written."""
        return self._kept.pairs

    def query_vectors(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """The vectors of query texts in the space of the items."""
        queries = QueryVectors(self._encoder)
        return queries.transformed(asyncio.run(queries.lookup(texts)), self.matrix)

    def branch(self, rules: ProfileRules, ranker: Ranker | None) -> MemoryShop:
        """The same shop, shoppers and past under other rules and another ranker. Neither changes the other from here on."""
        kept = Kept(
            dict(self._kept.offsets),
            {topic: dict(records) for topic, records in self._kept.compacted.items()},
            {stage: MemoryTable(dict(table.values)) for stage, table in self._kept.tables.items()},
        )
        return MemoryShop(
            copy.deepcopy(self.shop),
            self._settings,
            self._codecs,
            self._encoder,
            self.now_ms,
            rules=rules,
            ranker=ranker,
            kept=kept,
            key=self._key,
        )

    def publish(self, items: Sequence[ShopItem]) -> None:
        """Put items into the catalogue."""
        codec = self._codecs.for_topic(topics.CATALOGUE_ITEMS)
        records = self._append(topics.CATALOGUE_ITEMS, [(item.item_id.encode(), codec.encode(item.value), ()) for item in items])
        asyncio.run(self._process("catalogue", records))

    def run(self, until_ms: int, tick_ms: int) -> None:
        """Let the time pass. In every tick shoppers act, the stages answer, and the answers are seen at its end."""
        asyncio.run(self._run(until_ms, tick_ms))

    async def _run(self, until_ms: int, tick_ms: int) -> None:
        raw = self._codecs.for_topic(topics.BEHAVIOUR_RAW)
        decode = self._codecs.for_topic(topics.RECOMMENDATIONS).decode
        while self.now_ms < until_ms:
            now_ms = min(until_ms, self.now_ms + tick_ms)
            self._clock.set(now_ms)
            sent = self.shop.step(now_ms)
            if self.on_event is not None:
                for emission in sent:
                    self.on_event(emission)
            events = [(e.key, e.value if isinstance(e.value, bytes) else raw.encode(e.value), tuple(e.headers)) for e in sent]
            ingested = await self._process("ingest", self._append(topics.BEHAVIOUR_RAW, events))
            clean = ingested.get(topics.BEHAVIOUR_CLEAN, [])
            answers = (await self._process("profile", clean)).get(topics.RECOMMENDATIONS, [])
            if self._learns:
                for batch in (clean, answers):
                    self._pair((await self._process("feedback", batch)).get(topics.TRAINING_PAIRS, []))
            for answer in answers:
                value = cast(Recommendation, decode(answer.value, ()))
                user_id = self._users[value["pseudonym"]]
                self.deliver(value, user_id, now_ms)

    def _pair(self, records: Sequence[MemoryRecord]) -> None:
        decode = self._codecs.for_topic(topics.TRAINING_PAIRS).decode
        self._kept.pairs += [cast(TrainingPair, decode(record.value, ())) for record in records]

    def _append(self, topic: str, values: Sequence[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]) -> list[MemoryRecord]:
        first = self._kept.offsets.get(topic, 0)
        self._kept.offsets[topic] = first + len(values)
        return [MemoryRecord(topic, 0, first + place, self.now_ms, *value) for place, value in enumerate(values)]

    async def _process(self, stage: str, batch: Sequence[MemoryRecord]) -> dict[str, list[MemoryRecord]]:
        """What the stage writes of one batch, by topic. Its state and the read models follow."""
        if not batch:
            return {}
        table = self._kept.tables[stage]
        result: BatchResult = await self._stages[stage](batch, table)
        table.apply(result.state)
        written: dict[str, list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]] = {}
        for output in result.outputs:
            written.setdefault(output.topic, []).append((output.key, output.value, output.headers))
        found = {topic: self._append(topic, values) for topic, values in written.items()}
        for topic, apply in self._models.items():
            if topic in found:
                apply(found[topic])
                self._kept.compacted.setdefault(topic, {}).update((record.key or b"", record) for record in found[topic])
        return found

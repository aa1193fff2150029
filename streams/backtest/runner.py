"""Runs the stages' own handlers over records in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, cast

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from streams import topics
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.memory_table import MemoryTable
from streams.engine.ports import TextEncoder
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord
from streams.models.hotswap.active_encoders import OneEncoder
from streams.models.hotswap.query_vectors import QueryVectors
from streams.models.hotswap.serving_model import OneModel
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer, Sealer
from streams.ranking.learned.model import Ranker
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Request
from streams.ranking.rules import ProfileRules
from streams.ranking.together_table import TogetherTable
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.codec import Codecs
from streams.serde.records import CleanEvent, TrainingPair
from streams.settings import Settings
from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.stage import IngestStage
from streams.stages.profile.links import whole_of
from streams.stages.profile.profile import load_profile
from streams.stages.profile.stage import ProfileStage
from streams.training.learned.fit import Fitted, OnStep, RankerRule, fit_ranker
from streams.training.learned.past import PastShop

BATCH = 2000


class Recommended(NamedTuple):
    """One row of the result."""

    user: str
    rank: int
    item: str
    score: float


class Backtest:
    """Catalogue, ingest and profile stage over memory. Nothing is recommended while it learns."""

    def __init__(self, settings: Settings, codecs: Codecs, encoder: TextEncoder, now_ms: int) -> None:
        """``now_ms`` stands for the present: the cutoff."""
        self._codecs = codecs
        self._now_ms = now_ms
        clock = FixedClock(now_ms)
        # Temporary keys: the output of a backtest can't be matched with production.
        self._pseudonymizer = Pseudonymizer(PseudonymKey("bt", bytes(PrivateKey.generate())))
        public, signing_key = PrivateKey.generate().public_key, SigningKey.generate()
        self._rejected: dict[str, int] = {}
        letters = {
            stage: DeadLetterBuilder(codecs.for_topic(topics.DEAD_LETTER), Sealer(public), stage, clock, 0, signing_key=signing_key)
            for stage in ("ingest", "catalogue", "profile")
        }
        self._rules = replace(ProfileRules.from_settings(settings), recommend=False, logged_share=0.0)
        self._matrix = WhitenedItemMatrix(codecs.for_topic(topics.ITEMS_VECTORS), encoder.version, encoder.dimension)
        self._popularity = PopularityTable(codecs.for_topic(topics.ITEMS_POPULARITY), self._rules.popularity_half_life_ms)
        self._together = TogetherTable(codecs.for_topic(topics.ITEMS_TOGETHER), self._rules.together.half_life_ms)
        self._queries = QueryVectors(encoder)
        self._catalogue = CatalogueStage(
            codecs=codecs,
            models=OneEncoder(encoder),
            dead_letters=letters["catalogue"],
            rules=CatalogueRules.from_settings(settings),
            clock=clock,
        )
        self._ingest = IngestStage(
            codecs=codecs,
            pseudonymizer=self._pseudonymizer,
            sealer=IdSealer(public, signing_key),
            dead_letters=letters["ingest"],
            rules=IngestRules.from_settings(settings),
            clock=clock,
        )
        self._profile = ProfileStage(
            codecs=codecs,
            models=OneModel(encoder, self._matrix, self._rules),
            popularity=self._popularity,
            together=self._together,
            dead_letters=letters["profile"],
            rules=self._rules,
        )
        self._profiles = MemoryTable()
        self._items = MemoryTable()
        self._clean_offset = 0

    @property
    def rejected(self) -> dict[str, int]:
        """Dead letters and dropped events by reason."""
        return self._rejected

    @property
    def items(self) -> int:
        """How many items the catalogue has, without those that were refused."""
        return len(self._matrix)

    @property
    def matrix(self) -> WhitenedItemMatrix:
        """The catalogue that was loaded."""
        return self._matrix

    def load_items(self, items: Iterable[Mapping[str, Any]], on_progress: Callable[[int], None]) -> int:
        """Encode the catalogue; how many items there are then."""
        codec = self._codecs.for_topic(topics.CATALOGUE_ITEMS)
        records = (
            MemoryRecord(topics.CATALOGUE_ITEMS, 0, offset, self._now_ms, item["item_id"].encode(), codec.encode(item))
            for offset, item in enumerate(items)
        )
        for batch in batched_records(records):
            result = self._count(asyncio.run(_call(self._catalogue, batch, self._items)))
            self._matrix.apply(_records(result, topics.ITEMS_VECTORS))
            on_progress(len(batch))
        return len(self._matrix)

    def learn(
        self,
        events: Iterable[Mapping[str, Any]],
        on_progress: Callable[[int], None],
        on_clean: Callable[[list[CleanEvent]], None] | None = None,
    ) -> None:
        """Apply raw events, in order of time; ``on_clean`` is given them as ingest passes them on."""
        decode = self._codecs.for_topic(topics.BEHAVIOUR_CLEAN).decode
        codec = self._codecs.for_topic(topics.BEHAVIOUR_RAW)
        records = (MemoryRecord(topics.BEHAVIOUR_RAW, 0, o, self._now_ms, None, codec.encode(event)) for o, event in enumerate(events))
        for batch in batched_records(records):
            ingested = self._count(asyncio.run(_call(self._ingest, batch, MemoryTable())))
            clean = _records(ingested, topics.BEHAVIOUR_CLEAN, self._clean_offset)
            self._clean_offset += len(clean)
            if clean:
                result = self._count(asyncio.run(_call(self._profile, clean, self._profiles)))
                self._popularity.apply(_records(result, topics.ITEMS_POPULARITY))
                self._together.apply(_records(result, topics.ITEMS_TOGETHER))
                if links := _records(result, topics.PROFILE_LINKS):
                    self._count(asyncio.run(_call(self._profile, links, self._profiles)))
            if on_clean is not None:
                on_clean([cast(CleanEvent, decode(record.value)) for record in clean])
            on_progress(len(batch))

    def fit(self, pairs: Sequence[TrainingPair], rule: RankerRule, *, include_seen: bool, on_step: OnStep) -> Fitted | None:
        """A ranker fitted to the pairs of the events that were learned; None where they are too few."""
        past = PastShop(pairs, self._rules, exclude_seen=not include_seen)
        queries = self._queries.transformed(asyncio.run(self._queries.lookup(past.texts)), self._matrix)
        return fit_ranker(past, self._matrix, self._rules, rule, on_step, queries=queries)

    def recommend(
        self,
        users: Sequence[str],
        seen: Mapping[str, set[str]],
        top_k: int,
        on_progress: Callable[[int], None],
        ranker: Ranker | None = None,
    ) -> Iterator[Recommended]:
        """The best items of each user at the cutoff, by the ranker where there is one. ``seen`` are the items that must not be recommended
        again. The threshold is not applied, because a ranking is wanted.
        """
        rules = replace(self._rules, top_k=top_k, threshold=float("-inf"), reasons_max=0)
        self._together.refresh()
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            requests = [self.request(user, seen.get(user, set())) for user in some]
            texts = [text for request in requests for text, _ in request.queries]
            found = asyncio.run(self._queries.lookup(texts))
            queries = self._queries.transformed(found, self._matrix)
            answers = rank(requests, self._matrix, self._popularity, queries, rules, self._together, ranker)
            for user, ranked in zip(some, answers, strict=True):
                scores = ranked.scores.sum(axis=1) if ranked.judged is None else ranked.judged[:, 0]
                for place, (item, score) in enumerate(zip(ranked.items, scores.tolist(), strict=True)):
                    yield Recommended(user, place + 1, item, score)
            on_progress(len(some))

    def request(self, user: str, seen: set[str]) -> Request:
        """What is asked for a user at the cutoff; ``seen`` is what she must not get again."""
        data = self._profiles.values.get(self._pseudonymizer.pseudonym(user).encode())
        if data is None:
            return Request([], [], [], None, sorted(seen), self._now_ms)
        history = whole_of(load_profile(data), self._rules)
        return Request(list(history.items), list(history.items.values()), list(history.queries.items()), None, sorted(seen), self._now_ms)

    def _count(self, result: BatchResult) -> BatchResult:
        for reason, count in Counter(output.reason for output in result.outputs if output.reason is not None).items():
            self._rejected[reason] = self._rejected.get(reason, 0) + count
        for reason, count in result.dropped.items():
            self._rejected[reason] = self._rejected.get(reason, 0) + count
        return result


def batched_records(records: Iterable[MemoryRecord]) -> Iterator[list[MemoryRecord]]:
    """In batches as a broker would hand them over."""
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        yield batch


async def _call(handler: Any, batch: Sequence[MemoryRecord], state: MemoryTable) -> BatchResult:
    result: BatchResult = await handler(batch, state)
    state.apply(result.state)
    return result


def _records(result: BatchResult, topic: str, first_offset: int = 0) -> list[MemoryRecord]:
    mine: list[OutputRecord] = [output for output in result.outputs if output.topic == topic]
    return [MemoryRecord(topic, 0, first_offset + place, 0, output.key, output.value) for place, output in enumerate(mine)]

"""Schedules of the profile stage itself: browsers become users while workers die, stall and take over from one another.

The engine's own parts and the troubles are those of ``world``; the stage is the product's, without a model, and reads its own links back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar, cast

from aiokafka.partitioner import murmur2

from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from streams.engine.handler import BatchHandler
from streams.engine.outputs import Answer
from streams.models.hotswap.serving_model import OneModel
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.together_table import TogetherTable
from streams.serde.records import IDENTIFY, CleanEvent, ProfileLink
from streams.stages.profile.history import apply_event
from streams.stages.profile.links import hand_over, join
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.profile.stage import ProfileStage
from streams.topics import BEHAVIOUR_CLEAN, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS, PROFILE_LINKS
from tests.simulation.broker import DEAD, Broker, Log, Violation, Where
from tests.simulation.scheduler import Stuck
from tests.simulation.worker import PlaceLetters, Worker
from tests.simulation.world import World
from tests.support.profile_harness import CODECS, VERSION, event, identify
from tests.support.rules import profile_rules

# Small histories: links and profiles must fit into the simulated broker's small batches, and bounds must be reached.
RULES = profile_rules(recommend=False, logged_share=0.0, history_size=3, queries_max=2, event_ids_size=6, popularity_weights=(0.0,) * 9)
_DIMENSION = 8
_MODELS = OneModel(
    MicroBatcher(HashingEncoder(_DIMENSION, VERSION)), ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, _DIMENSION), RULES
)
"""Shared by all workers of all schedules: nothing is recommended, so nothing of it changes."""
_KINDS = ("view", "click", "cart", "dismiss", "search")


class LinkBroker(Broker):
    """What is written to the links can be fetched."""

    def produce(self, batches: Mapping[Where, Any]) -> dict[Where, Answer]:
        before = {where: len(self.logs[where].rows) for where in batches if where[0] == PROFILE_LINKS}
        answers = super().produce(batches)
        for where, count in before.items():
            values = [(key or b"", value or b"") for key, value, _ in self.logs[where].rows[count:]]
            if values:
                self.sources[where].append(values)
        self.changed()
        return answers


class LinkWorker(Worker):
    outputs_of: ClassVar[Mapping[str, bool]] = {PROFILE_LINKS: False, DEAD: True}

    def make_handler(self) -> BatchHandler:
        return ProfileStage(
            codecs=CODECS,
            models=_MODELS,
            popularity=PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), RULES.popularity_half_life_ms),
            together=TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), RULES.together.half_life_ms),
            dead_letters=PlaceLetters(),  # type: ignore[arg-type]
            rules=RULES,
        )


class LinkWorld(World):
    make_worker = LinkWorker

    def make_broker(self, rng: Random) -> Broker:
        self._events = 0
        self._sent: list[tuple[Where, tuple[bytes, bytes]]] = []
        broker = LinkBroker(self.scheduler, (BEHAVIOUR_CLEAN, PROFILE_LINKS), rng.choice((1, 2, 3)))
        broker.logs |= {(PROFILE_LINKS, partition): Log() for partition in range(broker.partitions)}
        return broker

    def _publish_some(self, rng: Random) -> None:
        for _ in range(rng.randrange(1, 6)):
            if self._sent and rng.random() < 0.1:
                where, record = rng.choice(self._sent)  # a producer that sends something twice
            else:
                value = self._something(rng)
                record = (value["pseudonym"].encode(), CODECS.for_topic(BEHAVIOUR_CLEAN).encode(value))
                where = (BEHAVIOUR_CLEAN, self._partition(record[0]))
                self._sent.append((where, record))
            self.broker.sources[where].append([record])
        self.broker.changed()

    def _something(self, rng: Random) -> dict[str, Any]:
        number, at_s = self._events, 60 * self._events
        self._events += 1
        browser, user = f"b{rng.randrange(3)}", f"u{rng.randrange(2)}"
        if rng.random() < 0.3:
            return identify(number, browser, user, at_s=at_s)
        kind, ref = rng.choice(_KINDS), f"i{rng.randrange(4)}"
        shopper = rng.choice((browser, browser, user))
        return event(number, shopper, kind, None if kind == "search" else ref, at_s=at_s, query=ref if kind == "search" else None)

    def _partition(self, key: bytes) -> int:
        return int((murmur2(key) & 0x7FFFFFFF) % self.broker.partitions)

    async def _make_topics_anew(self) -> None:
        """That is the engine's own business: ``world`` plays it."""

    # --- what must be true

    def _profiles_expected(self) -> tuple[dict[bytes, bytes], Counter[bytes]]:
        """All profiles, and the links by their bytes: every event applied once in its partition's order, then every link once."""
        profiles: dict[str, Profile] = {}
        links: list[ProfileLink] = []
        decode = CODECS.for_topic(BEHAVIOUR_CLEAN).decode
        for (topic, _), source in self.broker.sources.items():
            for record, _ in source.visible() if topic == BEHAVIOUR_CLEAN else ():
                one = cast(CleanEvent, decode(record.value))
                profile = profiles.get(one["pseudonym"], Profile())
                if one["event_type"] == IDENTIFY:
                    handed = hand_over(profile, one, record.offset, RULES)
                    if handed is not None:
                        profiles[one["pseudonym"]] = handed.profile
                        links += [handed.link] if handed.link is not None else []
                elif apply_event(profile, one, record.offset, RULES):
                    profiles[one["pseudonym"]] = profile
        for link in links:
            join(profiles.setdefault(link["pseudonym"], Profile()), link, RULES)
        encode = CODECS.for_topic(PROFILE_LINKS).encode
        return {key.encode(): dump_profile(one) for key, one in profiles.items()}, Counter(map(encode, links))

    def _links(self) -> Counter[bytes]:
        return Counter(value or b"" for (topic, _), log in self.broker.logs.items() if topic == PROFILE_LINKS for _, value, _ in log.rows)

    def _state(self) -> dict[bytes, bytes]:
        return {key: value for partition in range(self.broker.partitions) for key, value in self._changelog(partition).items()}

    def _missing(self) -> bool:
        return bool(self._profiles_expected()[1] - self._links())

    def _state_is_right(self) -> bool:
        return self._state() == self._profiles_expected()[0]

    def _judge(self) -> None:
        expected, links = self._profiles_expected()
        if self._links() != links:
            raise Violation(f"links that are too many or too few: {self._links() - links}, {links - self._links()}")
        if any(log.rows for (topic, _), log in self.broker.logs.items() if topic == DEAD):
            raise Violation("a dead letter")
        for (topic, partition), log in self.broker.logs.items():
            if topic == PROFILE_LINKS and any(self._partition(key or b"") != partition for key, _, _ in log.rows):
                raise Violation("a link that is not in the partition of its user")
        found = self._state()
        if found != expected:
            wrong = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
            told = [(key, *(load_profile(one[key]) if key in one else None for one in (found, expected))) for key in wrong]
            raise Violation(f"found and expected: {told}")

    @property
    def linked(self) -> int:
        """How many links there were."""
        return self._links().total()


def play_linking(seed: int) -> str | None:
    """What is wrong with a schedule, and its story; None where all is well."""
    world = LinkWorld(seed)
    try:
        world.play()
    except (Violation, Stuck) as error:
        return f"seed {seed}: {type(error).__name__}: {error}\n{world.traits}\n{'; '.join(world.story)}"
    return None

"""Schedules of the profile stage itself: browsers become users, shoppers refuse, agree and are forgotten, while workers die, stall and take
over from one another.

The engine's own parts and the troubles are those of ``world``; the stage is the product's, without a model, and reads its own links back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, cast

from aiokafka.partitioner import murmur2

from encoders.batching.micro_batcher import MicroBatcher
from encoders.hashing import HashingEncoder
from streams.atrest.partition import MARKER
from streams.engine.handler import BatchHandler
from streams.engine.outputs import Answer
from streams.engine.records import MemoryRecord
from streams.models.hotswap.serving_model import OneModel
from streams.privacy.consent import GATED
from streams.privacy.moves import MovesReader
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.together_table import TogetherTable
from streams.serde.records import CONSENT, ERASE, IDENTIFY, CleanEvent, ProfileLink
from streams.stages.profile.history import apply_event
from streams.stages.profile.links import hand_over, join
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.profile.stage import ProfileStage
from streams.stages.profile.together_counter import is_profile, state_key
from streams.stages.profile.withdrawal import decided, is_held_back, without_item
from streams.topics import BEHAVIOUR_CLEAN, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS, PROFILE_LINKS
from tests.simulation.broker import CHANGELOG, DEAD, Broker, Log, Violation, Where
from tests.simulation.scheduler import Stuck
from tests.simulation.worker import PlaceLetters, Worker
from tests.simulation.world import World
from tests.support.at_once import at_once
from tests.support.profile_harness import CODECS, VERSION, MemoryState, event, identify
from tests.support.rules import profile_rules

# Small histories: links and profiles must fit into the simulated broker's small batches, and bounds must be reached.
RULES = profile_rules(recommend=False, logged_share=0.0, history_size=3, queries_max=2, event_ids_size=6, popularity_weights=(0.0,) * 9)
_DIMENSION = 8
_MODELS = OneModel(
    MicroBatcher(HashingEncoder(_DIMENSION, VERSION)), ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, _DIMENSION), RULES
)
"""Shared by all workers of all schedules: nothing is recommended, so nothing of it changes."""


class LinkBroker(Broker):
    """What is written to the links can be fetched."""

    read_back: ClassVar[str] = PROFILE_LINKS

    def produce(self, batches: Mapping[Where, Any]) -> dict[Where, Answer]:
        before = {where: len(self.logs[where].rows) for where in batches if where[0] == self.read_back}
        answers = super().produce(batches)
        for where, count in before.items():
            values = [(key or b"", value or b"") for key, value, _ in self.logs[where].rows[count:]]
            if values:
                self.sources[where].append(values)
        self.changed()
        return answers


class LinkWorker(Worker):
    outputs_of: ClassVar[Mapping[str, bool]] = {PROFILE_LINKS: False, ITEMS_TOGETHER: True, DEAD: True}

    def make_handler(self) -> BatchHandler:
        return make_stage()


def make_stage(moves: MovesReader | None = None) -> ProfileStage:
    return ProfileStage(
        codecs=CODECS,
        models=_MODELS,
        popularity=PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), RULES.popularity_half_life_ms),
        together=TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), RULES.together.half_life_ms),
        dead_letters=PlaceLetters(),  # type: ignore[arg-type]
        rules=RULES,
        moves=moves,
    )


class LinkWorld(World):
    make_worker = LinkWorker
    links: ClassVar[float] = 0.3
    decisions: ClassVar[float] = 0.1
    """Shares of what is published."""
    kinds: ClassVar[Sequence[str]] = ("view", "click", "cart", "dismiss", "search", "purchase", "purchase")

    def make_broker(self, rng: Random) -> Broker:
        self._events = 0
        self._sent: list[tuple[Where, tuple[bytes, bytes]]] = []
        broker = LinkBroker(self.scheduler, (BEHAVIOUR_CLEAN, PROFILE_LINKS), rng.choice((1, 2, 3)))
        broker.logs |= {(topic, n): Log() for topic in (PROFILE_LINKS, ITEMS_TOGETHER) for n in range(broker.partitions)}
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
        if rng.random() < self.links:
            return identify(number, browser, user, at_s=at_s)
        if rng.random() < self.decisions:
            return self._decision(rng, number, browser, user)
        kind, ref = rng.choice(self.kinds), f"i{rng.randrange(4)}"
        shopper = rng.choice((browser, browser, user))
        return event(number, shopper, kind, None if kind == "search" else ref, at_s=at_s, query=ref if kind == "search" else None)

    def _decision(self, rng: Random, number: int, browser: str, user: str) -> dict[str, Any]:
        """What a shopper wants. Of a user, to whom links come by another topic, only what is the same before and after each of them."""
        if rng.random() < 0.1:
            return event(number, user, "consent") | {"refused": list(GATED), "sealed_id": b""}
        kind = rng.choice(("refuse", "agree", "erase", "erase", "erase item"))
        if kind in ("refuse", "agree"):
            return event(number, browser, "consent") | {"refused": list(GATED) if kind == "refuse" else [], "sealed_id": b""}
        return event(number, browser, "erase", f"i{rng.randrange(4)}" if kind == "erase item" else None) | {"sealed_id": b""}

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
                if one["event_type"] == CONSENT:
                    profiles[one["pseudonym"]] = decided(profile, record.offset, one["refused"])
                elif one["event_type"] == ERASE and one["item_id"] is None:
                    profiles.pop(one["pseudonym"], None)
                elif one["event_type"] == ERASE:
                    if one["pseudonym"] in profiles:
                        profiles[one["pseudonym"]] = without_item(profile, record.offset, str(one["item_id"]))
                elif is_held_back(profile):
                    continue
                elif one["event_type"] == IDENTIFY:
                    handed = hand_over(profile, one, record.offset, RULES)
                    if handed is not None:
                        profiles[one["pseudonym"]] = handed.profile
                        links += [handed.link] if handed.link is not None else []
                elif apply_event(profile, one, record.offset, RULES):
                    profiles[one["pseudonym"]] = profile
        for link in links:
            if not is_held_back(profiles.get(link["pseudonym"], Profile())):
                join(profiles.setdefault(link["pseudonym"], Profile()), link, RULES)
        encode = CODECS.for_topic(PROFILE_LINKS).encode
        return {key.encode(): dump_profile(one) for key, one in profiles.items()}, Counter(map(encode, links))

    def _links(self) -> Counter[bytes]:
        return Counter(value or b"" for (topic, _), log in self.broker.logs.items() if topic == PROFILE_LINKS for _, value, _ in log.rows)

    def _state(self) -> dict[bytes, bytes]:
        """The shoppers' profiles, without those that are gone."""
        found = {key: value for partition in range(self.broker.partitions) for key, value in self._changelog(partition).items()}
        return {key: value for key, value in found.items() if value and is_profile(key)}

    def _pairs(self) -> list[dict[bytes, bytes]]:
        """What was counted as bought together, by partition."""
        found = [self._changelog(partition) for partition in range(self.broker.partitions)]
        return [{key: value for key, value in state.items() if key.startswith(state_key(""))} for state in found]

    def _pairs_expected(self) -> list[dict[bytes, bytes]]:
        """Every event once, all of a partition in one batch, as if nothing had ever happened to anybody."""
        found = []
        for partition in range(self.broker.partitions):
            visible = self.broker.sources[(BEHAVIOUR_CLEAN, partition)].visible()
            records = [MemoryRecord(BEHAVIOUR_CLEAN, partition, one.offset, 0, one.key, one.value) for one, _ in visible]
            state = at_once(make_stage()(records, MemoryState())).state if records else {}
            found.append({key: value for key, value in state.items() if key.startswith(state_key(""))})
        return found

    def _missing(self) -> bool:
        return bool(self._profiles_expected()[1] - self._links())

    def _state_is_right(self) -> bool:
        return self._state() == self._profiles_expected()[0] and not self._data_keys_too_many()

    def _data_keys_too_many(self) -> set[bytes]:
        """Whose data key is there though nothing is kept of them: who is forgotten must not be among them."""
        if not self.traits.seals:
            return set()
        there = {key for partition in range(self.broker.partitions) for key in self._seal(partition).records}
        return there - self._state().keys() - {MARKER}

    def _judge(self) -> None:
        expected, links = self._profiles_expected()
        if self._links() != links:
            raise Violation(f"links that are too many or too few: {self._links() - links}, {links - self._links()}")
        if any(log.rows for (topic, _), log in self.broker.logs.items() if topic == DEAD):
            raise Violation("a dead letter")
        for (topic, partition), log in self.broker.logs.items():
            if topic == PROFILE_LINKS and any(self._partition(key or b"") != partition for key, _, _ in log.rows):
                raise Violation("a link that is not in the partition of its user")
        if self._pairs() != self._pairs_expected():
            raise Violation(f"bought together, found and expected: {self._pairs()}, {self._pairs_expected()}")
        if self._data_keys_too_many():
            raise Violation(f"data keys of nobody who is kept: {self._data_keys_too_many()}")
        found = self._state()
        if found != expected:
            wrong = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
            told = [(key, *(load_profile(one[key]) if key in one else None for one in (found, expected))) for key in wrong]
            raise Violation(f"found and expected: {told}")

    @property
    def gone(self) -> int:
        """How many profiles were removed, each as often as that was written."""
        logs = [log for (topic, _), log in self.broker.logs.items() if topic == CHANGELOG]
        return sum(value is None and is_profile(key or b"") for log in logs for key, value, _ in log.rows)

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

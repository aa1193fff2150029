"""Schedules of a rotation: shoppers go from old pseudonyms to new ones while workers die, stall and take over from one another.

The engine's own parts and the troubles are those of ``world``; the stage is the product's, and reads back what it hands over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar, cast

from streams.engine.handler import BatchHandler
from streams.engine.outputs import ID_HEADER
from streams.privacy.moves import Announcement
from streams.serde.records import MOVE, CleanEvent
from streams.stages.profile.history import apply_event
from streams.stages.profile.moves import ProfileMove, arrive, is_empty, leave
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.sealed_moves import SealedMoves
from streams.topics import BEHAVIOUR_CLEAN, PRIVACY_MOVES
from tests.simulation.broker import DEAD, Broker, Log, Violation
from tests.simulation.linking import RULES, LinkBroker, LinkWorker, LinkWorld, make_stage
from tests.simulation.scheduler import Stuck
from tests.simulation.worker import PlaceLetters
from tests.support.profile_harness import CODECS, event
from tests.support.rotations import READER, SEALER, said

_KINDS = ("view", "click", "cart", "dismiss", "search")
_ID_BYTES = 16
_SEALED_BYTES = 2_000
"""What is sealed is padded, and longer than what else is in these topics."""


class MoveBroker(LinkBroker):
    read_back: ClassVar[str] = PRIVACY_MOVES


class MoveWorker(LinkWorker):
    outputs_of: ClassVar[Mapping[str, bool]] = {PRIVACY_MOVES: False, DEAD: True}

    def make_handler(self) -> BatchHandler:
        return make_stage(READER)


class MoveWorld(LinkWorld):
    make_worker = MoveWorker

    def make_broker(self, rng: Random) -> Broker:
        self._events = 0
        self._sent = []
        broker = MoveBroker(self.scheduler, (BEHAVIOUR_CLEAN, PRIVACY_MOVES), rng.choice((1, 2, 3)))
        broker.logs |= {(PRIVACY_MOVES, partition): Log(most_bytes=_SEALED_BYTES) for partition in range(broker.partitions)}
        return broker

    def _publish_some(self, rng: Random) -> None:
        for _ in range(rng.randrange(1, 6)):
            if self._sent and rng.random() < 0.1:
                where, record = rng.choice(self._sent)  # a worker of ingest that announces somebody again, or repeats an event
            else:
                value, partition_key = self._one(rng)
                record = (value["pseudonym"].encode(), CODECS.for_topic(BEHAVIOUR_CLEAN).encode(value))
                where = (BEHAVIOUR_CLEAN, self._partition(partition_key))
                self._sent.append((where, record))
            self.broker.sources[where].append([record])
        self.broker.changed()

    def _one(self, rng: Random) -> tuple[dict[str, Any], bytes]:
        """An event, and the key that decides its partition."""
        number, who = self._events, f"s{rng.randrange(4)}"
        self._events += 1
        if rng.random() < 0.3:
            what = rng.choice(("move", "move", "forget"))
            message = said(number, what, who)
            value = event(number, "", MOVE) | {
                "event_id": message.move_id.hex(),
                "pseudonym": f"nobody.{message.move_id.hex()}",
                "sealed_id": b"",
                "move": SEALER.seal("announcement", message),
            }
            return value, message.old.encode()
        kind, ref = rng.choice(_KINDS), f"i{rng.randrange(4)}"
        one = event(number, who, kind, None if kind == "search" else ref, at_s=60 * number, query=ref if kind == "search" else None)
        one["pseudonym"] = rng.choice(("k1.", "k2.")) + who
        return one, one["pseudonym"].encode()

    # --- what must be true

    def _expected(self) -> tuple[dict[bytes, bytes], Counter[bytes]]:
        """All profiles, and the ids of what is handed over: every event once in its partition's order, then every hand-over once."""
        profiles: dict[str, Profile] = {}
        sent: list[ProfileMove] = []
        decode = CODECS.for_topic(BEHAVIOUR_CLEAN).decode
        for (topic, _), source in self.broker.sources.items():
            for record, _ in source.visible() if topic == BEHAVIOUR_CLEAN else ():
                one = cast(CleanEvent, decode(record.value))
                if one["event_type"] == MOVE:
                    message = SEALER.open("announcement", one["move"] or b"", Announcement)
                    left, moves = leave(profiles.pop(message.old, Profile()), message, record.offset, RULES)
                    sent += moves
                    if left is not None:
                        profiles[message.old] = left
                    continue
                profile = profiles.get(one["pseudonym"], Profile())
                if apply_event(profile, one, record.offset, RULES):
                    profiles[one["pseudonym"]] = profile
        for move in sent:
            arrive(profiles.setdefault(move.new, Profile()), move, RULES)
        output = SealedMoves("profile", ProfileMove, CODECS, READER, PlaceLetters()).output  # type: ignore[arg-type]
        states = {key.encode(): _shown(one) for key, one in profiles.items() if not is_empty(one)}
        return states, Counter(output(move).record_id for move in sent)

    def _handed_over(self) -> Counter[bytes]:
        rows = [row for (topic, _), log in self.broker.logs.items() if topic == PRIVACY_MOVES for row in log.rows]
        return Counter(dict(headers)[ID_HEADER][:_ID_BYTES] for _, _, headers in rows)

    def _state(self) -> dict[bytes, bytes]:
        return {key: _shown(load_profile(value)) for key, value in super()._state().items() if value and not key.startswith(b"\0")}

    def _missing(self) -> bool:
        return bool(self._expected()[1] - self._handed_over())

    def _state_is_right(self) -> bool:
        return self._state() == self._expected()[0]

    def _judge(self) -> None:
        expected, ids = self._expected()
        found = self._handed_over()
        if found != ids:
            raise Violation(f"handed over too often or not at all: {found - ids}, {ids - found}")
        if any(log.rows for (topic, _), log in self.broker.logs.items() if topic == DEAD):
            raise Violation("a dead letter")
        state = self._state()
        if state != expected:
            wrong = [key for key in state.keys() | expected.keys() if state.get(key) != expected.get(key)]
            told = [(key, *(load_profile(one[key]) if key in one else None for one in (state, expected))) for key in wrong]
            raise Violation(f"found and expected: {told}")

    @property
    def moved(self) -> int:
        return self._handed_over().total()


def _shown(profile: Profile) -> bytes:
    """Of whom nothing of her own is known, the offset says only up to where nothing was wanted when something arrived."""
    if not profile.event_ids and not profile.was_moved:
        profile.applied_offset = -1
    return dump_profile(profile)


def play_moving(seed: int) -> str | None:
    """What is wrong with a schedule, and its story; None where all is well."""
    world = MoveWorld(seed)
    try:
        world.play()
    except (Violation, Stuck) as error:
        return f"seed {seed}: {type(error).__name__}: {error}\n{world.traits}\n{'; '.join(world.story)}"
    return None

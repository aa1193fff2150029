"""Events, recommendations and a state for the tests of the feedback stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from nacl.public import PrivateKey

from streams import topics
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord
from streams.privacy.moves import MovesReader
from streams.privacy.seal import Sealer
from streams.serde.codec import local_codecs
from streams.stages.feedback.rules import FeedbackRules
from streams.stages.feedback.stage import FeedbackStage
from tests.support.at_once import at_once
from tests.support.stage_keys import SIGNING_KEY

CODECS = local_codecs()
MINUTE = 60_000
RULES = FeedbackRules(window_ms=30 * MINUTE, lateness_ms=2 * MINUTE, idle_ms=5_000, history_size=5, settle_every_ms=MINUTE)
ANNA, BEN, CARL = ("k1." + letter * 32 for letter in "abc")
END = 100_000
"""An offset and a minute after everything."""


class State:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {key: self.values[key] for key in keys if key in self.values}

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        return list(self.values.items())


def make_stage(clock: FixedClock | None = None, rules: FeedbackRules = RULES, moves: MovesReader | None = None) -> FeedbackStage:
    letters = DeadLetterBuilder(
        CODECS.for_topic(topics.DEAD_LETTER),
        Sealer(PrivateKey.generate().public_key),
        "feedback",
        FixedClock(0),
        1000,
        signing_key=SIGNING_KEY,
    )
    return FeedbackStage(codecs=CODECS, dead_letters=letters, rules=rules, clock=clock or FixedClock(0), moves=moves)


def identity(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def event(offset: int, user: str, kind: str, item: str | None, minute: int, **more: Any) -> MemoryRecord:
    value = {
        "event_id": identity("event", offset),
        "pseudonym": user,
        "sealed_id": b"sealed",
        "event_type": kind,
        "occurred_at": minute * MINUTE,
        "item_id": item,
        "query": None,
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
    } | more
    return MemoryRecord(topics.BEHAVIOUR_CLEAN, 0, offset, 0, user.encode(), CODECS.for_topic(topics.BEHAVIOUR_CLEAN).encode(value))


def recommendation(offset: int, user: str, items: list[str], minute: int, source_offset: int) -> MemoryRecord:
    value = {
        "recommendation_id": identity("recommendation", offset),
        "pseudonym": user,
        "sealed_id": b"sealed",
        "policy": "behaviour",
        "trigger_event_id": identity("event", source_offset),
        "trigger_type": "view",
        "source_offset": source_offset,
        "created_at": minute * MINUTE,
        "model_version": "m",
        "threshold": 0.3,
        "items": [{"item_id": i, "rank": n, "score": 1.0, "cosine": 1.0, "prior": 0.0, "reasons": []} for n, i in enumerate(items)],
    }
    return MemoryRecord(topics.RECOMMENDATIONS, 0, offset, 0, user.encode(), CODECS.for_topic(topics.RECOMMENDATIONS).encode(value))


def feed(stage: FeedbackStage, state: State, batches: Sequence[Sequence[MemoryRecord]]) -> list[BatchResult]:
    results = []
    for batch in batches:
        if batch:
            result = at_once(stage(batch, state))
            for key, value in result.state.items():
                if value is None:
                    state.values.pop(key, None)
                else:
                    state.values[key] = value
            results.append(result)
    return results


def outputs(results: Sequence[BatchResult], topic: str) -> list[dict[str, Any]]:
    return [
        CODECS.for_topic(topic).decode(o.value) for result in results for o in result.outputs if o.topic == topic and o.key != CARL.encode()
    ]


def the_end() -> list[list[MemoryRecord]]:
    """Two batches of Carl's after which everything of the others is settled."""
    return [[recommendation(END, CARL, ["z"], END, END)], [event(END, CARL, "view", "z", END)]]


def outcomes(results: Sequence[BatchResult]) -> dict[tuple[str, str], str]:
    return {(f["pseudonym"], f["item_id"]): f["outcome"] for f in outputs(results, topics.FEEDBACK)}

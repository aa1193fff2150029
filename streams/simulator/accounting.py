"""Compares input and output by ids. Everything is computed from records that were read; nothing is assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from streams.engine.outputs import ID_HEADER
from streams.errors import Reason
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.outcomes import each
from streams.serde.records import CONSENT, ERASE, Feedback
from streams.simulator.shop import Emission


class Record(Protocol):
    """What is needed of a record that was read back."""

    @property
    def headers(self) -> Any: ...


@dataclass
class Account:
    """Both ends of the pipeline."""

    pseudonymizer: Pseudonymizer
    events_in: int = 0
    may_be_held_back: set[str] = field(default_factory=set)
    """Events of shoppers who allow no personalization."""
    expected_clean: set[str] = field(default_factory=set)
    expected_dead: dict[tuple[int, int], Reason] = field(default_factory=dict)
    produced_at: dict[str, float] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def sent(self, emission: Emission, partition: int, offset: int, at_s: float) -> None:
        """A record was acknowledged by the broker at this position; ``at_s`` is when it was handed to the client."""
        self.events_in += 1
        if emission.expected is not None:
            self.expected_dead[(partition, offset)] = emission.expected
        elif emission.event_id is not None:
            event_id = self.pseudonymizer.event_id(emission.user_id, emission.event_id)
            (self.may_be_held_back if emission.may_be_held_back else self.expected_clean).add(event_id)
            self.produced_at.setdefault(event_id, at_s)

    def recommended(self, trigger_event_id: str, at_s: float) -> None:
        """A recommendation was consumed."""
        produced = self.produced_at.get(trigger_event_id)
        if produced is not None:
            self.latencies_ms.append((at_s - produced) * 1000)

    def close(
        self,
        clean: Iterable[Mapping[str, Any]],
        dead: Iterable[Mapping[str, Any]],
        recommendations: Iterable[Mapping[str, Any]],
        feedback: Iterable[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The summary. ``lost``: valid events that are not clean, broken ones without dead letter or with a wrong reason,
        recommended items without feedback. ``duplicated``: ids that were written more than once, anywhere."""
        # What shoppers decide stands among their events, and is none.
        clean_ids = Counter(event["event_id"] for event in clean if event["event_type"] not in (CONSENT, ERASE))
        letters = list(dead)
        dead_at = Counter((letter["source_partition"], letter["source_offset"]) for letter in letters if letter["stage"] == "ingest")
        reasons = {
            (letter["source_partition"], letter["source_offset"]): letter["reason"] for letter in letters if letter["stage"] == "ingest"
        }
        issued = list(recommendations)
        unprofiled = {r["recommendation_id"] for r in issued if not r["profiled"]}
        outcomes = [one for record in feedback for one in each(cast(Feedback, record))]
        feedback_ids = Counter((f["recommendation_id"], f["item_id"]) for f in outcomes)
        wanted_feedback = {(r["recommendation_id"], item["item_id"]) for r in issued if r["trainable"] for item in r["items"]}
        lost = {
            "clean": len(self.expected_clean - clean_ids.keys()),
            "dead_letters": sum(reasons.get(position) != reason.value for position, reason in self.expected_dead.items()),
            "feedback": len(wanted_feedback - feedback_ids.keys()),
        }
        duplicated = {
            "clean": sum(clean_ids.values()) - len(clean_ids),
            "dead_letters": sum(dead_at.values()) - len(dead_at),
            "recommendations": len(issued) - len({r["recommendation_id"] for r in issued}),
            "feedback": sum(feedback_ids.values()) - len(feedback_ids),
        }
        return {
            "events_in": self.events_in,
            "events_clean": sum(clean_ids.values()),
            "dead_letters": dict(sorted(Counter(letter["reason"] for letter in letters).items())),
            "recommendations": len(issued),
            "unprofiled": len(unprofiled),
            "held_back": len(self.may_be_held_back - clean_ids.keys()),
            "feedback": dict(sorted(Counter(f["outcome"] for f in outcomes).items())),
            "lost": sum(lost.values()),
            "lost_by_topic": lost,
            "duplicated": sum(duplicated.values()),
            "duplicated_by_topic": duplicated,
            "latency_ms": {"p50": percentile(self.latencies_ms, 0.5), "p99": percentile(self.latencies_ms, 0.99)},
        }


def percentile(values: list[float], share: float) -> float | None:
    """Nearest-rank percentile, one decimal; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def record_id(record: Record) -> bytes | None:
    """The id that the runtime gave an output."""
    return next((bytes(value[:16]) for name, value in record.headers if name == ID_HEADER), None)

"""Makes training pairs from events without recommendations, by the rules of the feedback stage."""

from __future__ import annotations

from collections.abc import Iterable

from streams.serde.records import CleanEvent, TrainingPair, has_shopper
from streams.stages.feedback.ledger import Interaction, Past, Shopper
from streams.stages.feedback.rules import HISTORY_EVENTS, OUTCOME_OF_EVENT, FeedbackRules
from streams.stages.feedback.settlement import settle
from streams.stages.feedback.timers import EVERYTHING
from streams.training.cases import without_unused_histories

_NEVER_MS = 1 << 62


class PairMaker:
    """Gets clean events in order, and returns the training pairs at the end.

    Data that the stage drops is never needed for a pair. Without recommendations nothing waits. So settling everything at once
    gives what the stage would have written.
    """

    def __init__(self, rules: FeedbackRules) -> None:
        self._rules = rules
        self._shoppers: dict[str, Shopper] = {}
        self._watermark_ms = 0
        self._offset = -1

    def add(self, events: Iterable[CleanEvent]) -> None:
        """Events in the order in which ingest wrote them."""
        for event in events:
            self._offset += 1
            if not has_shopper(event):
                continue
            shopper = self._shoppers.setdefault(event["pseudonym"], Shopper())
            if not shopper.is_new(event["event_id"]):
                continue
            time_ms, kind, item_id = event["occurred_at"], event["event_type"], event["item_id"]
            if item_id is not None and kind in OUTCOME_OF_EVENT:
                shopper.interactions.append(Interaction(self._offset, time_ms, kind, item_id, event["event_id"], None, self._watermark_ms))
            if kind in HISTORY_EVENTS:
                ref = event["query"] if kind == "search" else item_id
                if ref is not None:
                    shopper.history.append(Past(self._offset, time_ms, "query" if kind == "search" else "item", ref, kind))
            self._watermark_ms = max(self._watermark_ms, time_ms)

    def pairs(self) -> list[TrainingPair]:
        """In order of shopper and time, with the histories that cases are made of."""
        found: list[TrainingPair] = []
        for pseudonym, shopper in self._shoppers.items():
            _, pairs = settle(pseudonym, shopper, _NEVER_MS, EVERYTHING, self._rules)
            found += without_unused_histories(pairs)
        self._shoppers.clear()
        return found

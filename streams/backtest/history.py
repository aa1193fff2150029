"""The events before a cutoff, ordered by time, and the items that each user interacted with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams.errors import RecordError
from streams.stages.identifiers import IDENTIFY, item_id, shopper
from streams.stages.times import to_milliseconds


class EventsBefore:
    """Raw events before the cutoff; those whose time can't be read are kept for ingest to refuse."""

    def __init__(self, events: Iterable[Mapping[str, Any]], cutoff_ms: int) -> None:
        timed: list[tuple[int, Mapping[str, Any]]] = []
        for event in events:
            try:
                time_ms = to_milliseconds(event["occurred_at"])
            except RecordError:
                time_ms = cutoff_ms - 1
            if time_ms < cutoff_ms:
                timed.append((time_ms, event))
        timed.sort(key=lambda pair: pair[0])
        self.events = [event for _, event in timed]
        self.seen: dict[str, set[str]] = {}
        """User to the items of all her events."""
        for event in self.events:
            try:
                items = self.seen.setdefault(shopper(event["user_id"], event["anonymous_id"]), set())
                if str(event.get("event_type")).strip().lower() == IDENTIFY and event.get("consent") is True:
                    items |= self.seen.get(shopper("", event["anonymous_id"]), set())
                if event["item_id"] is not None:
                    items.add(item_id(event["item_id"]))
            except RecordError:
                continue  # ingest refuses and counts it
        self.users = sorted(self.seen)

"""The latest recommendations, with the titles of items and the parts of their scores. Pure, but for the key of the tags."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from streams.console.texts import shown
from streams.console.view import Reason, Recommendation, RecommendedItem

KEPT = 24
_ITEMS = 3
_MOST_TITLES = 200_000
_TITLE = 120
_LEAST_REST = 0.005


class Titles:
    """Titles by item id: those of the items that were published last, at most ``most``."""

    def __init__(self, most: int = _MOST_TITLES) -> None:
        self._most = most
        self._of: OrderedDict[str, str] = OrderedDict()

    def put(self, item_id: str, title: str) -> None:
        self._of.pop(item_id, None)
        self._of[item_id] = shown(title, _TITLE)
        if len(self._of) > self._most:
            self._of.popitem(last=False)

    def remove(self, item_id: str) -> None:
        self._of.pop(item_id, None)

    def get(self, item_id: str | None) -> str | None:
        return None if item_id is None else self._of.get(item_id)

    def __len__(self) -> int:
        return len(self._of)


class Latest:
    """The newest recommendations, of all partitions."""

    def __init__(self, key: bytes) -> None:
        """``key``: made anew with the process. Tags can't be compared with those of another run, nor with a pseudonym in a topic."""
        self._key = key
        self._kept: list[tuple[int, str, Mapping[str, Any]]] = []

    def take(self, position: str, timestamp_ms: int, record: Mapping[str, Any]) -> None:
        """A decoded record. Of it the pseudonym and the sealed id are dropped here."""
        tag = blake2b(record["pseudonym"].encode(), digest_size=3, key=self._key).hexdigest()
        kept = {name: value for name, value in record.items() if name not in ("pseudonym", "sealed_id", "trigger_event_id")} | {"tag": tag}
        heapq.heappush(self._kept, (timestamp_ms, position, kept))
        if len(self._kept) > KEPT:
            heapq.heappop(self._kept)

    def view(self, title_of: Callable[[str | None], str | None]) -> list[Recommendation]:
        """Newest first."""
        newest = sorted(self._kept, key=lambda kept: kept[:2], reverse=True)
        return [_recommendation(position, at, record, title_of) for at, position, record in newest]


def _recommendation(position: str, at: int, record: Mapping[str, Any], title_of: Callable[[str | None], str | None]) -> Recommendation:
    items = record["items"]
    return Recommendation(
        key=position,
        shopper=record["tag"],
        at=at,
        policy=shown(record["policy"], 40),
        trigger=shown(record["trigger_type"], 40),
        version=shown(record["model_version"], 60),
        is_profiled=record["profiled"],
        threshold=record["threshold"],
        items=[_item(item, title_of) for item in items[:_ITEMS]],
        more=max(0, len(items) - _ITEMS),
    )


def _item(item: Mapping[str, Any], title_of: Callable[[str | None], str | None]) -> RecommendedItem:
    reasons = [
        Reason(
            kind=shown(reason["kind"], 40),
            title=title_of(reason["item_id"]) or (None if reason["item_id"] is None else shown(reason["item_id"], 60)),
            event_type=None if reason["event_type"] is None else shown(reason["event_type"], 40),
            share=round(reason["share"], 4),
        )
        for reason in item["reasons"]
    ]
    rest = item["score"] - sum(reason["share"] for reason in item["reasons"])
    if abs(rest) > _LEAST_REST:
        # Only the largest parts are in the record.
        reasons.append(Reason("rest", None, None, round(rest, 4)))
    return RecommendedItem(shown(item["item_id"], 60), title_of(item["item_id"]), round(item["score"], 4), reasons)

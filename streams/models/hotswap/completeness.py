"""Checks whether ``items.vectors`` holds the whole catalogue under one model version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streams.engine.ports import RecordCodec
from streams.engine.records import SourceRecord
from streams.errors import RecordError

FIELDS = ("item_id", "model_version", "text_hash", "recommendable", "encoded_at")
IN_FLIGHT_S = 5.0
"""A changed item's record under one version may come before the one under the other; both are written together."""


class _Shown(NamedTuple):
    encoded_at: int
    text_hash: str
    recommendable: bool


class Completeness:
    """Gets every record of the topic, of all versions, and decides when a version is complete.

    - The catalogue is the union of all versions. An item is as its newest record says. (A removed item has a tombstone under every
      version.)
    - A version agrees on an item if its own record has the same text and the same ``recommendable``.
    - A version is complete if it agrees on at least ``share`` of the items.
    - After ``begin_to_wait``, an item on which the version agreed before still counts for ``IN_FLIGHT_S``. Reason: a catalogue that
      changes all the time always has some change in progress.
    """

    def __init__(self, codec: RecordCodec, version: str, share: float = 1.0) -> None:
        self.version = version
        self._codec = codec
        self._share = share
        self._items: dict[str, dict[str, _Shown]] = {}
        self._agreed: set[str] = set()
        self._since: dict[str, float] = {}
        self._waits = False

    def apply(self, records: Sequence[SourceRecord], now_s: float) -> None:
        """Take in a fetch; ``now_s`` is of any monotonic clock, seconds. Never raises for a record."""
        for record in records:
            if record.key is None:
                continue
            try:
                version, slash, item_id = record.key.decode().partition("/")
                shown = None if record.value is None else self._read(record, version, item_id)
            except (RecordError, UnicodeDecodeError):
                continue
            if slash:
                self._put(version, item_id, shown, now_s)

    def begin_to_wait(self) -> None:
        """Start to wait. Records before this call are history: an item on which the version agreed once may have changed while nothing
        maintained the version. Only records after this call are new changes.
        """
        self._waits = True

    def held(self, now_s: float) -> float:
        """Share of the catalogue's items that count; 1 for an empty catalogue."""
        late = [item_id for item_id, since in self._since.items() if now_s - since > IN_FLIGHT_S]
        for item_id in late:
            del self._since[item_id]
        return (len(self._agreed) + len(self._since)) / len(self._items) if self._items else 1.0

    def is_complete(self, now_s: float) -> bool:
        return self.held(now_s) >= self._share

    def _read(self, record: SourceRecord, version: str, item_id: str) -> _Shown | None:
        value: Mapping[str, Any] = self._codec.decode(record.value, record.headers)
        if (value["item_id"], value["model_version"]) != (item_id, version):
            return None
        return _Shown(value["encoded_at"], value["text_hash"], value["recommendable"])

    def _put(self, version: str, item_id: str, shown: _Shown | None, now_s: float) -> None:
        versions = self._items.setdefault(item_id, {})
        if shown is None:
            versions.pop(version, None)
        else:
            versions[version] = shown
        own = versions.get(self.version)
        if not versions:
            del self._items[item_id]
        elif own is not None and own[1:] == max(versions.values())[1:]:
            self._agreed.add(item_id)
            self._since.pop(item_id, None)
            return
        elif item_id in self._agreed and self._waits:
            self._since[item_id] = now_s
        self._agreed.discard(item_id)
        if not versions:
            self._since.pop(item_id, None)

"""Which items came with the newest record of a key: a product's variants, or the items of a whole feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.engine.records import SourceRecord
from streams.serde.records import Item
from streams.stages.catalogue.state import MEMBERS, dump_members, load_members


class Accepted(NamedTuple):
    """A record, and what can be used of it."""

    record: SourceRecord
    items: tuple[tuple[Item, int], ...]
    """Each with the number of its line in the record."""
    is_mapped: bool
    """Whether a mapping has read it, so that it may have several items, and any key."""
    is_whole: bool
    """Whether all its lines could be used."""

    @property
    def members_key(self) -> bytes | None:
        """Where the state has the items of the record's key; None where it has none."""
        key = self.record.key
        return MEMBERS + key if key is not None and (self.is_mapped or self.record.value is None) else None


class Members:
    """The items by the keys of a batch's records, in their order."""

    def __init__(self, stored: Mapping[bytes, bytes]) -> None:
        self._known = {key: load_members(data) for key, data in stored.items()}
        self.changed: dict[bytes, bytes | None] = {}
        """For the state."""

    def removed(self, key: bytes | None) -> tuple[str, ...]:
        """The items of a key whose record is removed."""
        if key is None:
            return ()
        found = self._known.pop(MEMBERS + key, ())
        if found:
            self.changed[MEMBERS + key] = None
        return found

    def became(self, key: bytes | None, item_ids: Sequence[str], *, is_whole: bool) -> list[str]:
        """The items of a key that its new record has no more. None where a line of it could not be read: it may be one of them."""
        if key is None:
            return []
        before = self._known.get(MEMBERS + key, ())
        now = tuple(dict.fromkeys(item_ids if is_whole else (*before, *item_ids)))
        if now != before:
            self._known[MEMBERS + key] = now
            self.changed[MEMBERS + key] = dump_members(now) if now else None
        return [item_id for item_id in before if item_id not in set(now)] if is_whole else []

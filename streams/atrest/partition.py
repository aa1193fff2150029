"""Seals and opens the values of one partition of a state, each shopper's under a data key of her own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from streams.atrest.sealed import (
    OF_SHOPPER,
    OF_STAGE,
    Altered,
    DataKey,
    Place,
    dump_data_keys,
    is_sealed,
    key_id_of,
    load_data_keys,
    new_data_key,
    nonces,
    open_as,
    seal_as,
    serial_of,
)
from streams.errors import StateDamaged

MARKER = b"\0keys"
"""A record among the data keys that is there from the first one on. Without it the topic of the keys was lost, and nobody was erased."""
_KNOWN = 100_000
"""Opened data keys that are kept."""
_DOCS = "docs/at-rest.md"


def is_shoppers(key: bytes) -> bool:
    """Whether a key of a state is a shopper's: those of the stage itself begin with a zero byte."""
    return not key.startswith(b"\0")


class _Known(NamedTuple):
    keys: tuple[DataKey, ...]
    sealer: tuple[bytes, bytes, bytes]
    """Of the first key."""


class PartitionSeal:
    """``records`` are the sealed data keys, by pseudonym: what the topic of the keys says."""

    def __init__(
        self,
        place: Place,
        keys_place: Place | None,
        *,
        accepts_plain: bool,
        what: str,
        on_shredded: Callable[[], object] = lambda: None,
    ) -> None:
        """Without ``keys_place`` all values are the stage's own. ``what`` names the state in errors."""
        self._place = place
        self._keys_place = keys_place
        self._accepts_plain = accepts_plain
        self._what = what
        self._on_shredded = on_shredded
        self._known: dict[bytes, _Known] = {}
        self.records: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """How many shoppers have a data key."""
        return len(self.records) - (MARKER in self.records)

    # --- values

    def open(self, key: bytes, data: bytes) -> bytes | None:
        """The value; None where its data key is shredded.

        Raises StateDamaged for a value that was altered or moved, and for a plain one where none is accepted; ConfigurationError where
        its state key is missing.
        """
        try:
            if data[:1] == OF_SHOPPER:
                return self._open_shoppers(key, data)
            if data[:1] == OF_STAGE:
                return self._place.open(key, data)
        except Altered:
            raise StateDamaged(
                f"a value of {self._what} was altered, or moved there from another key, partition or topic; stop the worker, delete its "
                "state folder and start it again: the state is rebuilt from its changelog. "
                f"If it says so again, the changelog was altered: see {_DOCS}"
            ) from None
        if not self._accepts_plain:
            raise StateDamaged(
                f"a value of {self._what} is not sealed. If it is from before states were sealed, set VEILSTREAM_SEAL_STATE=migrate until "
                f"veilstream_state_unmoved_partitions is 0; else somebody else wrote it: see {_DOCS}"
            )
        return data

    def _open_shoppers(self, key: bytes, data: bytes) -> bytes | None:
        known = self._of(key)
        if known is not None:
            if data.startswith(known.sealer[0]):
                return open_as(known.sealer, data)
            serial = serial_of(data)
            for data_key in known.keys:
                if data_key.serial == serial:
                    return self._place.open_with(key, data, data_key)
        self._place.check_mark(key, data)
        if MARKER not in self.records:
            raise StateDamaged(
                f"the data keys of {self._what} are gone: their topic is empty. Restore that topic from where it was copied to; if there "
                f"is no copy, nobody can open these values, and the state begins anew: see {_DOCS}"
            )
        self._on_shredded()
        return None

    def seal(self, changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """Every shopper among them has a data key (see ``before``)."""
        nonce = nonces(len(changes))
        sealed: dict[bytes, bytes | None] = {}
        for key, value in changes.items():
            if value is None:
                sealed[key] = None
            elif self._keys_place is not None and is_shoppers(key):
                sealed[key] = seal_as(self._known_of(key).sealer, value, next(nonce))
            else:
                sealed[key] = self._place.seal(key, value, next(nonce))
        return sealed

    def is_due(self, key: bytes, data: bytes) -> bool:
        """Whether a value is to be sealed anew: it is plain, or not under the current keys."""
        if not is_sealed(data) or key_id_of(data) != self._place.current:
            return True
        if self._keys_place is None or not is_shoppers(key):
            return False
        known = self._of(key)
        return data[:1] == OF_STAGE or (known is not None and data[: len(known.sealer[0])] != known.sealer[0] and self._has(known, data))

    @staticmethod
    def _has(known: _Known, data: bytes) -> bool:
        return any(data_key.serial == serial_of(data) for data_key in known.keys)

    # --- data keys

    def before(self, changes: Mapping[bytes, bytes | None], erased: Collection[bytes]) -> dict[bytes, tuple[DataKey, ...]]:
        """The data keys to write before these values: of shoppers without one, and new ones for the erased, of whom something came after.
        The old ones stay beside them until the new values are written."""
        if self._keys_place is None:
            return {}
        records, needed = self.records, dict[bytes, tuple[DataKey, ...]]()
        for key, value in changes.items():
            if value is None or not is_shoppers(key):
                continue
            if key not in records:
                needed[key] = (new_data_key(),)
            elif key in erased:
                known = self._of(key)
                needed[key] = (new_data_key(), *(known.keys if known is not None else ()))
        return needed

    def after(self, changes: Mapping[bytes, bytes | None], erased: Collection[bytes]) -> dict[bytes, tuple[DataKey, ...]]:
        """The data keys to overwrite after these values: with nothing, or with the new one alone."""
        if self._keys_place is None:
            return {}
        overwritten: dict[bytes, tuple[DataKey, ...]] = {key: () for key, value in changes.items() if value is None and key in self.records}
        for key in erased:
            known = self._of(key) if changes.get(key) is not None else None
            if known is not None and len(known.keys) > 1:
                overwritten[key] = known.keys[:1]
        return overwritten

    def rewritten(self, key: bytes, value: bytes | None) -> tuple[DataKey, ...] | None:
        """What a data key's record should be, given the value as it is stored; None where it is right: left by a kill before a value was
        written, after it was deleted, or sealed under an old state key."""
        if key == MARKER:
            return None
        if value is None:
            return ()
        known = self._of(key)
        if known is None:
            return None
        serial = serial_of(value)
        if len(known.keys) > 1 and serial == known.keys[0].serial:
            return known.keys[:1]
        return known.keys if key_id_of(self.records[key]) != self._place.current else None

    def sealed_keys(self, wanted: Mapping[bytes, tuple[DataKey, ...]]) -> dict[bytes, bytes | None]:
        """The records of the keys' topic; of nothing, a tombstone. With the marker, where it is missing or under an old key."""
        if self._keys_place is None:
            raise TypeError("this state has no data keys")
        place, nonce = self._keys_place, nonces(len(wanted) + 1)
        rows: dict[bytes, bytes | None] = {}
        marker = self.records.get(MARKER)
        if marker is None or key_id_of(marker) != place.current:
            rows[MARKER] = place.seal(MARKER, b"", next(nonce))
        rows.update((key, place.seal(key, dump_data_keys(keys), next(nonce)) if keys else None) for key, keys in wanted.items())
        return rows

    def keep(self, rows: Mapping[bytes, bytes | None]) -> None:
        """What the topic of the keys holds from now on."""
        for key, record in rows.items():
            self._known.pop(key, None)
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record

    def _known_of(self, key: bytes) -> _Known:
        known = self._of(key)
        if known is None:
            raise TypeError("a data key is written before the values under it")
        return known

    def _of(self, key: bytes) -> _Known | None:
        known = self._known.get(key)
        if known is not None:
            return known
        record = self.records.get(key)
        if record is None or self._keys_place is None:
            return None
        try:
            keys = load_data_keys(self._keys_place.open(key, record))
        except Altered:
            raise StateDamaged(
                f"a data key of {self._what} was altered, or moved there from another key, partition or topic; restore the topic of the "
                f"keys: see {_DOCS}"
            ) from None
        if len(self._known) >= _KNOWN:
            self._known.clear()
        known = self._known[key] = _Known(keys, self._place.sealer(key, keys[0]))
        return known

"""Seals what the trainer keeps of shoppers, each under a data key of her own. The data keys lie in a folder of their own, ``data-keys``.

A copy of the trainer's folder without that one opens nothing; one with it opens what was not forgotten until the copy was made. So leave it
out of copies, or keep those copies apart and for a short time.

A data key is written before the first row under it, and removed after the last one. What a kill leaves between is cleared away by
``tidy``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

from streams.atrest.sealed import (
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
from streams.errors import ConfigurationError, StateDamaged
from streams.files import private_folder
from streams.privacy.key_folder import key_folder
from streams.privacy.state_keys import StateKeys, load_state_keys
from streams.settings import Settings

FOLDER = "data-keys"
_FILE = "keys.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS data_keys (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
_PUT = "INSERT INTO data_keys VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record"
_KNOWN = 100_000
_MARKER, _ROUND = "\0keys", "\0round"
"""Names that are no shopper's: a row that is there from the first data key on, and the data key of the round under way."""
_WHAT = "the trainer's store"
_DOCS = "docs/at-rest.md"


class RowSeal:
    """One folder's. Raises ``sqlite3.Error`` as the store does, which makes errors of the product of it."""

    def __init__(self, folder: Path, keys: StateKeys, *, accepts_plain: bool = False, reads_only: bool = False) -> None:
        self._place = Place(keys, "trainer", 0, _WHAT)
        self._keys_place = Place(keys, "trainer/keys", 0, _WHAT)
        self._accepts_plain = accepts_plain
        self._known: dict[str, tuple[tuple[DataKey, ...], tuple[bytes, bytes, bytes]]] = {}
        path = folder / FOLDER / _FILE
        if reads_only:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
            return
        private_folder(folder)
        private_folder(folder / FOLDER)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=30.0)
        # FULL: a row must not be on the disk without its key.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        with self._db:
            self._db.execute(_TABLE)

    def close(self) -> None:
        self._db.close()

    # --- rows

    def seal(self, pseudonym: str, row: str, body: bytes) -> bytes:
        """``row`` is the id under which it is kept. The shopper has a data key (``need``)."""
        known = self._of(pseudonym)
        if known is None:
            raise TypeError("a data key is written before the rows under it")
        head, bound, secret = known[1]
        return seal_as((head, bound + _row(row), secret), body, next(nonces(1)))

    def open(self, pseudonym: str, row: str, data: bytes) -> bytes | None:
        """The body; None where the data key is shredded: an old copy of the store was put back.

        Raises StateDamaged for one that was altered or moved, or is plain where none is accepted, and ConfigurationError where its state
        key is missing.
        """
        if not is_sealed(data):
            if self._accepts_plain:
                return data
            raise StateDamaged(
                f"a row of {_WHAT} is not sealed; if it is from before it was sealed, start the trainer once with "
                f"VEILSTREAM_SEAL_STATE=migrate; else somebody else wrote it: see {_DOCS}"
            )
        key = pseudonym.encode()
        try:
            known = self._of(pseudonym)
            if known is not None:
                keys, (head, bound, secret) = known
                if data.startswith(head):
                    return open_as((head, bound + _row(row), secret), data)
                for data_key in keys:
                    if data_key.serial == serial_of(data):
                        return self._place.open_with(key + _row(row), data, data_key)
            self._place.check_mark(key, data)
            if self._record(_MARKER) is None:
                raise StateDamaged(
                    f"the data keys of {_WHAT} are gone: restore {FOLDER}/{_FILE}; or stop the trainer, delete its pairs.sqlite and "
                    f"start it again: it reads its topics anew. See {_DOCS}"
                )
        except Altered:
            raise StateDamaged(
                f"a row of {_WHAT} was altered, or moved there from another one; stop the trainer, delete its pairs.sqlite and start it "
                f"again: it reads its topics anew. See {_DOCS}"
            ) from None
        return None

    def is_due(self, pseudonym: str, data: bytes) -> bool:
        """Whether a row is to be sealed anew."""
        known = self._of(pseudonym)
        return not is_sealed(data) or known is None or not data.startswith(known[1][0])

    # --- data keys

    def need(self, pseudonyms: Iterable[str]) -> None:
        """Make data keys for those that have none. They are on the disk when this returns."""
        new = [name for name in dict.fromkeys(pseudonyms) if self._of(name) is None]
        if new:
            self._write({name: (new_data_key(),) for name in new})

    def renew(self, pseudonym: str) -> None:
        """From now on sealed under a new data key; the one before still opens until ``settle``."""
        known = self._of(pseudonym)
        if known is not None:
            self._write({pseudonym: (new_data_key(), *known[0])})

    def settle(self, pseudonym: str) -> None:
        """All rows are under the new data key."""
        known = self._of(pseudonym)
        if known is not None:
            self._write({pseudonym: known[0][:1]})
            self._overwrite()

    def shred(self, pseudonyms: Collection[str], *, with_round: bool) -> None:
        """Remove their data keys, their bytes overwritten, and ``with_round`` that of the round: its examples may be theirs."""
        names = [*pseudonyms, *([_ROUND] if with_round else [])]
        with self._db:
            self._db.executemany("DELETE FROM data_keys WHERE name = ?", [(name,) for name in names])
        for name in names:
            self._known.pop(name, None)
        self._overwrite()

    def names(self) -> list[str]:
        """Of all shoppers with a data key."""
        return [name for (name,) in self._db.execute("SELECT name FROM data_keys") if name not in (_MARKER, _ROUND)]

    def settle_keys(self, names: Iterable[str]) -> None:
        """Rows of these are all under their first data keys: keep no other, and all under the current state key."""
        old = {}
        for name in names:
            known, record = self._of(name), self._record(name)
            if known is not None and record is not None and (len(known[0]) > 1 or key_id_of(record) != self._keys_place.current):
                old[name] = known[0][:1]
        if old:
            self._write(old)
            self._overwrite()

    # --- the round

    def seal_round(self, content: bytes) -> bytes:
        """Of a round's examples, under a new data key: what was sealed before does not open any more."""
        self._write({_ROUND: (new_data_key(),)})
        return self.seal(_ROUND, "examples", content)

    def open_round(self, data: bytes) -> bytes | None:
        """None where they are shredded, or plain: the round makes them anew."""
        return self.open(_ROUND, "examples", data) if is_sealed(data) else None

    def _of(self, pseudonym: str) -> tuple[tuple[DataKey, ...], tuple[bytes, bytes, bytes]] | None:
        known = self._known.get(pseudonym)
        if known is not None:
            return known
        record = self._record(pseudonym)
        if record is None:
            return None
        key = pseudonym.encode()
        try:
            keys = load_data_keys(self._keys_place.open(key, record))
        except Altered:
            raise StateDamaged(
                f"a data key of {_WHAT} was altered; restore {FOLDER}/{_FILE}, or begin with an empty store: {_DOCS}"
            ) from None
        if len(self._known) >= _KNOWN:
            self._known.clear()
        known = self._known[pseudonym] = (keys, self._place.sealer(key, keys[0]))
        return known

    def _record(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT record FROM data_keys WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _write(self, keys: dict[str, tuple[DataKey, ...]]) -> None:
        nonce = nonces(len(keys) + 1)
        rows = [(_MARKER, self._keys_place.seal(_MARKER.encode(), b"", next(nonce)))]
        rows += [(name, self._keys_place.seal(name.encode(), dump_data_keys(own), next(nonce))) for name, own in keys.items()]
        with self._db:
            self._db.executemany(_PUT, rows)
        for name in keys:
            self._known.pop(name, None)

    def _overwrite(self) -> None:
        """The log of changes holds what was removed until it is written over."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _row(row: str) -> bytes:
    return b"\0" + row.encode()


def row_seal(settings: Settings, *, reads_only: bool = False) -> RowSeal | None:
    """Of the trainer's folder; None where nothing is sealed. Raises ConfigurationError where the settings demand a state key and there is
    none, or where there is sealed data and no key."""
    keys = load_state_keys(key_folder(settings))
    folder: Path = settings.trainer_dir
    has_keys = (folder / FOLDER / _FILE).is_file()
    if keys is None:
        if settings.seal_state != "auto" or has_keys:
            raise ConfigurationError(
                f"{settings.keys_dir / 'state.key'} is missing, and the trainer's store in {folder} is to be sealed with it; copy it from "
                "where the trainer has its keys, or add it with `veilstream keys generate --only state`"
            )
        return None
    if reads_only and not has_keys:
        return None
    return RowSeal(folder, keys, accepts_plain=settings.seal_state == "migrate", reads_only=reads_only)

"""Which versions of the model learnt from whom: to say so when somebody is to be forgotten, and to find a parent that never saw her.

For each version a sorted array of 64-bit hashes of the pseudonyms whose pairs it had (to learn from, to be fitted to, or to be judged by:
each may have left a trace). Hashes have a salt of the version: two versions can't be compared without the pseudonyms.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Collection, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.errors import TransientError
from streams.files import private_folder

_FILE = "lineage.sqlite"
_TABLE = """
CREATE TABLE IF NOT EXISTS versions (
    version TEXT PRIMARY KEY, made_from TEXT, salt BLOB NOT NULL, shoppers BLOB NOT NULL, erased INTEGER NOT NULL DEFAULT 0
)
"""
_UNDER_WAY = "round"
"""In the place of a version that is not made yet."""
_HASH_BYTES = 8
_SALT_BYTES = 16

Hashes = npt.NDArray[np.uint64]


class Learnt(NamedTuple):
    """From somebody."""

    directly: list[str]
    """Versions that had her pairs."""
    by_descent: list[str]
    """Versions that had not, but were made from one that had."""


class Lineage:
    """Of a trainer's folder. Every method raises TransientError if the disk is full or fails."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        path = folder / _FILE
        self._path = path
        # SQLite would follow a link, and its other files have this one's permissions.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=30.0, isolation_level=None)
        self._run("PRAGMA secure_delete = ON")
        self._run(_TABLE)

    def close(self) -> None:
        self._db.close()

    def begin(self, pseudonyms: Iterable[str]) -> None:
        """A round reads these shoppers' pairs. Whoever is forgotten while it is under way is taken out of it."""
        salt = secrets.token_bytes(_SALT_BYTES)
        hashes = np.unique(np.array([_hash(salt, pseudonym) for pseudonym in pseudonyms], dtype=np.uint64))
        statement = "INSERT OR REPLACE INTO versions (version, made_from, salt, shoppers) VALUES (?, NULL, ?, ?)"
        self._run(statement, _UNDER_WAY, salt, _pack(hashes))

    def made(self, version: str, made_from: str | None) -> None:
        """The round made a version, from another one or from a model that nobody was learnt from. What is known of it already stays."""
        self._run("UPDATE OR IGNORE versions SET version = ?, made_from = ? WHERE version = ?", version, made_from, _UNDER_WAY)

    def learnt_from_nobody(self, version: str) -> None:
        """The model that everything began with has become a version."""
        self._run("INSERT OR IGNORE INTO versions (version, made_from, salt, shoppers) VALUES (?, NULL, ?, ?)", version, b"", b"")

    def of(self, pseudonyms: Collection[str]) -> dict[str, Learnt]:
        """Who learnt from each of these shoppers, the first version first."""
        rows = self._run("SELECT version, made_from, salt, shoppers FROM versions WHERE version <> ? ORDER BY rowid", _UNDER_WAY)
        parents = {version: made_from for version, made_from, _, _ in rows}
        lines = {version: set(_line(version, parents)) for version in parents}
        directly: dict[str, list[str]] = {pseudonym: [] for pseudonym in pseudonyms}
        for version, _, salt, shoppers in rows:
            hashes = _unpack(shoppers)
            for pseudonym, versions in directly.items():
                if _holds(hashes, _hash(salt, pseudonym)):
                    versions.append(version)
        return {
            pseudonym: Learnt(known, [version for version in parents if version not in known and lines[version].intersection(known)])
            for pseudonym, known in directly.items()
        }

    def forget(self, pseudonyms: Collection[str]) -> None:
        """Take shoppers out, and remember of each version that had one that somebody is to be forgotten whom it knew."""
        for version, salt, shoppers in self._run("SELECT version, salt, shoppers FROM versions"):
            hashes = _unpack(shoppers)
            left = hashes[~np.isin(hashes, np.array([_hash(salt, pseudonym) for pseudonym in pseudonyms], dtype=np.uint64))]
            if len(left) < len(hashes):
                erased = len(hashes) - len(left)
                self._run("UPDATE versions SET shoppers = ?, erased = erased + ? WHERE version = ?", _pack(left), erased, version)

    def move(self, old: str, new: str) -> None:
        """A shopper has another pseudonym from now on."""
        for version, salt, shoppers in self._run("SELECT version, salt, shoppers FROM versions"):
            hashes, own = _unpack(shoppers), _hash(salt, old)
            if _holds(hashes, own):
                moved = np.unique(np.append(hashes[hashes != np.uint64(own)], np.uint64(_hash(salt, new))))
                self._run("UPDATE versions SET shoppers = ? WHERE version = ?", _pack(moved), version)

    def clean_ancestor(self, version: str) -> str | None:
        """The newest of a version and those that it was made from that, with all of its own ancestors, learnt from nobody who is to be
        forgotten. None where there is no such one, or one of them is not known here."""
        rows = {found: (made_from, erased) for found, made_from, erased in self._run("SELECT version, made_from, erased FROM versions")}
        line = list(_line(version, {found: made_from for found, (made_from, _) in rows.items()}))
        clean = None
        for ancestor in reversed(line):  # from where everything began
            if ancestor not in rows or rows[ancestor][1]:
                break
            clean = ancestor
        return clean

    def keep_only(self, versions: Iterable[str]) -> int:
        """Forget the versions that no longer exist, and that none of these was made from; how many."""
        parents = dict(self._run("SELECT version, made_from FROM versions"))
        needed = {_UNDER_WAY} | {ancestor for version in versions for ancestor in _line(version, parents)}
        gone = [version for version in parents if version not in needed]
        for version in gone:
            self._run("DELETE FROM versions WHERE version = ?", version)
        return len(gone)

    def _run(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            raise TransientError(f"{self._path} failed ({error}); free some space, or check its permissions") from error


def _line(version: str, parents: dict[str, str | None]) -> list[str]:
    """The version, what it was made from, and so on."""
    line: list[str] = []
    following: str | None = version
    while following is not None and following not in line:
        line.append(following)
        following = parents.get(following)
    return line


def _hash(salt: bytes, pseudonym: str) -> int:
    return int.from_bytes(blake2b(pseudonym.encode(), digest_size=_HASH_BYTES, key=salt).digest(), "little")


def _holds(hashes: Hashes, own: int) -> bool:
    place = int(np.searchsorted(hashes, np.uint64(own)))
    return place < len(hashes) and int(hashes[place]) == own


def _pack(hashes: Hashes) -> bytes:
    return hashes.astype("<u8").tobytes()


def _unpack(data: bytes) -> Hashes:
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)

"""Training pairs and logs of features on disk: bounded, each once, with their topics' offsets in one SQLite file. So they always agree.

SQLite's write-ahead log has checksums. A half-written end after a crash is cut off when the file is opened again.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from streams.atrest.table import refuse_sealed
from streams.errors import TransientError
from streams.files import private_folder
from streams.privacy.consent import GATED
from streams.privacy.moves import MovesSealer
from streams.serde.records import ConsentDecision, FeatureLog, Forgotten, TrainingPair
from streams.stages.profile.moves import ProfileMove
from streams.training.cases import without_unused_histories
from streams.training.row_seal import RowSeal
from streams.training.time_slices import OldSlice

log = logging.getLogger(__name__)

_FILE = "pairs.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS pairs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, pair_id TEXT NOT NULL UNIQUE, pseudonym TEXT NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS pairs_by_time ON pairs (at_ms);
CREATE INDEX IF NOT EXISTS pairs_by_pseudonym ON pairs (pseudonym, at_ms);
CREATE TABLE IF NOT EXISTS logs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, log_id TEXT NOT NULL UNIQUE, pseudonym TEXT NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS logs_by_time ON logs (at_ms);
CREATE INDEX IF NOT EXISTS logs_by_pseudonym ON logs (pseudonym);
CREATE TABLE IF NOT EXISTS offsets (topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, part));
CREATE TABLE IF NOT EXISTS counted (seq INTEGER PRIMARY KEY AUTOINCREMENT, feedback_id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS refused (
    pseudonym TEXT NOT NULL, purpose TEXT NOT NULL, until_ms INTEGER NOT NULL, still INTEGER NOT NULL, PRIMARY KEY (pseudonym, purpose)
);
CREATE TABLE IF NOT EXISTS moved (old TEXT PRIMARY KEY, new BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_ALLOWED = "NOT EXISTS (SELECT 1 FROM refused WHERE refused.pseudonym = ?2 AND (still OR until_ms >= ?3))"
_INSERT = f"INSERT OR IGNORE INTO pairs (pair_id, pseudonym, at_ms, body) SELECT ?1, ?2, ?3, ?4 WHERE {_ALLOWED}"
_INSERT_LOG = f"INSERT OR IGNORE INTO logs (log_id, pseudonym, at_ms, body) SELECT ?1, ?2, ?3, ?4 WHERE {_ALLOWED}"
_REFUSE = """
INSERT INTO refused VALUES (?1, ?2, ?3, 1) ON CONFLICT (pseudonym, purpose) DO UPDATE SET until_ms = max(until_ms, ?3), still = 1
"""
_FORGOT = """
INSERT INTO refused VALUES (?1, ?2, ?3, 0) ON CONFLICT (pseudonym, purpose) DO UPDATE SET until_ms = max(until_ms, ?3)
"""
_ERASURE = "erasure"
"""In the place of a purpose."""
_HELD_MS = 45 * 86_400_000
"""Longer than any topic with pairs or logs holds them."""
_ALLOW = "UPDATE refused SET still = 0 WHERE pseudonym = ? AND purpose = ?"
_ADVANCE = "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT (topic, part) DO UPDATE SET next = max(next, excluded.next)"
_COUNTED = 500_000
"""Ids of feedback that are remembered."""
_LOGS = 20_000
"""Logs of features that are kept, the newest: some 100 MB."""
_PORTION = 500
"""Rows that are sealed anew in one transaction."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.decode

Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) to the offset to read next."""


R = TypeVar("R", TrainingPair, FeatureLog)


class NewPseudonym(msgspec.Struct, array_like=True, frozen=True):
    """Where a shopper's pairs go, sealed in the store."""

    name: str


class Bounds(NamedTuple):
    """What is kept: the newest by event time."""

    most: int = 200_000
    age_ms: int = 90 * 86_400_000
    """Before the newest pair."""


class PairStore:
    """One process writes; others may read at the same time. Every method raises TransientError if the disk is full or fails."""

    def __init__(self, folder: Path, bounds: Bounds, seal: RowSeal | None = None, *, moves: MovesSealer | None = None) -> None:
        """A damaged file is moved aside and a new one begun: the topic still holds what it held. Without ``seal`` rows are plain.
        ``moves``: with it the new pseudonyms of shoppers are sealed while the key is rotated; without it none is kept."""
        self._moves = moves
        self._path, self._bounds = folder / _FILE, bounds
        self._seal = seal
        with _reached(self._path):
            private_folder(folder)
            try:
                self._db = _open(self._path)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode not in _DAMAGED:
                    raise
                aside = self._path.with_suffix(".damaged")
                log.warning("%s is damaged (%s): it is renamed to %s, and the topic is read again", self._path.name, error, aside.name)
                for suffix in ("-wal", "-shm"):
                    self._path.with_name(_FILE + suffix).unlink(missing_ok=True)
                self._path.replace(aside)
                self._db = _open(self._path)

    def append(self, pairs: Iterable[TrainingPair], offsets: Offsets) -> int:
        """Take in pairs and how far the topic is read then, both or neither; how many were new. What was there already stays."""
        with _reached(self._path), self._db:
            before = self._db.total_changes
            known = self._renamed(pairs)
            self._db.executemany(_INSERT, self._rows((p["pair_id"], p["pseudonym"], p["occurred_at"], _pack(p)) for p in known))
            new = self._db.total_changes - before
            self._advance(offsets)
            self._prune()
        return new

    def append_logs(self, logs: Iterable[FeatureLog], offsets: Offsets) -> int:
        """As ``append``, of logs of features."""
        with _reached(self._path), self._db:
            before = self._db.total_changes
            known = self._renamed(logs)
            self._db.executemany(_INSERT_LOG, self._rows((o["log_id"], o["pseudonym"], o["created_at"], _pack(o)) for o in known))
            new = self._db.total_changes - before
            self._advance(offsets)
            over = self._count("logs") - _LOGS
            if over > 0:
                self._db.execute("DELETE FROM logs WHERE seq IN (SELECT seq FROM logs ORDER BY at_ms, seq LIMIT ?)", (over,))
        return new

    def read_logs(self) -> list[FeatureLog]:
        """By time. None is older than the pairs: what was removed can't be joined."""
        with _reached(self._path):
            rows = self._db.execute("SELECT pseudonym, log_id, body FROM logs ORDER BY at_ms, log_id").fetchall()
            return [_unpack(body) for _, body in self._opened(rows)]

    def advance(self, offsets: Offsets, state: Mapping[str, object], counted: Sequence[str] = ()) -> None:
        """Write named values, the offsets of their topic, and the ids of the feedback in them, all or nothing."""
        with _reached(self._path), self._db:
            self._db.executemany("INSERT OR IGNORE INTO counted (feedback_id) VALUES (?)", [(known,) for known in counted])
            if counted:
                self._db.execute("DELETE FROM counted WHERE seq <= (SELECT max(seq) FROM counted) - ?", (_COUNTED,))
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", [(name, _pack(value)) for name, value in state.items()])
            self._advance(offsets)

    def offsets(self, topic: str) -> dict[int, int]:
        """By partition, the offset to read next."""
        with _reached(self._path):
            return dict(self._db.execute("SELECT part, next FROM offsets WHERE topic = ?", (topic,)).fetchall())

    def counted(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are among the last half million that were counted."""
        query = "SELECT feedback_id FROM counted WHERE feedback_id IN (SELECT value FROM json_each(?))"
        with _reached(self._path):
            return {known for (known,) in self._db.execute(query, (json.dumps(list(ids)),)).fetchall()}

    def begin_anew(self, topic: str, part: int, following: int) -> None:
        """The partition is another one than it was: it is read from that offset, though more was read of the old one."""
        with _reached(self._path), self._db:
            self._db.execute("DELETE FROM offsets WHERE topic = ? AND part = ?", (topic, part))
            self._advance({(topic, part): following})

    def state(self, name: str) -> object:
        """What ``advance`` last put there; None if nothing was."""
        with _reached(self._path):
            row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else _unpack(row[0])

    def forget(self, pseudonym: str) -> int:
        """Remove all pairs and logs of a shopper, their bytes overwritten; how many there were. Offsets stay."""
        with _reached(self._path):
            with self._db:
                removed = self._forget(pseudonym)
            self._overwrite({pseudonym}, is_anything_gone=removed > 0)
        return removed

    def decide(self, decisions: Iterable[ConsentDecision], offsets: Offsets) -> int:
        """Take in decisions on consent. Of a shopper who refuses one of the gated purposes all is removed, its bytes overwritten, and
        nothing more is taken in; of one who agrees later only what came after the refusal. How many pairs and logs were removed.
        """
        removed, gone = 0, set[str]()
        with _reached(self._path):
            with self._db:
                for one in decisions:
                    if one["purpose"] not in GATED:
                        continue
                    if one["allowed"]:
                        self._db.execute(_ALLOW, (one["pseudonym"], one["purpose"]))
                    else:
                        # A decision that came late counts from when it came.
                        until_ms = max(one["decided_at"], one["received_at"])
                        self._db.execute(_REFUSE, (one["pseudonym"], one["purpose"], until_ms))
                        removed += self._forget(one["pseudonym"])
                        gone.add(one["pseudonym"])
                self._advance(offsets)
            self._overwrite(gone, is_anything_gone=removed > 0)
        return removed

    def erase(self, requests: Iterable[Forgotten], offsets: Offsets) -> int:
        """Take in requests to forget shoppers. All of theirs, or what has to do with one item, is removed, its bytes overwritten, and what
        is from before the request is not taken in any more. How many pairs and logs were removed.
        """
        removed, gone, changed = 0, set[str](), set[str]()
        with _reached(self._path):
            with self._db:
                for one in requests:
                    if one["item_id"] is not None:
                        removed += self._forget_item(one["pseudonym"], one["item_id"])
                        changed.add(one["pseudonym"])
                        continue
                    gone.add(one["pseudonym"])
                    self._db.execute(_FORGOT, (one["pseudonym"], _ERASURE, one["received_at"]))
                    self._db.execute("DELETE FROM refused WHERE pseudonym = ? AND purpose <> ?", (one["pseudonym"], _ERASURE))
                    removed += self._forget(one["pseudonym"])
                    # By then no topic holds anything from before.
                    self._db.execute("DELETE FROM refused WHERE purpose = ? AND until_ms < ?", (_ERASURE, one["received_at"] - _HELD_MS))
                self._advance(offsets)
            self._overwrite(gone, is_anything_gone=removed > 0)
            for pseudonym in changed - gone:
                self._renew(pseudonym)
        return removed

    def move(self, moves: Iterable[ProfileMove], offsets: Offsets) -> int:
        """Take in what the profile stage says of old pseudonyms and new ones: what is kept under an old one is the new one's from now on,
        and so is what still comes under the old one. How many pairs and logs were removed, because their shoppers refused or asked for it.
        """
        removed, gone, changed = 0, set[str](), set[str]()
        with _reached(self._path):
            with self._db:
                for one in moves:
                    if one.what == "forget" and one.item_id is not None:
                        removed += self._forget_item(one.old, one.item_id)
                        changed.add(one.old)
                        continue
                    if one.what == "forget":
                        self._db.execute(_FORGOT, (one.old, _ERASURE, one.received_ms))
                        removed += self._forget(one.old)
                        gone.add(one.old)
                    if one.is_same and self._moves is not None:
                        sealed = self._moves.seal("trainer", NewPseudonym(one.new))
                        self._db.execute("INSERT OR IGNORE INTO moved VALUES (?, ?)", (one.old, sealed))
                        removed += self._rename(one.old, one.new)
                        gone.add(one.old)
                self._advance(offsets)
            self._overwrite(gone, is_anything_gone=removed > 0)
            for pseudonym in changed - gone:
                self._renew(pseudonym)
        return removed

    def end_moves(self) -> None:
        """No rotation goes on: nobody can open any more what is kept of the last one."""
        with _reached(self._path), self._db:
            self._db.execute("DELETE FROM moved")

    def _rename(self, old: str, new: str) -> int:
        """What the new pseudonym's shopper does not allow is removed, the rest is hers; how much was removed."""
        removed = 0
        for table, insert in (("pairs", _INSERT), ("logs", _INSERT_LOG)):
            name = "pair_id" if table == "pairs" else "log_id"
            query = f"SELECT pseudonym, {name}, body, at_ms FROM {table} WHERE pseudonym = ? ORDER BY seq"  # noqa: S608
            rows = list(self._opened(self._db.execute(query, (old,)).fetchall()))
            self._db.execute(f"DELETE FROM {table} WHERE pseudonym = ?", (old,))  # noqa: S608
            before = self._db.total_changes
            renamed = ((row[1], new, row[3], _pack({**_unpack(body), "pseudonym": new})) for row, body in rows)
            self._db.executemany(insert, self._rows(renamed))
            removed += len(rows) - (self._db.total_changes - before)
        return removed

    def _renamed(self, values: Iterable[R]) -> list[R]:
        """With the new pseudonyms of those who were moved, where the old one allowed it."""
        known = list(values)
        if self._moves is None or not known:
            return known
        names = json.dumps(list({value["pseudonym"] for value in known}))
        query = "SELECT old, new FROM moved WHERE old IN (SELECT value FROM json_each(?))"
        sealed = dict(self._db.execute(query, (names,)).fetchall())
        if not sealed:
            return known
        new = {old: self._moves.open("trainer", data, NewPseudonym).name for old, data in sealed.items()}
        refused = "SELECT max(until_ms), max(still) FROM refused WHERE pseudonym = ?"
        found: list[R] = []
        for value in known:
            if value["pseudonym"] not in new:
                found.append(value)
                continue
            until_ms, still = self._db.execute(refused, (value["pseudonym"],)).fetchone()
            if not still and (until_ms is None or until_ms < (value.get("occurred_at") or value.get("created_at") or 0)):
                found.append({**value, "pseudonym": new[value["pseudonym"]]})
        return found

    def _forget_item(self, pseudonym: str, item_id: str) -> int:
        rows = self._db.execute("SELECT pseudonym, pair_id, body, seq FROM pairs WHERE pseudonym = ?", (pseudonym,)).fetchall()
        pairs = [row[3] for row, body in self._opened(rows) if _has_item(_unpack(body), item_id)]
        self._db.executemany("DELETE FROM pairs WHERE seq = ?", [(seq,) for seq in pairs])
        # A log's levels are made of the whole history, which may hold the item.
        return len(pairs) + self._db.execute("DELETE FROM logs WHERE pseudonym = ?", (pseudonym,)).rowcount

    def _forget(self, pseudonym: str) -> int:
        removed = self._db.execute("DELETE FROM pairs WHERE pseudonym = ?", (pseudonym,)).rowcount
        return removed + self._db.execute("DELETE FROM logs WHERE pseudonym = ?", (pseudonym,)).rowcount

    def _overwrite(self, gone: Collection[str] = (), *, is_anything_gone: bool = True) -> None:
        """The log of changes holds what was deleted until it is written over. After that no old copy opens either, also of what was
        removed for its age before."""
        if is_anything_gone:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self._seal is not None and gone:
            self._seal.shred(gone, with_round=is_anything_gone)

    # --- what is sealed

    def _rows(self, rows: Iterable[tuple[str, str, int, bytes]]) -> list[tuple[str, str, int, bytes]]:
        """Id, pseudonym, time and body, as they are stored."""
        plain, seal = list(rows), self._seal
        if seal is None:
            return plain
        seal.need(pseudonym for _, pseudonym, _, _ in plain)
        return [(row, pseudonym, at_ms, seal.seal(pseudonym, row, body)) for row, pseudonym, at_ms, body in plain]

    def _opened(self, rows: Iterable[Any]) -> Iterator[tuple[Any, bytes]]:
        """Rows that begin with pseudonym, id and body, with what is in the body; without those of which it is shredded."""
        for row in rows:
            body = _open_body(self._seal, *row[:3])
            if body is not None:
                yield row, body

    def _renew(self, pseudonym: str) -> None:
        """What is kept of a shopper gets another data key."""
        if self._seal is not None:
            self._seal.renew(pseudonym)
            self._reseal("pairs", "pair_id", pseudonym)
            self._reseal("logs", "log_id", pseudonym)
            self._overwrite()
            self._seal.settle(pseudonym)

    def tidy(self) -> int:
        """Seal anew what is plain or not under the current keys, and remove what a kill has left of data keys; how many rows there were.
        Called when the trainer starts, before anything else is done with it."""
        seal = self._seal
        if seal is None:
            return 0
        with _reached(self._path):
            count = self._reseal("pairs", "pair_id") + self._reseal("logs", "log_id")
            used = {name for (name,) in self._db.execute("SELECT pseudonym FROM pairs UNION SELECT pseudonym FROM logs")}
            names = seal.names()
            unused = [name for name in names if name not in used]
            if count:
                self._overwrite()
            if unused:
                seal.shred(unused, with_round=False)
            seal.settle_keys(name for name in names if name in used)
        return count

    def _reseal(self, table: Literal["pairs", "logs"], name: Literal["pair_id", "log_id"], pseudonym: str | None = None) -> int:
        """In transactions of some hundred rows: others may read meanwhile."""
        seal, after, count = self._seal, 0, 0
        if seal is None:
            return 0
        only = "" if pseudonym is None else " AND pseudonym = ?3"
        query = f"SELECT pseudonym, {name}, body, seq FROM {table} WHERE seq > ?1{only} ORDER BY seq LIMIT ?2"  # noqa: S608 - names of ours
        while rows := self._db.execute(query, (after, _PORTION, *([] if pseudonym is None else [pseudonym]))).fetchall():
            after = rows[-1][3]
            due = list(self._opened(row for row in rows if seal.is_due(row[0], row[2])))
            seal.need(row[0] for row, _ in due)
            new = [(seal.seal(row[0], row[1], body), row[3]) for row, body in due]
            with self._db:
                self._db.executemany(f"UPDATE {table} SET body = ? WHERE seq = ?", new)  # noqa: S608
            count += len(new)
        return count

    def __len__(self) -> int:
        """How many pairs there are."""
        with _reached(self._path):
            return self._count("pairs")

    @property
    def logs(self) -> int:
        """How many logs there are."""
        with _reached(self._path):
            return self._count("logs")

    def last(self) -> int:
        """Number of the newest pair taken in: numbers grow and are never given twice."""
        with _reached(self._path):
            return int(self._db.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'pairs'").fetchone()[0])

    def read(self, up_to: int | None = None) -> list[TrainingPair]:
        """The pairs, by shopper and time, with the histories that cases are made of (see
        ``without_unused_histories``); of those numbered up to ``up_to``, where given."""
        query = "SELECT pseudonym, pair_id, body FROM pairs WHERE seq <= ? ORDER BY pseudonym, at_ms, seq"
        with _reached(self._path):
            rows = self._opened(self._db.execute(query, (2**62 if up_to is None else up_to,)))
            return [
                pair
                for _, own in groupby(rows, lambda row: row[0][0])
                for pair in without_unused_histories(_unpack(body) for _, body in own)
            ]

    def close(self) -> None:
        self._db.close()
        if self._seal is not None:
            self._seal.close()

    def _count(self, table: Literal["pairs", "logs"]) -> int:
        query = "SELECT count(*) FROM pairs" if table == "pairs" else "SELECT count(*) FROM logs"
        return int(self._db.execute(query).fetchone()[0])

    def _advance(self, offsets: Offsets) -> None:
        self._db.executemany(_ADVANCE, [(topic, part, following) for (topic, part), following in offsets.items()])

    def _prune(self) -> None:
        """The old slice stays: without it forgetting could no longer be seen."""
        chosen = self.state("old_slice")
        old = OldSlice(*chosen) if chosen is not None else None  # type: ignore[misc]
        self._db.create_function("is_old", 2, lambda user, at_ms: old is not None and old.holds(user, at_ms), deterministic=True)
        before = self._db.total_changes
        self._db.execute(
            "DELETE FROM pairs WHERE at_ms < (SELECT max(at_ms) FROM pairs) - ? AND NOT is_old(pseudonym, at_ms)", (self._bounds.age_ms,)
        )
        over = self._count("pairs") - self._bounds.most
        if over > 0:
            self._db.execute(
                "DELETE FROM pairs WHERE seq IN (SELECT seq FROM pairs WHERE NOT is_old(pseudonym, at_ms) ORDER BY at_ms, seq LIMIT ?)",
                (over,),
            )
        if self._db.total_changes > before:
            # Without its pairs a log would say that nothing was taken.
            self._db.execute("DELETE FROM logs WHERE at_ms < (SELECT min(at_ms) FROM pairs WHERE NOT is_old(pseudonym, at_ms))")


def _open(path: Path) -> sqlite3.Connection:
    # SQLite would follow a link, and its other files have this one's permissions.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    # The trainer writes from its event loop only, but a test or a thread may close it.
    db = sqlite3.connect(path, check_same_thread=False, timeout=30.0)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.executescript(_TABLES)
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _reached(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TransientError(f"the trainer's store {path} failed ({error}); free some space, or check its permissions") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space" if full else "check its permissions"
        raise TransientError(f"the trainer's store {path} failed ({error.strerror}); {fix}") from error


def kept_of(folder: Path, pseudonym: str, seal: RowSeal | None = None) -> tuple[list[TrainingPair], list[FeatureLog]]:
    """The pairs and logs of a shopper in a trainer's folder, while the trainer may be at work; none where there is no folder."""
    path = folder / _FILE
    if not path.is_file():
        return [], []
    with _reached(path):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            pairs = db.execute("SELECT pair_id, body FROM pairs WHERE pseudonym = ? ORDER BY at_ms, seq", (pseudonym,)).fetchall()
            logs = db.execute("SELECT log_id, body FROM logs WHERE pseudonym = ? ORDER BY at_ms, log_id", (pseudonym,)).fetchall()
            opened = [[_open_body(seal, pseudonym, *row) for row in rows] for rows in (pairs, logs)]
        finally:
            db.close()
            if seal is not None:
                seal.close()
    found = [[_unpack(body) for body in bodies if body is not None] for bodies in opened]
    return found[0], found[1]


def _open_body(seal: RowSeal | None, pseudonym: str, row: str, body: bytes) -> bytes | None:
    """None where it is shredded."""
    if seal is not None:
        return seal.open(pseudonym, row, body)
    refuse_sealed(body, "the trainer's store")
    return body


def _has_item(pair: TrainingPair, item_id: str) -> bool:
    return pair["item_id"] == item_id or any(past["kind"] == "item" and past["ref"] == item_id for past in pair["history"])

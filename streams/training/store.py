"""Training pairs and logs of features on disk: bounded, each once, with their topics' offsets in one SQLite file. So they always agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from streams.privacy.consent import GATED
from streams.privacy.moves import MovesSealer
from streams.serde.records import ConsentDecision, FeatureLog, Forgotten, TrainingPair
from streams.stages.profile.moves import ProfileMove
from streams.training.cases import without_unused_histories
from streams.training.pair_file import FILE, open_file, reached
from streams.training.row_seal import RowSeal
from streams.training.sealed_rows import SealedRows
from streams.training.time_slices import OldSlice

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
        self._path, self._bounds = folder / FILE, bounds
        self._db = open_file(folder)
        self._rows = SealedRows(self._db, seal)

    def append(self, pairs: Iterable[TrainingPair], offsets: Offsets) -> int:
        """Take in pairs and how far the topic is read then, both or neither; how many were new. What was there already stays."""
        with reached(self._path), self._db:
            before = self._db.total_changes
            known = self._renamed(pairs)
            self._db.executemany(_INSERT, self._rows.sealed((p["pair_id"], p["pseudonym"], p["occurred_at"], _pack(p)) for p in known))
            new = self._db.total_changes - before
            self._advance(offsets)
            self._prune()
        return new

    def append_logs(self, logs: Iterable[FeatureLog], offsets: Offsets) -> int:
        """As ``append``, of logs of features."""
        with reached(self._path), self._db:
            before = self._db.total_changes
            known = self._renamed(logs)
            self._db.executemany(_INSERT_LOG, self._rows.sealed((o["log_id"], o["pseudonym"], o["created_at"], _pack(o)) for o in known))
            new = self._db.total_changes - before
            self._advance(offsets)
            over = self._count("logs") - _LOGS
            if over > 0:
                self._db.execute("DELETE FROM logs WHERE seq IN (SELECT seq FROM logs ORDER BY at_ms, seq LIMIT ?)", (over,))
        return new

    def read_logs(self) -> list[FeatureLog]:
        """By time. None is older than the pairs: what was removed can't be joined."""
        with reached(self._path):
            rows = self._db.execute("SELECT pseudonym, log_id, body FROM logs ORDER BY at_ms, log_id").fetchall()
            return [_unpack(body) for _, body in self._rows.opened(rows)]

    def advance(self, offsets: Offsets, state: Mapping[str, object], counted: Sequence[str] = ()) -> None:
        """Write named values, the offsets of their topic, and the ids of the feedback in them, all or nothing."""
        with reached(self._path), self._db:
            self._db.executemany("INSERT OR IGNORE INTO counted (feedback_id) VALUES (?)", [(known,) for known in counted])
            if counted:
                self._db.execute("DELETE FROM counted WHERE seq <= (SELECT max(seq) FROM counted) - ?", (_COUNTED,))
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", [(name, _pack(value)) for name, value in state.items()])
            self._advance(offsets)

    def offsets(self, topic: str) -> dict[int, int]:
        """By partition, the offset to read next."""
        with reached(self._path):
            return dict(self._db.execute("SELECT part, next FROM offsets WHERE topic = ?", (topic,)).fetchall())

    def counted(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are among the last half million that were counted."""
        query = "SELECT feedback_id FROM counted WHERE feedback_id IN (SELECT value FROM json_each(?))"
        with reached(self._path):
            return {known for (known,) in self._db.execute(query, (json.dumps(list(ids)),)).fetchall()}

    def begin_anew(self, topic: str, part: int, following: int) -> None:
        """The partition is another one than it was: it is read from that offset, though more was read of the old one."""
        with reached(self._path), self._db:
            self._db.execute("DELETE FROM offsets WHERE topic = ? AND part = ?", (topic, part))
            self._advance({(topic, part): following})

    def state(self, name: str) -> object:
        """What ``advance`` last put there; None if nothing was."""
        with reached(self._path):
            row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else _unpack(row[0])

    def forget(self, pseudonym: str) -> int:
        """Remove all pairs and logs of a shopper, their bytes overwritten; how many there were. Offsets stay."""
        with reached(self._path):
            with self._db:
                removed = self._forget(pseudonym)
            self._rows.overwrite({pseudonym}, is_anything_gone=removed > 0)
        return removed

    def decide(self, decisions: Iterable[ConsentDecision], offsets: Offsets) -> int:
        """Take in decisions on consent. Of a shopper who refuses one of the gated purposes all is removed, its bytes overwritten, and
        nothing more is taken in; of one who agrees later only what came after the refusal. How many pairs and logs were removed.
        """
        removed, gone = 0, set[str]()
        with reached(self._path):
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
            self._rows.overwrite(gone, is_anything_gone=removed > 0)
        return removed

    def erase(self, requests: Iterable[Forgotten], offsets: Offsets) -> int:
        """Take in requests to forget shoppers. All of theirs, or what has to do with one item, is removed, its bytes overwritten, and what
        is from before the request is not taken in any more. How many pairs and logs were removed.
        """
        removed, gone, changed = 0, set[str](), set[str]()
        with reached(self._path):
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
                self._rows.note_renewal(changed - gone)
                self._advance(offsets)
            self._rows.overwrite(gone, is_anything_gone=removed > 0)
            if changed - gone:
                self._rows.renew()
        return removed

    def move(self, moves: Iterable[ProfileMove], offsets: Offsets) -> int:
        """Take in what the profile stage says of old pseudonyms and new ones: what is kept under an old one is the new one's from now on,
        and so is what still comes under the old one. How many pairs and logs were removed, because their shoppers refused or asked for it.
        """
        removed, gone, changed = 0, set[str](), set[str]()
        with reached(self._path):
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
                self._rows.note_renewal(changed - gone)
                self._advance(offsets)
            self._rows.overwrite(gone, is_anything_gone=removed > 0)
            if changed - gone:
                self._rows.renew()
        return removed

    def end_moves(self) -> None:
        """No rotation goes on: nobody can open any more what is kept of the last one."""
        with reached(self._path), self._db:
            self._db.execute("DELETE FROM moved")

    def _rename(self, old: str, new: str) -> int:
        """What the new pseudonym's shopper does not allow is removed, the rest is hers; how much was removed."""
        removed = 0
        for table, insert in (("pairs", _INSERT), ("logs", _INSERT_LOG)):
            name = "pair_id" if table == "pairs" else "log_id"
            query = f"SELECT pseudonym, {name}, body, at_ms FROM {table} WHERE pseudonym = ? ORDER BY seq"  # noqa: S608
            rows = list(self._rows.opened(self._db.execute(query, (old,)).fetchall()))
            self._db.execute(f"DELETE FROM {table} WHERE pseudonym = ?", (old,))  # noqa: S608
            before = self._db.total_changes
            renamed = ((row[1], new, row[3], _pack({**_unpack(body), "pseudonym": new})) for row, body in rows)
            self._db.executemany(insert, self._rows.sealed(renamed))
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
        pairs = [row[3] for row, body in self._rows.opened(rows) if _has_item(_unpack(body), item_id)]
        self._db.executemany("DELETE FROM pairs WHERE seq = ?", [(seq,) for seq in pairs])
        # A log's levels are made of the whole history, which may hold the item.
        return len(pairs) + self._db.execute("DELETE FROM logs WHERE pseudonym = ?", (pseudonym,)).rowcount

    def _forget(self, pseudonym: str) -> int:
        removed = self._db.execute("DELETE FROM pairs WHERE pseudonym = ?", (pseudonym,)).rowcount
        return removed + self._db.execute("DELETE FROM logs WHERE pseudonym = ?", (pseudonym,)).rowcount

    def tidy(self) -> int:
        """Seal anew what is plain or not under the current keys, and remove what a kill has left of data keys; how many rows there were.
        Called when the trainer starts, before anything else is done with it."""
        with reached(self._path):
            return self._rows.tidy()

    def __len__(self) -> int:
        """How many pairs there are."""
        with reached(self._path):
            return self._count("pairs")

    @property
    def logs(self) -> int:
        """How many logs there are."""
        with reached(self._path):
            return self._count("logs")

    def last(self) -> int:
        """Number of the newest pair taken in: numbers grow and are never given twice."""
        with reached(self._path):
            return int(self._db.execute("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'pairs'").fetchone()[0])

    def read(self, up_to: int | None = None) -> list[TrainingPair]:
        """The pairs, by shopper and time, with the histories that cases are made of (see
        ``without_unused_histories``); of those numbered up to ``up_to``, where given."""
        query = "SELECT pseudonym, pair_id, body FROM pairs WHERE seq <= ? ORDER BY pseudonym, at_ms, seq"
        with reached(self._path):
            rows = self._rows.opened(self._db.execute(query, (2**62 if up_to is None else up_to,)))
            return [
                pair
                for _, own in groupby(rows, lambda row: row[0][0])
                for pair in without_unused_histories(_unpack(body) for _, body in own)
            ]

    def close(self) -> None:
        self._db.close()
        self._rows.close()

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


def _has_item(pair: TrainingPair, item_id: str) -> bool:
    return pair["item_id"] == item_id or any(past["kind"] == "item" and past["ref"] == item_id for past in pair["history"])

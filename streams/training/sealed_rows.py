"""Rows of the trainer's store as they lie in its file: sealed, each shopper's under a data key of her own, where there is a state key."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

from streams.atrest.table import refuse_sealed
from streams.training.row_seal import RowSeal

_PORTION = 500
"""Rows that are sealed anew in one transaction."""

Row = tuple[str, str, int, bytes]
"""Id, pseudonym, time and body."""


class SealedRows:
    """Of one file. Without ``seal`` rows are plain. Raises ``sqlite3.Error``, and what ``RowSeal.open`` raises."""

    def __init__(self, db: sqlite3.Connection, seal: RowSeal | None) -> None:
        self._db, self._seal = db, seal

    def close(self) -> None:
        if self._seal is not None:
            self._seal.close()

    def sealed(self, rows: Iterable[Row]) -> list[Row]:
        """As they are stored."""
        plain, seal = list(rows), self._seal
        if seal is None:
            return plain
        seal.need(pseudonym for _, pseudonym, _, _ in plain)
        return [(row, pseudonym, at_ms, seal.seal(pseudonym, row, body)) for row, pseudonym, at_ms, body in plain]

    def opened(self, rows: Iterable[Any]) -> Iterator[tuple[Any, bytes]]:
        """Rows that begin with pseudonym, id and body, with what is in the body; without those of which it is shredded."""
        for row in rows:
            body = open_body(self._seal, *row[:3])
            if body is not None:
                yield row, body

    def overwrite(self, gone: Collection[str] = (), *, is_anything_gone: bool = True) -> None:
        """The log of changes holds what was deleted until it is written over. After that no old copy of theirs opens either, also of what
        was removed for its age before."""
        if is_anything_gone:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self._seal is not None and gone:
            self._seal.shred(gone, with_round=is_anything_gone)

    def note_renewal(self, pseudonyms: Collection[str]) -> None:
        """Within the transaction that removes something of theirs: what is left gets another data key, after a kill too."""
        if self._seal is not None:
            self._db.executemany("INSERT OR IGNORE INTO renewals VALUES (?)", [(pseudonym,) for pseudonym in pseudonyms])

    def renew(self) -> None:
        """Give those who are noted another data key."""
        seal = self._seal
        if seal is None:
            return
        for (pseudonym,) in self._db.execute("SELECT pseudonym FROM renewals").fetchall():
            self._renew(seal, pseudonym)
            with self._db:
                self._db.execute("DELETE FROM renewals WHERE pseudonym = ?", (pseudonym,))

    def _renew(self, seal: RowSeal, pseudonym: str) -> None:
        seal.renew(pseudonym)
        self._reseal(seal, "pairs", "pair_id", pseudonym)
        self._reseal(seal, "logs", "log_id", pseudonym)
        self.overwrite()
        seal.settle(pseudonym)

    def tidy(self) -> int:
        """Seal anew what is plain or not under the current keys, and remove what a kill has left of data keys; how many rows there were.
        Called when the trainer starts, before anything else is done with it."""
        seal = self._seal
        if seal is None:
            return 0
        self.renew()
        count = self._reseal(seal, "pairs", "pair_id") + self._reseal(seal, "logs", "log_id")
        used = {name for (name,) in self._db.execute("SELECT pseudonym FROM pairs UNION SELECT pseudonym FROM logs")}
        names = seal.names()
        unused = [name for name in names if name not in used]
        if count:
            self.overwrite()
        if unused:
            seal.shred(unused, with_round=False)
        seal.settle_keys(name for name in names if name in used)
        return count

    def _reseal(
        self, seal: RowSeal, table: Literal["pairs", "logs"], name: Literal["pair_id", "log_id"], pseudonym: str | None = None
    ) -> int:
        """In transactions of some hundred rows: others may read meanwhile."""
        after, count = 0, 0
        only = "" if pseudonym is None else " AND pseudonym = ?3"
        query = f"SELECT pseudonym, {name}, body, seq FROM {table} WHERE seq > ?1{only} ORDER BY seq LIMIT ?2"  # noqa: S608 - names of ours
        while rows := self._db.execute(query, (after, _PORTION, *([] if pseudonym is None else [pseudonym]))).fetchall():
            after = rows[-1][3]
            due = list(self.opened(row for row in rows if seal.is_due(row[0], row[2])))
            seal.need(row[0] for row, _ in due)
            new = [(seal.seal(row[0], row[1], body), row[3]) for row, body in due]
            with self._db:
                self._db.executemany(f"UPDATE {table} SET body = ? WHERE seq = ?", new)  # noqa: S608
            count += len(new)
        return count


def open_body(seal: RowSeal | None, pseudonym: str, row: str, body: bytes) -> bytes | None:
    """None where it is shredded."""
    if seal is not None:
        return seal.open(pseudonym, row, body)
    refuse_sealed(body, "the trainer's store")
    return body

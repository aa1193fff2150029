"""The SQLite file of the trainer's store: its tables, and what a fault of the disk becomes.

SQLite's write-ahead log has checksums. A half-written end after a crash is cut off when the file is opened again.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import TransientError
from streams.files import private_folder

log = logging.getLogger(__name__)

FILE = "pairs.sqlite"
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
CREATE TABLE IF NOT EXISTS renewals (pseudonym TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS moved (old TEXT PRIMARY KEY, new BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_file(folder: Path) -> sqlite3.Connection:
    """A damaged file is moved aside and a new one begun: the topics still hold what it held. Raises TransientError as ``reached``."""
    path = folder / FILE
    with reached(path):
        private_folder(folder)
        try:
            return _open(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGED:
                raise
            aside = path.with_suffix(".damaged")
            log.warning("%s is damaged (%s): it is renamed to %s, and the topic is read again", path.name, error, aside.name)
            for suffix in ("-wal", "-shm"):
                path.with_name(FILE + suffix).unlink(missing_ok=True)
            path.replace(aside)
            return _open(path)


def open_to_read(folder: Path) -> sqlite3.Connection | None:
    """The file while the trainer may be at work; None where there is none."""
    path = folder / FILE
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) if path.is_file() else None


@contextmanager
def reached(path: Path) -> Iterator[None]:
    """Faults of the disk, as errors of the product. Raises TransientError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TransientError(f"the trainer's store {path} failed ({error}); free some space, or check its permissions") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space" if full else "check its permissions"
        raise TransientError(f"the trainer's store {path} failed ({error.strerror}); {fix}") from error


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

"""Folders that get their final name only when they are complete. A crash leaves nothing that disturbs later use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_LITTER = ".incomplete-"
_LOCK = ".lock"
_TURN = ".turn"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new, hidden folder in ``parent``. If it is not renamed, it is removed at the end.

    Folders left by a killed process are removed first. Every process at work holds a shared lock, which ends with the process
    (``filelock`` has no shared locks). So a process that gets the exclusive lock knows that all other folders are left over.
    """
    parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(parent / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        # Some network file systems have no locks. There, left-over folders stay until somebody removes them. They do no harm.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for litter in parent.glob(f"{_LITTER}*"):
                shutil.rmtree(litter, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        folder = _hidden(parent)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def one_at_a_time(parent: Path) -> Iterator[None]:
    """Waits until no other process is inside. A process checks that a folder is missing, and then puts its own. Between these two
    steps no other process may put one, because it would be replaced while it is read.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with FileLock(parent / _TURN, mode=0o666):
        yield


def make_final(scratch: Path, final: Path) -> bool:
    """Rename a complete folder to its final name. When this returns, the name is permanent. False if another process has just used the
    name. The content of the files must be on disk already.
    """
    for folder in [scratch, *(path for path in scratch.rglob("*") if path.is_dir())]:
        sync_folder(folder)
    try:
        scratch.rename(final)
    except OSError:
        if final.exists():
            return False
        raise
    sync_folder(final.parent)
    return True


def discard(folder: Path) -> None:
    """Remove a folder in one step, so that no process sees half of it."""
    hidden = _hidden(folder.parent)
    with contextlib.suppress(FileNotFoundError):  # somebody else was faster
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _hidden(parent: Path) -> Path:
    return parent / f"{_LITTER}{secrets.token_hex(6)}"


def sync_folder(folder: Path) -> None:
    """Waits until the folder's entries are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

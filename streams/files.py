"""Files and folders on a machine with neighbours: what others may write is not trusted, and what is private stays so."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path
from typing import IO

from encoders.files import read_within, replace_file, replacing
from streams.errors import ConfigurationError

__all__ = ["check_trusted", "overwrite", "private_folder", "read_trusted", "read_within", "replace_file", "replacing", "why_untrusted"]

log = logging.getLogger(__name__)

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ = stat.S_IROTH | stat.S_IWOTH


def read_trusted(path: Path, limit: int, what: str, *, secret: bool = False) -> bytes:
    """The content of a key or password file, of at most ``limit`` bytes; ``what`` names the file in errors.

    Raises ConfigurationError if others may write it (with ``secret`` also if everybody may read it), and OSError as any read, with EFBIG
    for a longer file.
    """
    check_trusted(path, what, secret=secret)
    return read_within(path, limit)


def check_trusted(path: Path, what: str, *, secret: bool = False) -> None:
    """Raises as ``read_trusted``, for a file that somebody else opens."""
    found = path.stat()
    why = None
    for folder, entry in ((path.parent, path.lstat()), (path.resolve().parent, found)):
        why = why or why_untrusted(found, entry, folder.stat(), os.geteuid())
    if why is not None:
        raise ConfigurationError(f"{what} {path} may be written by others: {why}, and make sure that it is the right one")
    if secret and found.st_mode & _OTHERS_READ:
        raise ConfigurationError(f"{what} {path} is open to everybody; chmod 600 it, or make a new one if others may have read it")


def why_untrusted(file: os.stat_result, entry: os.stat_result, folder: os.stat_result, uid: int) -> str | None:
    """What to change so that only user ``uid`` and root can write a file; None if that is so.

    ``entry`` is the folder's entry, which may be a link to the file. In a folder that everybody may write, with the sticky bit, nobody
    can replace another's entry; Kubernetes mounts secrets into such folders. The folder's group may write into it: the pod's own.
    """
    if file.st_mode & _OTHERS_WRITE:
        return "chmod go-w it"
    if folder.st_mode & stat.S_IWOTH:
        if not folder.st_mode & stat.S_ISVTX:
            return "chmod o-w its folder"
        if not {file.st_uid, entry.st_uid} <= {0, uid}:
            return "its owner is another user, in a folder that everybody may write; move it to another folder"
    return None


def overwrite(file: IO[bytes]) -> None:
    """Write over all of an open file, as far as its file system keeps it in place: on the disk when this returns."""
    size = os.fstat(file.fileno()).st_size
    for filling in (secrets.token_bytes(size), bytes(size)):
        file.seek(0)
        file.write(filling)
        file.flush()
        os.fsync(file.fileno())


def private_folder(path: Path) -> None:
    """Makes a folder that only its owner may enter (0700), or closes one that is there. If it is another user's, this is only said in the
    log: mounted volumes often belong to root. Raises OSError if it can't be made."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077 == 0:
        return
    if found.st_uid == os.geteuid():
        path.chmod(0o700)
    elif found.st_mode & (stat.S_IRWXO):
        log.warning("%s is another user's, and everybody may look into it; chmod 700 it, or choose another folder", path)

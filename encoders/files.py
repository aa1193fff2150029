"""Files that others on the machine may get at: read within a limit, written under a name that nobody can guess."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEXT_BYTES = 64 << 20
"""Limit for files of text and numbers that have no smaller one: configurations, tokenizers, lists of texts."""


def read_within(path: Path, limit: int) -> bytes:
    """The content of a file. Of a longer one no more than ``limit`` bytes are read: it raises OSError (EFBIG), and OSError as any read."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def is_own(path: Path) -> bool:
    """Whether only this user or root put something there: whoever may write into a cache decides what is loaded from it."""
    found = path.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH


@contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends, on disk by then; after an error there is what was there before.

    Its name until then is random, and it must be new: nobody can lay a link there that leads the bytes to another file. Where
    ``path`` itself is a link, the link is replaced. ``mode`` is narrowed by the umask.
    """
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """``replacing`` with these bytes."""
    with replacing(path, mode=mode) as file:
        file.write(data)

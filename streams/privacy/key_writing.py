"""Writes key files: each appears complete or not at all, and only its owner can read a secret."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streams.errors import ConfigurationError

KEY_BYTES = 32
X25519, ED25519 = "x25519", "ed25519"


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """While keys are written to a folder, which is made. Raises ConfigurationError if they can't be, or everybody may write there."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o700)
        if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise ConfigurationError(f"everybody may write into {folder}, so no key in it would be loaded; chmod 700 it, or choose another")
        yield
    except OSError as error:
        raise ConfigurationError(f"keys can't be written to {folder} ({error.strerror}); choose another folder") from None


def write_key(path: Path, what: str, key: bytes, *, secret: bool, further: Sequence[str] = ()) -> Path:
    """``what``: the first line, without the product's name; ``further``: lines after the key. In the place of an older file at once: at no
    moment there is neither."""
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 if secret else 0o644)
    if not secret:
        os.fchmod(handle, 0o644)  # to be handed on, whatever the umask
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write("\n".join([f"veilstream {what}", base64.b64encode(key).decode(), *further]) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def write_pair(folder: Path, purpose: str, algorithm: str, secret: bytes, public: bytes) -> list[Path]:
    """Both halves of a key pair; the paths."""
    return [
        write_key(folder / f"{purpose}.key", f"{purpose} {algorithm} secret", secret, secret=True),
        write_key(folder / f"{purpose}.pub", f"{purpose} {algorithm} public", public, secret=False),
    ]

"""What a key is read from, and a public key that knows its predecessors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from nacl.encoding import RawEncoder
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


class KeySource(Protocol):
    """One key file, wherever it lies."""

    @property
    def name(self) -> str: ...
    def exists(self) -> bool: ...
    def sibling(self, name: str) -> KeySource:
        """Another file in the same place."""
        ...

    def read_key(self, *, secret: bool) -> bytes:
        """The file's content. Raises FileNotFoundError, OSError, ConfigurationError with the fix."""
        ...


class KeyFolder(Protocol):
    """Where the key files of a process are: a path is one."""

    def __truediv__(self, name: str, /) -> KeyFile: ...


KeyFile = Path | KeySource


class VerifyKeys(VerifyKey):
    """A public key that also takes what keys signed that it replaced; by itself it is the newest one."""

    def __init__(self, key: bytes, former: Sequence[bytes]) -> None:
        super().__init__(key)
        self.former = tuple(VerifyKey(one) for one in former)

    def verify(self, smessage: bytes, signature: bytes | None = None, encoder: type = RawEncoder) -> bytes:
        """Raises BadSignatureError if none of the keys fits."""
        for key in self.former:
            with suppress(BadSignatureError):
                return key.verify(smessage, signature, encoder)
        return super().verify(smessage, signature, encoder)

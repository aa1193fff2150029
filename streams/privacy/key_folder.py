"""Where the key files of a process are (``VEILSTREAM_KEYS``): in a folder, in a secret of Vault, or in a folder where they are wrapped.

=====================================  =====================================================================================
``VEILSTREAM_KEYS``                    key files
=====================================  =====================================================================================
not set                                in ``VEILSTREAM_KEYS_DIR``
``vault://HOST:PORT/MOUNT/PATH``       fields of this secret, each named like a file and holding its text
``vault-transit://HOST:PORT/MOUNT/K``  in ``VEILSTREAM_KEYS_DIR``, the secret ones wrapped by this key; Vault unwraps them
``kms:MODULE:FACTORY``                 the same, and what ``FACTORY()`` of your module returns wraps (``KeyWrapper``)
=====================================  =====================================================================================

Whatever is read stays in the memory of the process that needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from streams.errors import ConfigurationError
from streams.files import check_trusted, overwrite, read_trusted, replace_file
from streams.privacy.key_types import KeyFolder
from streams.privacy.vault import Vault, vault_address
from streams.settings import Settings

WRAPPED = b"veilstream wrapped\n"
"""What a wrapped key file begins with."""
_MOST_BYTES = 16_384


class KeyWrapper(Protocol):
    """Something that encrypts key files, such as a key management service. Raises ConfigurationError that names the fix."""

    def wrap(self, content: bytes, /) -> bytes: ...
    def unwrap(self, wrapped: bytes, /) -> bytes: ...


def key_folder(settings: Settings) -> KeyFolder:
    """Raises ConfigurationError for a setting that names nothing, and what the place itself raises."""
    return _key_folder(settings.keys, settings.keys_dir, settings.vault_token_file, settings.vault_cafile, settings.vault_namespace)


def key_wrapper(settings: Settings) -> KeyWrapper | None:
    """What wraps the key files; None where the setting names nothing of the kind. Raises ConfigurationError."""
    return _wrapper(settings.keys, settings.vault_token_file, settings.vault_cafile, settings.vault_namespace)


@cache
def _key_folder(keys: str, folder: Path, token_file: Path | None, cafile: Path | None, namespace: str | None) -> KeyFolder:
    if not keys:
        return folder
    if keys.startswith("vault://"):
        vault = Vault(vault_address(keys), token_file, cafile, namespace)
        return SecretFolder(str(vault), vault.secret)
    wrapper = _wrapper(keys, token_file, cafile, namespace)
    if wrapper is None:
        raise ConfigurationError("VEILSTREAM_KEYS must begin with vault://, vault-transit:// or kms:; unset it for VEILSTREAM_KEYS_DIR")
    return WrappedFolder(folder, wrapper)


@cache
def _wrapper(keys: str, token_file: Path | None, cafile: Path | None, namespace: str | None) -> KeyWrapper | None:
    if keys.startswith("vault-transit://"):
        return Vault(vault_address(keys), token_file, cafile, namespace)
    if not keys.startswith("kms:"):
        return None
    module, _, factory = keys.removeprefix("kms:").partition(":")
    try:
        make = cast("Callable[[], KeyWrapper]", getattr(importlib.import_module(module), factory))
    except (ImportError, AttributeError, ValueError):
        raise ConfigurationError("VEILSTREAM_KEYS is kms:MODULE:FACTORY, and there is no such module or factory in it") from None
    return make()


class SecretFolder:
    """Key files that are the fields of one secret; it is read once, when the first is needed."""

    def __init__(self, name: str, read: Callable[[], dict[str, str]]) -> None:
        self._name, self._read = name, read
        self._fields: dict[str, str] | None = None

    def __str__(self) -> str:
        return self._name

    def __truediv__(self, name: str, /) -> SecretFile:
        return SecretFile(self, name)

    def field(self, name: str) -> str | None:
        """The text of a file; None where there is none."""
        if self._fields is None:
            self._fields = self._read()
        return self._fields.get(name)


@dataclass(frozen=True)
class SecretFile:
    """A ``KeySource`` in a ``SecretFolder``."""

    folder: SecretFolder = field(repr=False)
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} of {self.folder}"

    def exists(self) -> bool:
        return self.folder.field(self.name) is not None

    def sibling(self, name: str) -> SecretFile:
        return self.folder / name

    def read_key(self, *, secret: bool) -> bytes:
        found = self.folder.field(self.name)
        if found is None:
            raise FileNotFoundError
        return found.encode()


class WrappedFolder:
    """A folder whose secret files are wrapped."""

    def __init__(self, path: Path, wrapper: KeyWrapper) -> None:
        self.path, self._wrapper = path, wrapper

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str, /) -> WrappedFile:
        return WrappedFile(self.path / name, self._wrapper)


@dataclass(frozen=True)
class WrappedFile:
    """A ``KeySource`` in a ``WrappedFolder``. A secret that is not wrapped is refused: it was to be nowhere in the clear."""

    path: Path
    wrapper: KeyWrapper = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    def exists(self) -> bool:
        return self.path.exists()

    def sibling(self, name: str) -> WrappedFile:
        return WrappedFile(self.path.with_name(name), self.wrapper)

    def read_key(self, *, secret: bool) -> bytes:
        content = read_trusted(self.path, _MOST_BYTES, "key file" if secret else "public key", secret=secret)
        if not secret:
            return content
        if not content.startswith(WRAPPED):
            raise ConfigurationError(f"key file {self.path} is not wrapped, though VEILSTREAM_KEYS says so; run `veilstream keys wrap`")
        return self.wrapper.unwrap(content.removeprefix(WRAPPED).strip())


def wrap_files(folder: Path, wrapper: KeyWrapper) -> list[Path]:
    """Wrap every secret file of a folder that is not wrapped yet, in place; which these were. Each is unwrapped again before the one in the
    clear is gone. Raises ConfigurationError."""
    wrapped = []
    for path in sorted(folder.glob("*.key")):
        check_trusted(path, "key file", secret=True)
        content = read_trusted(path, _MOST_BYTES, "key file", secret=True)
        if content.startswith(WRAPPED):
            continue
        closed = wrapper.wrap(content)
        if wrapper.unwrap(closed) != content:
            raise ConfigurationError(f"{path}: what was wrapped does not unwrap to the same; it stays as it is. Check VEILSTREAM_KEYS")
        with path.open("r+b", buffering=0) as file:
            replace_file(path, WRAPPED + closed + b"\n", mode=0o600)
            overwrite(file)  # which has no name any more
        wrapped.append(path)
    return wrapped

"""The folder of a model on disk: its files, their hashes, and the check against the signed manifest."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

from nacl.signing import VerifyKey

from streams.errors import ModelRefused, Refusal, TooLargeError
from streams.models.registry.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    RESERVED,
    SIGNATURE,
    Manifest,
    check_dimension,
    check_files,
    check_size,
    is_allowed,
    verify_manifest,
)
from streams.models.registry.upload import copy_hashed, read_at_most
from streams.privacy.signing import SIGNATURE_BYTES


def model_files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files that a version made of this folder holds, and of those that it leaves out; sorted, relative, with /."""
    names = [name for name in _names(folder) if name not in RESERVED]
    kept = [name for name in names if is_allowed(name)]
    return kept, [name for name in names if name not in set(kept)]


def hash_files(folder: Path, names: list[str]) -> dict[str, str]:
    """File name to SHA-256, hexadecimal."""
    return {name: hash_file(folder / name) for name in names}


def file_sizes(folder: Path, names: list[str]) -> dict[str, int]:
    """File name to its number of bytes."""
    return {name: (folder / name).stat().st_size for name in names}


def hash_file(path: Path) -> str:
    """SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_folder(folder: Path, key: VerifyKey) -> Manifest:
    """The manifest of a folder, after checking that every byte equals the signed one. Raises ModelRefused that says what is wrong.

    A link counts as a file that is not in the manifest, because its target can change when the folder does not. So does a pipe or
    device. Of no file more is read than its signed size.
    """
    manifest = verify_manifest(_read(folder, MANIFEST, MAX_MANIFEST_BYTES), _read(folder, SIGNATURE, SIGNATURE_BYTES), key)
    found = {
        name: _hash_signed(folder, name, manifest) if name in manifest.files else "" for name in _names(folder) if name not in RESERVED
    }
    check_files(manifest, found)
    config = _read(folder, "config.json", manifest.most_bytes("config.json")) if "config.json" in found else None
    check_configured_dimension(manifest, config)
    return manifest


def folder_manifest(folder: Path) -> Manifest:
    """The manifest of a folder that was verified. Raises ModelRefused if it can't be read any more."""
    return Manifest.from_bytes(_read(folder, MANIFEST, MAX_MANIFEST_BYTES))


def check_configured_dimension(manifest: Manifest, config: bytes | None) -> None:
    """Raises ModelRefused if config.json and the manifest have different dimensions."""
    if config is None:
        return
    try:
        stated = json.loads(config)
    except ValueError:
        raise ModelRefused(
            Refusal.MALFORMED, f"config.json of {manifest.model_version} is no JSON; publish the model from a folder that loads"
        ) from None
    hidden = stated.get("hidden_size") if isinstance(stated, dict) else None
    if type(hidden) is int:
        check_dimension(manifest, hidden)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def _hash_signed(folder: Path, name: str, manifest: Manifest) -> str:
    path = folder / name
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return ""
    check_size(manifest, name, status.st_size)
    try:
        with path.open("rb") as file:
            return copy_hashed(file.read, lambda chunk: None, manifest.most_bytes(name))
    except TooLargeError:  # it grows while it is read
        return ""


def _read(folder: Path, name: str, most: int) -> bytes:
    """Of a longer file one byte more, so that it does not verify."""
    try:
        with (folder / name).open("rb") as file:
            return read_at_most(file.read, most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelRefused(Refusal.MISSING_FILE, f"{folder.name} has no {name}; publish the model again") from None

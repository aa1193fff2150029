"""The folder of a model on disk: its files, their hashes, and the check against the signed manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from nacl.signing import VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.manifest import (
    MANIFEST,
    RESERVED,
    SIGNATURE,
    Manifest,
    check_dimension,
    check_files,
    is_allowed,
    verify_manifest,
)


def model_files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files that a version made of this folder holds, and of those that it leaves out; sorted, relative, with /."""
    names = [name for name in _names(folder) if name not in RESERVED]
    kept = [name for name in names if is_allowed(name)]
    return kept, [name for name in names if name not in set(kept)]


def hash_files(folder: Path, names: list[str]) -> dict[str, str]:
    """File name to SHA-256, hexadecimal."""
    return {name: hash_file(folder / name) for name in names}


def hash_file(path: Path) -> str:
    """SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_folder(folder: Path, key: VerifyKey) -> Manifest:
    """The manifest of a folder, after checking that every byte equals the signed one. Raises ModelRefused that says what is wrong.

    A link counts as a file that is not in the manifest, because its target can change when the folder does not.
    """
    manifest = verify_manifest(_read(folder, MANIFEST), _read(folder, SIGNATURE), key)
    found = {name: "" if (folder / name).is_symlink() else hash_file(folder / name) for name in _names(folder) if name not in RESERVED}
    check_files(manifest, found)
    check_configured_dimension(manifest, (folder / "config.json").read_bytes() if "config.json" in found else None)
    return manifest


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


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelRefused(Refusal.MISSING_FILE, f"{folder.name} has no {name}; publish the model again") from None

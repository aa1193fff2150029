"""A model's folder on disk: which files it may hold, their hashes, and whether they are what was signed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from nacl.signing import VerifyKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.manifest import Manifest, check_dimension, check_files, verify_manifest

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
RESERVED = frozenset({MANIFEST, SIGNATURE})
_ALLOWED = (".safetensors", ".json", ".txt", ".md", ".png", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


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
    """The manifest of a folder of which every byte is what was signed. Raises ModelRefused that says what is wrong.

    Links count as files that are not in the manifest: what is behind one can change when the folder does not.
    """
    manifest = verify_manifest(_read(folder, MANIFEST), _read(folder, SIGNATURE), key)
    found = {name: "" if (folder / name).is_symlink() else hash_file(folder / name) for name in _names(folder) if name not in RESERVED}
    check_files(manifest, found)
    check_configured_dimension(manifest, (folder / "config.json").read_bytes() if "config.json" in found else None)
    return manifest


def check_configured_dimension(manifest: Manifest, config: bytes | None) -> None:
    """Raises ModelRefused where the model's config.json says another length of its vectors than the manifest."""
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


def is_version(name: str) -> bool:
    """Whether it may name a version: letters, digits, - and _, at most 64, so that it is one safe folder name."""
    return _VERSION.fullmatch(name) is not None


def is_allowed(name: str) -> bool:
    """Whether a model may hold a file of this name."""
    try:
        check_name(name)
    except ModelRefused:
        return False
    return True


def check_name(name: str) -> None:
    """Raises ModelRefused for a path that could leave the model's folder, and for a kind of file that a model has no use for."""
    # Whatever is not its own normal form: absolute, with . or .. or // in it, empty.
    parts = PurePosixPath(name).parts
    if name in RESERVED or not parts or "/".join(parts) != name or ".." in parts or _UNSAFE_CHARACTERS.search(name):
        raise ModelRefused(Refusal.UNSAFE_PATH, f"file name {name!r} may not be in a model; publish the model anew from a clean folder")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _PICKLES:
        raise ModelRefused(Refusal.FILE_KIND, f"{name} may be a pickle, which runs code when it is loaded; convert it to safetensors")
    if suffix not in _ALLOWED or any(part.startswith(".") for part in parts):
        raise ModelRefused(Refusal.FILE_KIND, f"{name} is none of {', '.join(_ALLOWED)}; leave it out of the model's folder")


def check_names(names: Collection[str]) -> None:
    """``check_name`` for all, and no two that some file system could not hold side by side."""
    for name in names:
        check_name(name)
    folded = [name.casefold() for name in names]
    folders = {str(parent) for name in folded for parent in PurePosixPath(name).parents}
    if len(set(folded)) != len(folded) or folders & set(folded):
        raise ModelRefused(Refusal.UNSAFE_PATH, "two of its file names differ by case only, or one is a folder of another; rename them")

"""Which files a model may hold, and how they may be named."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from streams.errors import ModelRefused, Refusal

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
RESERVED = frozenset({MANIFEST, SIGNATURE})

_ALLOWED = (".safetensors", ".json", ".txt", ".md", ".png", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


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

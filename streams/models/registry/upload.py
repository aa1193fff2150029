"""Uploads the files of a version into a store, so that the version appears completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from streams.errors import ModelRefused, Refusal, TooLargeError
from streams.models.registry.manifest import MANIFEST, SIGNATURE, Manifest, check_hash
from streams.models.registry.scratch import make_final, scratch_folder

CHUNK = 1 << 20


def publish_local(fs: AbstractFileSystem, root: Path, source: Path, manifest: Manifest, signature: bytes) -> bool:
    """Write everything into a hidden sibling folder, flush it to disk, then rename it. False if the final name exists already.

    If it fails, nothing is left. Raises ModelRefused if a file differs from the manifest, OSError if the disk fails.
    """
    with scratch_folder(root) as scratch:
        for name in manifest.files:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            _copy(fs, source, manifest, name, str(scratch / name), durable=True)
        _write(fs, str(scratch / SIGNATURE), signature, durable=True)
        _write(fs, str(scratch / MANIFEST), manifest.to_bytes(), durable=True)
        return make_final(scratch, root / manifest.model_version)


def publish_objects(fs: AbstractFileSystem, folder: str, source: Path, manifest: Manifest, signature: bytes) -> None:
    """Upload the files first and the manifest last. A version without a manifest does not exist.

    Files left by a failed upload are removed before the manifest is written, and at once if possible. Raises as ``publish_local``
    does.
    """
    try:
        for name in manifest.files:
            _copy(fs, source, manifest, name, f"{folder}/{name}", durable=False)
        fs.invalidate_cache()
        for path in fs.find(folder):
            if path.removeprefix(f"{folder}/") not in manifest.files:
                fs.rm_file(path)
        _write(fs, f"{folder}/{SIGNATURE}", signature, durable=False)
        _write(fs, f"{folder}/{MANIFEST}", manifest.to_bytes(), durable=False)
    except BaseException:
        # A version without a manifest does not exist. This only frees its space.
        with contextlib.suppress(OSError):
            fs.invalidate_cache()
            fs.rm(folder, recursive=True)
        raise


def copy_hashed(read: Callable[[int], bytes], write: Callable[[bytes], Any], most: int) -> str:
    """Copies everything; the SHA-256 of what was copied, hexadecimal. Raises TooLargeError at the first byte after ``most``, which is not
    written."""
    digest = hashlib.sha256()
    left = most
    while chunk := read(min(CHUNK, left + 1)):
        if len(chunk) > left:
            raise TooLargeError(f"more than {most} bytes")
        left -= len(chunk)
        digest.update(chunk)
        write(chunk)
    return digest.hexdigest()


def read_at_most(read: Callable[[int], bytes], limit: int) -> bytes:
    """All that there is, but no more than ``limit`` bytes."""
    parts: list[bytes] = []
    left = limit
    while left and (chunk := read(min(CHUNK, left))):
        parts.append(chunk)
        left -= len(chunk)
    return b"".join(parts)


def _copy(fs: AbstractFileSystem, source: Path, manifest: Manifest, name: str, target: str, *, durable: bool) -> None:
    try:
        with (source / name).open("rb") as read, fs.open(target, "wb") as written:
            digest = copy_hashed(read.read, written.write, manifest.most_bytes(name))
            if durable:
                _sync(written)
    except FileNotFoundError as error:
        if (source / name).is_file():
            raise
        raise ModelRefused(Refusal.MISSING_FILE, f"{name} is missing in {source}; make the model's folder again") from error
    except TooLargeError:
        raise ModelRefused(Refusal.HASH, f"{name} in {source} grew since it was hashed; make the model's folder again") from None
    check_hash(manifest, name, digest)


def _write(fs: AbstractFileSystem, target: str, content: bytes, *, durable: bool) -> None:
    with fs.open(target, "wb") as file:
        file.write(content)
        if durable:
            _sync(file)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())

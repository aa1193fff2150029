"""A versioned store of models: a folder, or any URL that fsspec supports."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from nacl.signing import SigningKey, VerifyKey

from streams.errors import ConfigurationError, ModelRefused, Refusal, TooLargeError, TransientError
from streams.files import replace_file
from streams.models.registry.folder import check_configured_dimension, verify_folder
from streams.models.registry.head import HEAD, MAX_HEAD_BYTES
from streams.models.registry.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    RESERVED,
    SIGNATURE,
    Manifest,
    check_files,
    check_hash,
    check_size,
    is_version,
    sign_manifest,
    verify_manifest,
)
from streams.models.registry.scratch import discard, make_final, one_at_a_time, scratch_folder
from streams.models.registry.store_url import check_url
from streams.models.registry.upload import copy_hashed, publish_local, publish_objects, read_at_most
from streams.privacy.signing import SIGNATURE_BYTES
from streams.visible_text import without_secrets

log = logging.getLogger(__name__)


class ModelStore:
    """``<root>/<model_version>/...``: the model's files, manifest.json and manifest.sig. A version without a manifest does not exist.

    Every method raises TransientError if the store can't be reached or written at the moment (also for a full disk).
    """

    def __init__(self, root: str, fs: AbstractFileSystem | None = None) -> None:
        """``root`` is a path or URL; ``fs``, where given, is asked instead of the URL's own. Raises ConfigurationError for a URL
        that can't be used."""
        check_url(root)
        try:
            own, path = url_to_fs(root)
        except (ImportError, ValueError) as error:
            # Its words may repeat the address.
            why = error.msg if isinstance(error, ImportError) else type(error).__name__
            raise ConfigurationError(
                f"VEILSTREAM_MODELS={without_secrets(root)} can't be used ({why}); install that package, or name a folder"
            ) from None
        self._fs: AbstractFileSystem = fs or own
        self._root = str(path).rstrip("/")
        self._local = Path(self._root) if isinstance(self._fs, LocalFileSystem) else None

    @property
    def root(self) -> str:
        """As a URL, or an absolute path."""
        return self._root if self._local is not None else str(self._fs.unstrip_protocol(self._root))

    def location(self, version: str) -> str:
        """Where a version's files are: what an announcement says."""
        return f"{self.root}/{version}"

    def list_versions(self) -> list[str]:
        """All versions, sorted by name."""
        with self._reached():
            self._fs.invalidate_cache()
            if not self._fs.exists(self._root):
                return []
            names = [str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in self._fs.ls(self._root, detail=True)]
            return sorted(name for name in set(names) if is_version(name) and self._fs.exists(self._path(name, MANIFEST)))

    def read_manifest(self, version: str, verify_key: VerifyKey | None = None) -> Manifest:
        """The manifest of a version. Its signature is verified if a key is given. Its files are not read.

        Raises ConfigurationError if there is no such version, ModelRefused if the manifest can't be verified.
        """
        data, signature = self._signed(version)
        manifest = Manifest.from_bytes(data) if verify_key is None else verify_manifest(data, signature, verify_key)
        if manifest.model_version != version:
            raise ModelRefused(
                Refusal.OTHER_CONTENT, f"the manifest of {version} is of {manifest.model_version}; publish both versions again"
            )
        return manifest

    def publish(self, folder: Path, manifest: Manifest, key: SigningKey) -> Manifest:
        """Make a version of the files of the folder that the manifest names. It appears completely or not at all.

        If the version exists with the same files, it stays, and its manifest is returned. Raises ModelRefused if it exists with
        other files or is signed by another key, and if a file differs from the manifest.
        """
        version = manifest.model_version
        if self._exists(version):
            return self._same(manifest, key.verify_key)
        signature = sign_manifest(manifest, key)
        with self._reached():
            if self._local is None:
                publish_objects(self._fs, self._path(version), folder, manifest, signature)
            elif not publish_local(self._fs, self._local, folder, manifest, signature):
                if not self._exists(version):
                    raise ConfigurationError(f"{self.location(version)} exists and is not a model; move it away, then publish again")
                return self._same(manifest, key.verify_key)
        return manifest

    def verify(self, version: str, verify_key: VerifyKey) -> Manifest:
        """Reads every byte of a version where it is, and none that was not signed. Raises as ``fetch`` does."""
        manifest = self.read_manifest(version, verify_key)
        with self._reached():
            paths = [str(path).removeprefix(f"{self._path(version)}/") for path in self._fs.find(self._path(version))]
            found = {
                name: self._copy(manifest, name, lambda _: None) if name in manifest.files else "" for name in paths if name not in RESERVED
            }
            check_files(manifest, found)
            config = self._read_signed(manifest, "config.json") if "config.json" in manifest.files else None
        check_configured_dimension(manifest, config)
        return manifest

    def read_file(self, version: str, name: str, verify_key: VerifyKey) -> bytes | None:
        """The content of one file of a version, equal to the signed one; None if the version has no such file. Nothing else of it is read.
        Raises as ``fetch`` does."""
        manifest = self.read_manifest(version, verify_key)
        if name not in manifest.files:
            return None
        with self._reached():
            data = self._read_signed(manifest, name)
        check_hash(manifest, name, hashlib.sha256(data).hexdigest())
        return data

    def fetch(self, version: str, cache_folder: Path, verify_key: VerifyKey, *, anew: bool = False) -> Path:
        """Fetch a version into ``<cache_folder>/<version>`` and verify every byte. The folder gets this name only when it is complete
        and verified. No more is written than was signed.

        A correct cached version is not fetched again, even if the store is away, unless ``anew``. A wrong one is fetched again.

        Raises ConfigurationError if there is no such version, ModelRefused if it differs from the signed one, TransientError if the
        store is away or the cache's disk is full.
        """
        final = cache_folder / version
        if final.is_dir() and not anew:
            try:
                return self._verified(final, verify_key)
            except ModelRefused as error:
                log.warning("%s is fetched again: %s", final, error)
        manifest = self.read_manifest(version, verify_key)
        with self._reached(), scratch_folder(cache_folder) as scratch:
            for name in manifest.files:
                check_hash(manifest, name, self._download(manifest, name, scratch))
            for name, data in zip((MANIFEST, SIGNATURE), self._signed(version), strict=True):
                _write_new(scratch / name, data)
            verify_folder(scratch, verify_key)
            with one_at_a_time(cache_folder):
                if not self._cached_meanwhile(final, manifest, verify_key):
                    discard(final)
                    make_final(scratch, final)
        return self._verified(final, verify_key)

    def remove(self, version: str) -> None:
        """Remove a version, if it is there. Its manifest first: what is left of it after a kill is no version, and is removed the next
        time that one of this name is."""
        if not is_version(version):
            raise ConfigurationError(f"{version!r} is no name of a version; see `veilstream models list`")
        with self._reached():
            self._fs.invalidate_cache()
            for path in (self._path(version, MANIFEST), self._path(version)):
                if self._fs.exists(path):
                    self._fs.rm(path, recursive=True)

    def read_head(self) -> bytes | None:
        """The file of what was announced last (see ``head``), None if there is none. Of one that is too long, only as much is read as shows
        that."""
        try:
            with self._reached():
                return self._read("", HEAD, MAX_HEAD_BYTES)
        except FileNotFoundError:
            return None

    def write_head(self, data: bytes) -> None:
        """Put another file of what was announced last in its place."""
        with self._reached():
            if self._local is not None:
                self._local.mkdir(parents=True, exist_ok=True)
                replace_file(self._local / HEAD, data, mode=0o666)
            else:
                self._fs.pipe_file(f"{self._root}/{HEAD}", data)

    def _exists(self, version: str) -> bool:
        with self._reached():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._path(version, MANIFEST)))

    def _cached_meanwhile(self, final: Path, manifest: Manifest, verify_key: VerifyKey) -> bool:
        """Another process may have fetched it, and be loading it now."""
        try:
            return verify_folder(final, verify_key).files == manifest.files
        except ModelRefused:
            return False

    def _verified(self, final: Path, verify_key: VerifyKey) -> Path:
        manifest = verify_folder(final, verify_key)
        if manifest.model_version != final.name:
            raise ModelRefused(Refusal.OTHER_CONTENT, f"the folder {final} holds {manifest.model_version}; remove it")
        with suppress(OSError):  # of a cache that may only be read nothing expires
            os.utime(final)
        return final

    def _same(self, manifest: Manifest, verify_key: VerifyKey) -> Manifest:
        """The manifest of a version that is there. Raises ModelRefused if it is not of the same files, or can't be trusted."""
        place = self.location(manifest.model_version)
        try:
            there = self.read_manifest(manifest.model_version, verify_key)
        except ModelRefused as error:
            raise ModelRefused(
                error.refusal, f"{place} exists already, and {error.detail}; to publish, remove that version first"
            ) from None
        if there.files != manifest.files:
            differ = sorted(name for name in {*there.files, *manifest.files} if there.files.get(name) != manifest.files.get(name))
            raise ModelRefused(
                Refusal.OTHER_CONTENT,
                f"{place} exists with other files ({', '.join(differ[:3])}); to publish others, remove that version first",
            )
        return there

    def _signed(self, version: str) -> tuple[bytes, bytes]:
        try:
            if not is_version(version):
                raise FileNotFoundError
            with self._reached():
                return self._read(version, MANIFEST, MAX_MANIFEST_BYTES), self._read(version, SIGNATURE, SIGNATURE_BYTES)
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no model version {version} in {self.root}; see `veilstream models list`, or add it with `veilstream models add`"
            ) from None

    def _read(self, version: str, name: str, most: int) -> bytes:
        """Of a longer file one byte more, so that it does not verify."""
        path = self._path(version, name)
        self._size(path)
        with self._fs.open(path, "rb") as file:
            return read_at_most(file.read, most + 1)

    def _size(self, path: str) -> int | None:
        """As it is now, not as it was when the folder was listed. Raises FileNotFoundError also for a pipe or device, which would be read
        without an end."""
        self._fs.invalidate_cache()
        info = self._fs.info(path)
        if info["type"] == "other":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        size = info.get("size")
        return int(size) if info["type"] == "file" and size is not None else None

    def _read_signed(self, manifest: Manifest, name: str) -> bytes:
        parts: list[bytes] = []
        self._copy(manifest, name, parts.append)
        return b"".join(parts)

    def _copy(self, manifest: Manifest, name: str, write: Callable[[bytes], object]) -> str:
        """The SHA-256 of a file, hexadecimal. Its size is compared before it is read, and never more is written than was signed."""
        version = manifest.model_version
        path = self._path(version, name)
        try:
            check_size(manifest, name, self._size(path))
            with self._fs.open(path, "rb") as read:
                return copy_hashed(read.read, write, manifest.most_bytes(name))
        except FileNotFoundError:
            raise ModelRefused(Refusal.MISSING_FILE, f"{name} of {version} is missing in {self.root}; publish the model again") from None
        except TooLargeError as error:
            raise ModelRefused(Refusal.HASH, f"{name} of {version} in {self.root} has {error}; publish the model again") from None

    def _download(self, manifest: Manifest, name: str, target: Path) -> str:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as written:
            digest = self._copy(manifest, name, written.write)
            written.flush()
            os.fsync(written.fileno())
        return digest

    def _path(self, version: str, name: str = "") -> str:
        return "/".join(filter(None, (self._root, version, name)))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            fix = "free some space" if full else "check its permissions and whether it can be reached"
            why = error.strerror or type(error).__name__
            raise TransientError(f"the model store {self.root} or the cache failed ({why}); {fix}, then try again") from error


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

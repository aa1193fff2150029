"""Files of a store that somebody else may write: nothing is read or written beyond what was signed."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.errors import ConfigurationError, ModelRefused, Refusal, TooLargeError
from streams.models.registry import manifest as manifests
from streams.models.registry.folder import verify_folder
from streams.models.registry.head import HEAD, MAX_HEAD_BYTES
from streams.models.registry.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, Manifest, check_size, sign_manifest
from streams.models.registry.store import ModelStore
from streams.models.registry.upload import CHUNK, copy_hashed, read_at_most
from tests.support.model_folders import manifest_of

VERSION = "0123456789ab"
WEIGHTS = "model.safetensors"
HUGE = 1 << 32


class Watched(LocalFileSystem):
    """Counts what is read of each file. Files named in ``endless`` say that they have the size that they had, and never end."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, int] = {}
        self.endless: set[str] = set()

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        name = Path(path).name
        file = io.BufferedReader(_Endless()) if name in self.endless else super()._open(path, mode, **options)
        if "r" not in mode:
            return file
        return _Counted(file, self.read, name)


class _Endless(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return len(buffer)


class _Counted:
    def __init__(self, file: Any, counts: dict[str, int], name: str) -> None:
        self._file, self._counts, self._name = file, counts, name

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self._counts[self._name] = self._counts.get(self._name, 0) + len(data)
        return data

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


@pytest.fixture
def watched(folder: Path, key: SigningKey, tmp_path: Path) -> tuple[ModelStore, Watched, Path]:
    fs = Watched()
    store = ModelStore(str(tmp_path / "store"), fs)
    store.publish(folder, manifest_of(folder), key)
    fs.read.clear()
    return store, fs, tmp_path / "store" / VERSION


def written(cache: Path) -> list[int]:
    """Sizes of the files under names of the model, also in folders that were to be removed."""
    return [path.stat().st_size for path in cache.rglob(WEIGHTS)]


def grow(path: Path) -> None:
    """To four gigabytes, of which the disk holds nothing."""
    with path.open("ab") as file:
        file.truncate(HUGE)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "1_Pooling/config.json"])
def test_a_file_of_another_size_is_not_read_at_all(
    watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path, name: str
) -> None:
    store, fs, there = watched
    fs.read.clear()
    grow(there / name)
    for call in (store.fetch, store.verify, store.read_file):
        arguments: tuple[Any, ...] = {"fetch": (tmp_path / "cache",), "read_file": (name,)}.get(call.__name__, ())
        with pytest.raises(ModelRefused, match=f"{name} of {VERSION} differs from the signed file: it has {HUGE} bytes") as refused:
            call(VERSION, *arguments, key.verify_key)
        assert refused.value.refusal == Refusal.HASH
    assert max(fs.read.values()) < MAX_MANIFEST_BYTES
    assert not (tmp_path / "cache" / VERSION).exists()


def test_a_file_that_does_not_end_is_not_written_beyond_its_size(
    watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size was right when it was asked for."""
    store, fs, there = watched
    fs.endless.add(WEIGHTS)
    signed = (there / WEIGHTS).stat().st_size
    seen: list[int] = []
    monkeypatch.setattr("streams.models.registry.scratch.shutil.rmtree", lambda path, **_: seen.extend(written(Path(path))))
    with pytest.raises(ModelRefused, match=f"more than {signed} bytes") as refused:
        store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    assert refused.value.refusal == Refusal.HASH
    assert fs.read[WEIGHTS] == signed + 1
    assert all(size <= signed for size in seen) and len(seen) == 1
    with pytest.raises(ModelRefused):
        store.verify(VERSION, key.verify_key)


@pytest.mark.parametrize(("name", "limit"), [(MANIFEST, MAX_MANIFEST_BYTES), (SIGNATURE, 64)])
def test_what_is_not_signed_yet_is_read_within_a_limit(
    watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path, name: str, limit: int
) -> None:
    store, fs, there = watched
    cached = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    fs.read.clear()
    grow(there / name)
    grow(cached / name)
    tracemalloc.start()
    for call in (lambda: store.read_manifest(VERSION, key.verify_key), lambda: verify_folder(cached, key.verify_key)):
        with pytest.raises(ModelRefused) as refused:
            call()
        assert refused.value.refusal == Refusal.SIGNATURE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fs.read[name] == limit + 1
    assert peak < 8 * MAX_MANIFEST_BYTES


def test_a_head_that_does_not_end_is_read_within_a_limit(watched: tuple[ModelStore, Watched, Path]) -> None:
    store, fs, there = watched
    (there.parent / HEAD).write_bytes(b"{}")
    fs.endless.add(HEAD)
    data = store.read_head()
    assert data is not None and len(data) == MAX_HEAD_BYTES + 1


def test_a_cached_file_of_another_size_is_not_read(watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path) -> None:
    store, _, _ = watched
    cached = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    grow(cached / WEIGHTS)
    with pytest.raises(ModelRefused, match=f"it has {HUGE} bytes"):
        verify_folder(cached, key.verify_key)
    assert store.fetch(VERSION, tmp_path / "cache", key.verify_key) == cached, "it is fetched again"
    assert (cached / WEIGHTS).stat().st_size < HUGE


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, SIGNATURE, f"../{HEAD}"])
def test_a_pipe_does_not_keep_a_worker_waiting(
    watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path, name: str
) -> None:
    """Reading one would block until somebody writes."""
    store, _, there = watched
    (there / name).unlink(missing_ok=True)
    os.mkfifo(there / name)
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(store.read_head() if name.endswith(HEAD) else store.fetch(VERSION, tmp_path / "cache", key.verify_key))
        except (ModelRefused, ConfigurationError) as error:
            answers.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert answers == [None] if name.endswith(HEAD) else isinstance(answers[0], (ModelRefused, ConfigurationError))


def test_a_pipe_in_the_cache_is_fetched_again(watched: tuple[ModelStore, Watched, Path], key: SigningKey, tmp_path: Path) -> None:
    store, _, _ = watched
    cached = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    (cached / WEIGHTS).unlink()
    os.mkfifo(cached / WEIGHTS)
    assert store.fetch(VERSION, tmp_path / "cache", key.verify_key) == cached
    assert (cached / WEIGHTS).is_file()


def test_versions_of_the_first_format_are_read_within_a_limit(
    folder: Path, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replace(manifest_of(folder), format=1, sizes={})
    assert b"sizes" not in old.to_bytes() and Manifest.from_bytes(old.to_bytes()) == old
    store = ModelStore(str(tmp_path / "store"))
    store.publish(folder, old, key)
    assert verify_folder(store.fetch(VERSION, tmp_path / "cache", key.verify_key), key.verify_key) == old
    monkeypatch.setattr(manifests, "UNSIZED_BYTES", 1000)
    (tmp_path / "store" / VERSION / WEIGHTS).write_bytes(bytes(1001))
    with pytest.raises(ModelRefused, match="it has 1001 bytes instead of 1000"):
        store.fetch(VERSION, tmp_path / "other", key.verify_key)


def test_a_manifest_that_nobody_would_read_is_not_signed(folder: Path, key: SigningKey) -> None:
    with pytest.raises(ModelRefused, match="more than 1048576 bytes"):
        sign_manifest(manifest_of(folder, verdict="x" * MAX_MANIFEST_BYTES), key)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_copy_has_all_or_no_more_than_the_limit(data: bytes, most: int) -> None:
    out = io.BytesIO()
    if len(data) <= most:
        copy_hashed(io.BytesIO(data).read, out.write, most)
        assert out.getvalue() == data
    else:
        with pytest.raises(TooLargeError):
            copy_hashed(io.BytesIO(data).read, out.write, most)
        assert len(out.getvalue()) <= most
    assert read_at_most(io.BytesIO(data).read, most) == data[:most]


def test_a_copy_of_several_pieces() -> None:
    data, out = bytes(2 * CHUNK + 5), io.BytesIO()
    copy_hashed(io.BytesIO(data).read, out.write, len(data))
    assert out.getvalue() == data
    with pytest.raises(TooLargeError):
        copy_hashed(io.BytesIO(data).read, out.write, len(data) - 1)


def test_sizes_that_a_store_does_not_tell_are_found_by_reading(folder: Path) -> None:
    check_size(manifest_of(folder), WEIGHTS, None)
    with pytest.raises(ModelRefused):
        check_size(manifest_of(folder), WEIGHTS, 1)

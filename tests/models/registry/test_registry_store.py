"""The store, in a folder and in fsspec's memory: a version is there whole and unchanged, or not at all."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from nacl.signing import SigningKey

from streams.errors import ConfigurationError, ModelRefused, Refusal, TransientError
from streams.models.registry.folder import verify_folder
from streams.models.registry.store import ModelStore
from streams.models.registry.store_url import check_url
from tests.support import ROOT
from tests.support.model_folders import manifest_of, write_folder
from tests.support.small_disks import FailingWrites, FullBucket, FullDisk, LostBucket

VERSION = "0123456789ab"


@dataclass
class Place:
    """A root, its file system as it is, and one on which writing fails."""

    root: str
    fs: Any
    failing: type[FailingWrites]

    def path(self, name: str = "") -> str:
        return f"{self.root.removeprefix('memory:/')}/{VERSION}/{name}".rstrip("/")

    def litter(self) -> list[str]:
        """All that lies there but the lock."""
        root = self.root.removeprefix("memory:/")
        return [path for path in (self.fs.find(root) if self.fs.exists(root) else []) if not path.endswith("/.lock")]

    def full(self, writes: int) -> ModelStore:
        fs: Any = self.failing()
        fs.writes_left = writes
        return ModelStore(self.root, fs)


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "local":
        yield Place(str(tmp_path / "deep" / "store"), fsspec.filesystem("file"), FullDisk)
        return
    place = Place(f"memory://{uuid.uuid4().hex}/models", fsspec.filesystem("memory"), FullBucket)
    yield place
    if place.fs.exists(place.path()):
        place.fs.rm(place.path(), recursive=True)


@pytest.fixture
def store(place: Place) -> ModelStore:
    return ModelStore(place.root)


def test_an_empty_store(store: ModelStore) -> None:
    assert store.list_versions() == []
    for version in (VERSION, "../x", ""):
        with pytest.raises(ConfigurationError, match="there is no model version"):
            store.read_manifest(version)


def test_what_is_published_is_fetched(store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    assert store.publish(folder, manifest, key) == manifest
    assert store.list_versions() == [VERSION]
    assert store.read_manifest(VERSION) == store.read_manifest(VERSION, key.verify_key) == store.verify(VERSION, key.verify_key) == manifest
    fetched = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    assert fetched == tmp_path / "cache" / VERSION
    assert verify_folder(fetched, key.verify_key) == manifest
    for name in manifest.files:
        assert (fetched / name).read_bytes() == (folder / name).read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name not in (".lock", ".turn")] == [VERSION]
    assert ModelStore(store.root).location(VERSION) == store.location(VERSION) == f"{store.root}/{VERSION}"


def test_publishing_again_changes_nothing(store: ModelStore, folder: Path, key: SigningKey) -> None:
    manifest = manifest_of(folder)
    store.publish(folder, manifest, key)
    assert store.publish(folder, replace(manifest, created_at=5), key) == manifest
    assert store.read_manifest(VERSION) == manifest


def test_other_contents_under_a_version_are_refused(store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    store.publish(folder, manifest, key)
    other = write_folder(tmp_path / "other", weights=b"others")
    with pytest.raises(ModelRefused, match=r"exists with other files \(model.safetensors\)") as raised:
        store.publish(other, manifest_of(other), key)
    assert raised.value.refusal == Refusal.OTHER_CONTENT
    with pytest.raises(ModelRefused, match="remove that version first") as raised:
        store.publish(folder, manifest, SigningKey.generate())
    assert raised.value.refusal == Refusal.SIGNATURE
    assert store.verify(VERSION, key.verify_key) == manifest


def test_a_folder_that_is_not_as_its_manifest_says_is_not_published(store: ModelStore, place: Place, folder: Path, key: SigningKey) -> None:
    manifest = manifest_of(folder)
    (folder / "config.json").write_text('{"hidden_size": 17}')
    with pytest.raises(ModelRefused) as raised:
        store.publish(folder, manifest, key)
    assert raised.value.refusal == Refusal.HASH
    (folder / "config.json").unlink()
    with pytest.raises(ModelRefused, match=r"config\.json is missing") as raised:
        store.publish(folder, manifest, key)
    assert raised.value.refusal == Refusal.MISSING_FILE
    assert store.list_versions() == [] and place.litter() == []


@contextmanager
def refused(refusal: Refusal) -> Iterator[None]:
    with pytest.raises(ModelRefused) as raised:
        yield
    assert raised.value.refusal == refusal


def test_what_was_changed_in_the_store_is_refused(store: ModelStore, place: Place, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    store.publish(folder, manifest, key)
    cache = tmp_path / "cache"

    def both(refusal: Refusal, verify_key: Any = key.verify_key) -> None:
        with refused(refusal):
            store.verify(VERSION, verify_key)
        with refused(refusal):
            store.fetch(VERSION, cache, verify_key)
        assert not (cache / VERSION).exists()
        assert not cache.exists() or [path.name for path in cache.iterdir()] == [".lock"], "nothing half fetched stays"

    both(Refusal.SIGNATURE, SigningKey.generate().verify_key)
    for name, refusal in [
        *((name, Refusal.HASH) for name in manifest.files),
        ("manifest.json", Refusal.SIGNATURE),
        ("manifest.sig", Refusal.SIGNATURE),
    ]:
        content = place.fs.cat_file(place.path(name))
        place.fs.pipe_file(place.path(name), content[:-1] + bytes([content[-1] ^ 1]))
        both(refusal)
        place.fs.pipe_file(place.path(name), content)
    content = place.fs.cat_file(place.path("vocab.txt"))
    place.fs.rm(place.path("vocab.txt"))
    both(Refusal.MISSING_FILE)
    place.fs.pipe_file(place.path("vocab.txt"), content)
    place.fs.pipe_file(place.path("more.json"), b"{}")
    with refused(Refusal.EXTRA_FILE):
        store.verify(VERSION, key.verify_key)
    assert not (store.fetch(VERSION, cache, key.verify_key) / "more.json").exists(), "it is not fetched"


def test_a_signed_version_in_anothers_place_is_refused(store: ModelStore, place: Place, folder: Path, key: SigningKey) -> None:
    store.publish(folder, manifest_of(folder), key)
    place.fs.cp(place.path(), place.path().replace(VERSION, "v2"), recursive=True)
    with refused(Refusal.OTHER_CONTENT):
        store.verify("v2", key.verify_key)


def test_a_config_of_another_dimension_is_refused(store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    store.publish(folder, manifest_of(folder, dimension=32), key)
    with refused(Refusal.DIMENSION):
        store.verify(VERSION, key.verify_key)
    with refused(Refusal.DIMENSION):
        store.fetch(VERSION, tmp_path / "cache", key.verify_key)


def test_the_cache_serves_alone_and_is_verified_each_time(
    store: ModelStore, place: Place, folder: Path, key: SigningKey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.publish(folder, manifest_of(folder), key)
    cached = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    (cached / "model.safetensors").write_bytes(b"spoilt")
    assert store.fetch(VERSION, tmp_path / "cache", key.verify_key) == cached
    assert "is fetched again: model refused (hash)" in caplog.text
    assert (cached / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    place.fs.rm(place.path(), recursive=True)
    assert store.fetch(VERSION, tmp_path / "cache", key.verify_key) == cached, "the store is away"
    (cached / "extra.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no model version"):
        store.fetch(VERSION, tmp_path / "cache", key.verify_key)


def test_links_in_a_cached_folder_are_refused(store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    store.publish(folder, manifest_of(folder), key)
    cached = store.fetch(VERSION, tmp_path / "cache", key.verify_key)
    (cached / "vocab.txt").unlink()
    (cached / "vocab.txt").symlink_to(folder / "vocab.txt")
    with refused(Refusal.HASH):
        verify_folder(cached, key.verify_key)


def test_a_full_disk_at_any_write_leaves_nothing(place: Place, store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    writes = len(manifest.files) + 2
    for count in range(writes):
        with pytest.raises(TransientError, match=r"No space left on device.*free some space"):
            place.full(count).publish(folder, manifest, key)
        assert store.list_versions() == [] and place.litter() == []
    place.full(writes).publish(folder, manifest, key)
    assert store.verify(VERSION, key.verify_key) == manifest


def test_a_killed_publisher_leaves_nothing_that_matters(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from nacl.signing import SigningKey; from streams.models.registry.store import ModelStore\n"
        "from tests.support.model_folders import manifest_of; from tests.support.small_disks import Killed\n"
        "fs = Killed(); fs.writes_left = int(sys.argv[3]); folder = Path(sys.argv[2])\n"
        "ModelStore(sys.argv[1], fs).publish(folder, manifest_of(folder), SigningKey(bytes(range(32))))"
    )
    root, manifest = tmp_path / "store", manifest_of(folder)
    for count in (0, 3, len(manifest.files) + 1):
        done = subprocess.run([sys.executable, "-c", script, str(root), str(folder), str(count)], cwd=ROOT, check=False)
        assert done.returncode == 9
        assert ModelStore(str(root)).list_versions() == []
        assert len(list(root.glob(".incomplete-*"))) == 1, "one at most: the next publisher removes its predecessor's"
    ModelStore(str(root)).publish(folder, manifest, key)
    assert sorted(path.name for path in root.iterdir()) == [".lock", VERSION]
    assert ModelStore(str(root)).verify(VERSION, key.verify_key) == manifest


def test_a_lost_bucket_keeps_files_that_the_next_publisher_clears(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    more = shutil.copytree(folder, tmp_path / "more")
    (more / "more.json").write_text("{}")
    # The manifest's own write, the last one, is all or nothing in an object store.
    for count in range(len(manifest_of(more).files) + 1):
        fs: Any = LostBucket()
        fs.writes_left = count
        with pytest.raises(TransientError):
            ModelStore(root, fs).publish(more, manifest_of(more), key)
        assert ModelStore(root).list_versions() == []
    store = ModelStore(root)
    store.publish(folder, manifest_of(folder), key)
    assert store.verify(VERSION, key.verify_key) == manifest_of(folder), "without the file of the first try"


def test_a_full_cache_leaves_nothing(store: ModelStore, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(300_000))
    store.publish(folder, manifest_of(folder), key)
    cache = tmp_path / "cache"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(TransientError, match="free some space"):
            store.fetch(VERSION, cache, key.verify_key)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert store.fetch(VERSION, cache, key.verify_key).is_dir()


def test_what_is_no_model_has_the_versions_name(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / VERSION).mkdir(parents=True)
    (root / VERSION / "notes.txt").write_text("mine")
    store = ModelStore(str(root))
    assert store.list_versions() == []
    with pytest.raises(ConfigurationError, match="exists and is not a model; move it away"):
        store.publish(folder, manifest_of(folder), key)
    assert [path.name for path in root.iterdir() if path.name != ".lock"] == [VERSION]


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("nosuch://x", "VEILSTREAM_MODELS=nosuch://x can't be used"),
        ("nosuch://secret@x", r"VEILSTREAM_MODELS=nosuch://\*\*\*@x can't be used"),
        ("", "folder or URL"),
        ("ftp://me:secret@host/x", "without password"),
        ("https://secret@host/x", "without password"),
        ("simplecache::ftp://me:secret@host/x", "without password"),
        ("zip://x::https://host/y?secret=1", "query"),
        ("ftp://me:sec/ret@host:x/y", "without password"),
        ("http://[me:secret@x", "without password"),
        ("s3://b/x?key=secret", "query"),
    ],
)
def test_a_url_that_can_not_be_used(root: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as raised:
        ModelStore(root)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "root",
    [
        *("models", "/data/a@b:c?d#e", "s3://bucket/models@v1", "sftp://user@host:22/models@v1", "https://host:8080/models@v1"),
        *("abfs://container@account.dfs.core.windows.net/models", "simplecache::s3://bucket/x", "http://[::1]:8080/x"),
    ],
)
def test_addresses_without_a_secret(root: str) -> None:
    check_url(root)


def test_a_store_that_can_not_be_reached(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="then try again"):
        ModelStore(str(tmp_path / "file" / "store")).publish(folder, manifest_of(folder), key)


def test_many_at_once_make_one(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    """Publishers and workers on one machine: all get the same version, and nobody's folder is taken away."""
    root, cache = str(tmp_path / "store"), tmp_path / "cache"
    manifests = [manifest_of(folder, created_at=number) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        published = list(threads.map(lambda manifest: ModelStore(root).publish(folder, manifest, key), manifests))
        assert len({manifest.created_at for manifest in published}) == 1
        fetched = list(threads.map(lambda _: ModelStore(root).fetch(VERSION, cache, key.verify_key), manifests))
    assert set(fetched) == {cache / VERSION}
    assert verify_folder(cache / VERSION, key.verify_key) == ModelStore(root).verify(VERSION, key.verify_key) == published[0]
    assert sorted(path.name for path in (*cache.iterdir(), *Path(root).iterdir())) == [".lock", ".lock", ".turn", VERSION, VERSION]

"""Old versions go; what serves, what one can go back to, and the newest stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.errors import ConfigurationError
from streams.models.registry.expiry import expire_copies, expired
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore
from tests.support.model_folders import manifest_of, write_folder


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    folder = write_folder(tmp_path_factory.mktemp("source"))
    return [manifest_of(folder, f"v{n}", parent=f"v{n - 1}" if n else None, created_at=n * 100) for n in range(6)]


def test_what_serves_its_parent_the_newest_and_the_young_stay(manifests: list[Manifest]) -> None:
    assert expired(manifests, ["v3"], keep=1, before_ms=10_000) == ["v0", "v1", "v4"]
    assert expired(manifests, ["v3"], keep=3, before_ms=10_000) == ["v0", "v1"]
    assert expired(manifests, ["v3"], keep=1, before_ms=100) == ["v0"]
    assert expired(manifests, ["v5", "v1"], keep=1, before_ms=10_000) == ["v2", "v3"]


@given(st.sets(st.sampled_from([f"v{n}" for n in range(6)])), st.integers(1, 6), st.integers(0, 700))
def test_never_more_than_it_may(manifests: list[Manifest], served: set[str], keep: int, before_ms: int) -> None:
    gone = set(expired(manifests, served, keep=keep, before_ms=before_ms))
    parents = {one.parent for one in manifests if one.model_version in served}
    newest = {one.model_version for one in manifests[-keep:]}
    assert not gone & (served | parents | newest)
    assert all(one.created_at < before_ms for one in manifests if one.model_version in gone)


def test_a_removed_version_is_gone_and_can_be_published_again(folder: Path, tmp_path: Path, key: SigningKey) -> None:
    store = ModelStore(str(tmp_path / "store"))
    store.publish(folder, manifest_of(folder, "v1"), key)
    store.publish(folder, manifest_of(folder, "v2"), key)
    store.remove("v1")
    store.remove("v1")
    assert store.list_versions() == ["v2"] and not (tmp_path / "store" / "v1").exists()
    store.publish(folder, manifest_of(folder, "v1"), key)
    assert store.verify("v1", key.verify_key).model_version == "v1"


@pytest.mark.parametrize("name", ["../v2", "", "v2/model.safetensors"])
def test_nothing_else_is_removed(folder: Path, tmp_path: Path, key: SigningKey, name: str) -> None:
    store = ModelStore(str(tmp_path / "store"))
    store.publish(folder, manifest_of(folder, "v2"), key)
    with pytest.raises(ConfigurationError, match="no name of a version"):
        store.remove(name)
    assert store.list_versions() == ["v2"]


def test_copies_that_nobody_used_for_a_month_go(folder: Path, tmp_path: Path, key: SigningKey) -> None:
    store, cache = ModelStore(str(tmp_path / "store")), tmp_path / "cache"
    for version in ("v1", "v2", "v3"):
        store.publish(folder, manifest_of(folder, version), key)
        os.utime(store.fetch(version, cache, key.verify_key), (time.time() - 40 * 86_400,) * 2)
    store.fetch("v2", cache, key.verify_key)  # used
    (cache / "notes.txt").write_text("not a model")
    assert expire_copies(cache, needed=["v3"]) == ["v1"]
    assert sorted(path.name for path in cache.iterdir() if not path.name.startswith(".")) == ["notes.txt", "v2", "v3"]
    assert expire_copies(tmp_path / "missing") == []

"""Workers that share a cache fetch a version at the same moment; none takes away what another reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from nacl.signing import SigningKey

from streams.models.registry.folder import verify_folder
from streams.models.registry.manifest import Manifest
from streams.models.registry.scratch import one_at_a_time
from streams.models.registry.store import ModelStore
from tests.support.model_folders import manifest_of, write_folder


def test_only_one_is_in_its_turn(tmp_path: Path) -> None:
    inside: list[int] = []
    most = 0

    def enter(number: int) -> None:
        nonlocal most
        with one_at_a_time(tmp_path):
            inside.append(number)
            most = max(most, len(inside))
            for _ in range(2000):
                pass
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(enter, range(200)))
    assert most == 1


@pytest.mark.slow
def test_workers_that_fetch_together_all_get_it(tmp_path: Path) -> None:
    key = SigningKey.generate()
    folder = write_folder(tmp_path / "made")
    manifest = ModelStore(str(tmp_path / "store")).publish(folder, manifest_of(folder), key)
    for attempt in range(25):
        together = Barrier(4)

        def fetch(_: int, cache: Path = tmp_path / f"cache{attempt}", together: Barrier = together) -> Manifest:
            together.wait()
            return verify_folder(ModelStore(str(tmp_path / "store")).fetch(manifest.model_version, cache, key.verify_key), key.verify_key)

        with ThreadPoolExecutor(4) as threads:
            assert all(found == manifest for found in threads.map(fetch, range(4)))

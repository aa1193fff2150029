"""The cache of a registry's answers: what was kept is found again, and nothing else is ever taken for it."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.serde.registry_cache import KEPT, MAX_BYTES, Contents, DamagedError, RegistryCache, packed, unpacked

URL = "https://registry.example/apis/ccompat/v7"
TEXT = st.text(max_size=40)
CONTENTS = st.builds(
    Contents,
    schemas=st.dictionaries(st.integers(0, 2**31 - 1), TEXT, max_size=5),
    ids=st.dictionaries(TEXT, st.tuples(TEXT, st.integers(0, 2**31 - 1)), max_size=5),
)


def test_what_was_kept_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = RegistryCache(tmp_path / "new" / "folder", URL)
    first.keep_schema(7, '"string"')
    first.keep_id("orders-value", '"string"', 7)
    again = RegistryCache(tmp_path / "new" / "folder", URL)
    assert (again.schema(7), again.schema(8)) == ('"string"', None)
    assert again.id_of("orders-value", '"string"') == 7
    assert again.id_of("orders-value", '"long"') is None, "an id counts for the very schema only"
    assert RegistryCache(tmp_path / "new" / "folder", "https://other").schema(7) is None


def test_processes_that_share_a_folder_keep_each_others_answers(tmp_path: Path) -> None:
    caches = [RegistryCache(tmp_path, URL) for _ in range(4)]
    threads = [threading.Thread(target=cache.keep_schema, args=(number, f"{number}")) for number, cache in enumerate(caches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [RegistryCache(tmp_path, URL).schema(number) for number in range(4)] == ["0", "1", "2", "3"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".lock")] == [], "no half-written files are left"


def test_it_is_bounded(tmp_path: Path) -> None:
    cache = RegistryCache(tmp_path, URL)
    cache._contents = Contents(schemas={number: "x" for number in range(KEPT)})
    cache.path.write_bytes(packed(cache._contents, URL))
    cache.keep_schema(KEPT, "newest")
    again = RegistryCache(tmp_path, URL)
    assert (again.schema(0), again.schema(1), again.schema(KEPT)) == (None, "x", "newest")
    large = Contents(schemas={number: "x" * 1_000_000 for number in range(40)})
    data = packed(large, URL)
    assert len(data) < MAX_BYTES
    assert list(unpacked(data, URL).schemas)[-1] == 39, "the oldest are left out first"


@given(CONTENTS)
def test_packed_and_unpacked_are_inverse(contents: Contents) -> None:
    assert unpacked(packed(contents, URL), URL) == contents


@given(CONTENTS, st.data())
def test_damage_is_never_taken_for_schemas(contents: Contents, data: st.DataObject) -> None:
    whole = packed(contents, URL)
    where = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from([whole[:where], whole[:where] + bytes([whole[where] ^ 1 << data.draw(st.integers(0, 7))]) + whole[where + 1 :]])
    )
    with contextlib.suppress(DamagedError):
        assert unpacked(damaged, URL) == contents, "only what changes nothing may pass: a space, or another spelling of a character"


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format": 1, "checksum": "0"}', b" " * (MAX_BYTES + 1)]
)
def test_a_damaged_file_is_said_and_written_anew(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    RegistryCache(tmp_path, URL).keep_schema(7, "old")
    path = RegistryCache(tmp_path, URL).path
    path.write_bytes(data)
    cache = RegistryCache(tmp_path, URL)
    assert cache.schema(7) is None
    assert f"{path} are damaged" in caplog.text
    cache.keep_schema(8, "new")
    assert RegistryCache(tmp_path, URL).schema(8) == "new"


def test_a_file_of_another_registry_is_none(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="registry"):
        unpacked(packed(Contents({7: "x"}), "https://other"), URL)
    body = json.loads(packed(Contents({7: "x"}), URL))
    body["schemas"]["7"] = "y"
    with pytest.raises(DamagedError, match="checksum"):
        unpacked(json.dumps(body).encode(), URL)


def test_a_folder_that_can_not_be_is_said_once_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = RegistryCache(tmp_path / "file", URL)
    for number in range(3):
        cache.keep_schema(number, "x")
    assert cache.schema(2) == "x"
    assert caplog.text.count("can't be cached") == 1 and "VEILSTREAM_REGISTRY_CACHE" in caplog.text


def test_schemas_that_others_may_have_written_are_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = RegistryCache(tmp_path / "cache", URL)
    cache.keep_schema(7, "mine")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700 and cache.path.stat().st_mode & 0o777 == 0o600
    cache.path.chmod(0o666)
    again = RegistryCache(tmp_path / "cache", URL)
    assert again.schema(7) is None and "may be written by others" in caplog.text
    again.keep_schema(8, "mine")
    assert RegistryCache(tmp_path / "cache", URL).schema(8) == "mine"
    (tmp_path / "cache").chmod(0o777)
    assert RegistryCache(tmp_path / "cache", URL).schema(8) is None

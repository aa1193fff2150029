"""The newest announcements: the same ones in whatever order they come, and no file makes them older."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from streams.errors import ModelRefused, Refusal
from streams.models.registry.announcement import Announcement, sign_announcement, withdraw
from streams.models.registry.head import HEAD, MAX_HEAD_BYTES, Head, head_records, newer
from streams.models.registry.known import KnownAnnouncements
from streams.models.registry.store import ModelStore

KEY = SigningKey(bytes(32))


def an_announcement(counter: int, version: str = "v1", channel: Any = "stable", at: int = 0, **changes: Any) -> Announcement:
    share = 0.1 if channel == "canary" else 0.0
    plain = Announcement(
        channel, version, f"models/{version}", {"a.json": "0" * 64}, 4, {"x": 1.0}, None, None, at, None, share, "", False, 0
    )
    return withdraw(plain, announced_at=at, counter=counter) if changes else Announcement(**{**_fields(plain), "counter": counter})


def _fields(announcement: Announcement) -> dict[str, Any]:
    return {name: getattr(announcement, name) for name in Announcement.__slots__}


def record(announcement: Announcement, key: SigningKey = KEY) -> Any:
    return sign_announcement(announcement, key)


def taken_in_order(records: list[Any]) -> Head:
    head = Head(KEY.verify_key)
    newer(head, records)
    return head


SOME = st.builds(
    an_announcement,
    counter=st.integers(0, 4),
    version=st.sampled_from(["v1", "v2", "v3"]),
    channel=st.sampled_from(["stable", "canary"]),
    at=st.integers(0, 3),
).map(record)


@given(st.lists(SOME, max_size=8).flatmap(lambda records: st.tuples(st.just(records), st.permutations(records))))
def test_every_order_ends_with_the_same(orders: tuple[list[Any], list[Any]]) -> None:
    """Also of two announcements with one counter: readers of a compacted topic see only some of the records."""
    one, other = (taken_in_order(records) for records in orders)
    assert one.to_bytes() == other.to_bytes()
    for channel in ("stable", "canary"):
        counters = [found["counter"] for found in orders[0] if found["channel"] == channel]
        last = one.last(channel)  # type: ignore[arg-type]
        assert (last.counter if last is not None else None) == max(counters, default=None)


@given(st.lists(SOME, max_size=6))
def test_the_file_reads_back(records: list[Any]) -> None:
    head = taken_in_order(records)
    again = Head(KEY.verify_key)
    assert newer(again, head_records(head.to_bytes())) == ([head.last(r["channel"]) for r in head.records()], [])  # type: ignore[arg-type]
    assert again.to_bytes() == head.to_bytes()
    assert newer(again, head_records(head.to_bytes())) == ([], []), "it is known"


def test_the_counter_decides_and_not_the_clock() -> None:
    head = Head(KEY.verify_key)
    head.take(record(an_announcement(3, "v3", at=1000)))
    for older in (an_announcement(2, "v1", at=9000), an_announcement(0, "v1", at=9000)):
        with pytest.raises(ModelRefused) as refused:
            head.take(record(older))
        assert refused.value.refusal == Refusal.OUTDATED
    assert head.take(record(an_announcement(4, "v2", at=10))).model_version == "v2", "back to an older version, by a new announcement"


def test_without_counters_the_time_decides_until_they_are_refused() -> None:
    head = Head(KEY.verify_key)
    head.take(record(an_announcement(0, "v2", at=20)))
    with pytest.raises(ModelRefused):
        head.take(record(an_announcement(0, "v1", at=10)))
    head.take(record(an_announcement(1, "v3", at=5)))
    strict = Head(KEY.verify_key, uncounted=False)
    with pytest.raises(ModelRefused) as refused:
        strict.take(record(an_announcement(0, "v2", at=20)))
    assert refused.value.refusal == Refusal.UNCOUNTED and strict.last("stable") is None
    assert strict.take(record(an_announcement(1))).counter == 1


def test_a_file_that_others_wrote_adds_nothing() -> None:
    head = Head(KEY.verify_key)
    head.take(record(an_announcement(3, "v3")))
    forged = Head(SigningKey(b"x" * 32).verify_key)
    forged.take(record(an_announcement(9, "v1"), SigningKey(b"x" * 32)))
    assert newer(head, head_records(forged.to_bytes())) == ([], [Refusal.SIGNATURE])
    changed = json.loads(taken_in_order([record(an_announcement(4, "v1"))]).to_bytes())
    changed["announcements"][0]["model_version"] = "v2"
    assert newer(head, head_records(json.dumps(changed).encode())) == ([], [Refusal.SIGNATURE])
    older = taken_in_order([record(an_announcement(2, "v2"))])
    assert newer(head, head_records(older.to_bytes())) == ([], [])
    last = head.last("stable")
    assert last is not None and last.model_version == "v3"


NO_HEADS = [
    b"",
    b"null",
    b"{}",
    b"[" * 100_000,
    b'{"format":2,"announcements":[]}',
    b'{"format":1,"announcements":[{}]}',
    b"\xff",
    b"9" * 5000,
]


@pytest.mark.parametrize("data", [*NO_HEADS, b'{"format":1,"announcements":7}', b'{"format":1,"announcements":[]}' + b" " * MAX_HEAD_BYTES])
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused) as refused:
        head_records(data)
    assert refused.value.refusal == Refusal.MALFORMED


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(max_size=3) | st.floats(), st.lists, max_leaves=5).map(json.dumps).map(str.encode)
)
def test_no_bytes_do_harm(data: bytes) -> None:
    with contextlib.suppress(ModelRefused):
        newer(Head(KEY.verify_key), head_records(data))


@pytest.mark.parametrize("root", ["folder", "memory://heads"])
def test_a_store_has_one(root: str, tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store") if root == "folder" else root)
    assert store.read_head() is None
    store.write_head(b"one")
    store.write_head(b"two")
    assert store.read_head() == b"two"
    assert store.list_versions() == []
    if root == "folder":
        assert [path.name for path in (tmp_path / "store").iterdir()] == [HEAD]
    else:
        fsspec.filesystem("memory").rm("/heads", recursive=True)


def test_a_worker_keeps_what_it_knew_and_what_others_kept(tmp_path: Path) -> None:
    known = KnownAnnouncements(tmp_path / "cache", "t.models", "", KEY.verify_key)
    assert known.kept() is None
    known.keep(taken_in_order([record(an_announcement(5, "v5"))]).to_bytes())
    known.keep(taken_in_order([record(an_announcement(4, "v4")), record(an_announcement(1, "c", "canary"))]).to_bytes())
    kept = known.kept()
    assert kept is not None
    assert [(found["channel"], found["counter"]) for found in head_records(kept)] == [("canary", 1), ("stable", 5)]
    assert KnownAnnouncements(tmp_path / "cache", "other.models", "", KEY.verify_key).kept() is None
    (tmp_path / "cache" / next((tmp_path / "cache").iterdir()).name).write_bytes(b"damaged")
    known.keep(taken_in_order([record(an_announcement(6, "v6"))]).to_bytes())
    kept = known.kept()
    assert kept is not None and [found["counter"] for found in head_records(kept)] == [6]


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    known = KnownAnnouncements(tmp_path / "file", "models", "", KEY.verify_key)
    known.keep(taken_in_order([record(an_announcement(1))]).to_bytes())
    assert "can't be kept" in caplog.text

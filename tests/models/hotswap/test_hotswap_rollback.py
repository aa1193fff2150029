"""Who may write to the topic ``models``, and has no key, can't make any worker serve an older model, or none."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.engine.records import MemoryRecord
from streams.models.registry.announcement import Announcement, sign_announcement
from streams.models.registry.head import Head
from streams.topics import MODELS
from tests.support.profile_harness import CODECS, TITLES
from tests.support.swap_harness import KEY, A, B, C, SwapHarness
from tests.support.waiting import until


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SwapHarness]:
    harness = SwapHarness(tmp_path)
    for version in (B, C):
        harness.put(version, TITLES)
    yield harness
    await harness.stop()


def announced(harness: SwapHarness) -> tuple[Announcement, Announcement]:
    """B, then C; the store's head says so, as whoever announces writes it."""
    old, new = harness.promote(harness.publish(B)), harness.promote(harness.publish(C))
    write_head(harness, new)
    return old, new


def write_head(harness: SwapHarness, *announcements: Announcement) -> None:
    head = Head(KEY.verify_key)
    for announcement in announcements:
        head.take(sign_announcement(announcement, KEY))
    harness.store.write_head(head.to_bytes())


def compact_to(harness: SwapHarness, record: Announcement | bytes | None) -> None:
    """The topic as it is when an attacker's record is the last of its key."""
    harness.announcements.records.clear()
    if isinstance(record, Announcement):
        harness.say(record)
    elif record is not None:
        harness.announcements.write([MemoryRecord(MODELS, 0, 0, 0, b"stable", record)])


def tombstone(harness: SwapHarness) -> None:
    harness.announcements.write([MemoryRecord(MODELS, 0, 0, 0, b"stable", None)])


async def test_a_new_worker_is_not_rolled_back_by_an_old_record(harness: SwapHarness, caplog: pytest.LogCaptureFixture) -> None:
    old, _ = announced(harness)
    compact_to(harness, old)
    await harness.start()
    assert harness.serving == (C, None)
    assert f"the topic lacks announcement 2 of stable ({C})" in caplog.text


@pytest.mark.parametrize("left", [None, b"\x00nonsense"])
async def test_a_new_worker_has_a_model_though_the_topic_is_emptied(harness: SwapHarness, left: bytes | None) -> None:
    announced(harness)
    compact_to(harness, left)
    tombstone(harness)
    await harness.start()
    assert harness.serving == (C, None)


async def test_a_running_worker_heeds_neither(harness: SwapHarness) -> None:
    old, _ = announced(harness)
    await harness.start()
    harness.say(old)
    tombstone(harness)
    await harness.settle()
    assert harness.serving == (C, None)
    assert harness.metric("models_refused_total", reason="outdated") == 1
    assert harness.metric("models_refused_total", reason="empty") == 1


async def test_a_worker_remembers_where_no_store_has_a_head(harness: SwapHarness) -> None:
    """What it kept itself, beside its cached models: announcements from before there were heads."""
    old, _ = announced(harness)
    (harness.folder / "store" / "announced.json").unlink()
    await harness.start()
    assert harness.serving == (C, None)
    await harness.stop()
    compact_to(harness, old)
    await harness.start()
    assert harness.serving == (C, None)
    await harness.stop()
    shutil.rmtree(harness.folder / "cache")
    await harness.start()
    assert harness.serving == (B, None), "without a head and without a memory, it can't know"


async def test_an_operator_goes_back_by_a_new_announcement(harness: SwapHarness) -> None:
    announced(harness)
    await harness.start()
    harness.promote(harness.store.read_manifest(B))
    await harness.until(lambda: harness.serving == (B, None))


async def test_a_store_that_is_away_at_the_start_is_asked_again(harness: SwapHarness, caplog: pytest.LogCaptureFixture) -> None:
    old, new = announced(harness)
    compact_to(harness, old)
    store, away = harness.folder / "store", harness.folder / "away"
    store.rename(away)
    store.write_text("no folder: the store can't be reached")
    await harness.start()
    assert harness.serving == (A, None)
    assert "known from the topic alone for now" in caplog.text
    store.unlink()
    away.rename(store)
    await harness.until(lambda: harness.serving == (C, None))
    await until(lambda: (harness.known().kept() or b"").count(new.model_version.encode()) > 0, lambda: "not kept")


async def test_a_withdrawn_canary_stays_withdrawn(harness: SwapHarness) -> None:
    harness.promote(harness.publish(B))
    canary = harness.promote(harness.publish(C), 0.5)
    harness.withdraw(canary)
    await harness.start()
    await harness.stop()
    harness.announcements.records = [record for record in harness.announcements.records if record.key == b"stable"]
    harness.say(canary)
    await harness.start()
    await harness.settle()
    assert harness.serving == (B, None)


async def test_announcements_without_a_counter_are_obeyed_and_named(harness: SwapHarness, caplog: pytest.LogCaptureFixture) -> None:
    manifest = harness.publish(B)
    harness.say(_uncounted(harness.promote(manifest)))
    harness.announcements.records = harness.announcements.records[-1:]
    await harness.start()
    assert harness.serving == (B, None)
    assert "has no counter" in caplog.text
    assert CODECS.for_topic(MODELS).decode(harness.announcements.records[0].value)["counter"] == 0


def _uncounted(announcement: Announcement) -> Announcement:
    return Announcement(**{**{name: getattr(announcement, name) for name in Announcement.__slots__}, "counter": 0})

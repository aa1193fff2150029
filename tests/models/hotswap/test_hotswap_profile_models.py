"""A profile worker's models: what is announced takes over when it is complete, and nothing is ever of two versions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from streams.engine.records import MemoryRecord
from streams.models.hotswap.serving_model import in_canary
from streams.ranking.rules import DAY_MS
from streams.ranking.serving_params import ServingParams
from streams.stages.profile.recommendation import answer_id
from tests.support.profile_harness import TITLES, event, event_records
from tests.support.swap_harness import DIMENSION, A, B, C, SwapHarness, cosine

QUERIES = ("red box", "tea set", "garden heart")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SwapHarness]:
    harness = SwapHarness(tmp_path)
    yield harness
    await harness.stop()


class Searches:
    """Batches of searches by many shoppers; offsets go on."""

    def __init__(self) -> None:
        self.offset = 0

    def batch(self, users: int = 40) -> list[MemoryRecord]:
        first = self.offset
        self.offset += users
        return event_records([event(first + n, f"u{n}", "search", query=QUERIES[n % 3], at_s=first + n) for n in range(users)], first=first)


def check(answers: list[dict[str, Any]], users: int = 40) -> set[str]:
    """One answer a search, each with the cosines of its own version's vectors; the versions."""
    assert [answer["pseudonym"] for answer in answers] == [f"k1.u{n}" for n in range(users)]
    for number, answer in enumerate(answers):
        assert len(answer["items"]) == 3
        for item in answer["items"]:
            expected = cosine(answer["model_version"], QUERIES[number % 3], TITLES[item["item_id"]])
            assert item["cosine"] == pytest.approx(expected, abs=1e-5)
    return {answer["model_version"] for answer in answers}


async def test_the_announced_model_takes_over_when_it_is_complete(harness: SwapHarness) -> None:
    searches = Searches()
    await harness.start()
    assert check(await harness.answers(searches.batch())) == {A}
    first = harness.loaded[0]
    harness.promote(harness.publish(B))
    harness.put(B, list(TITLES)[:-1])
    await harness.until(lambda: harness.metric("model_items_share", model_version=B) == (len(TITLES) - 1) / len(TITLES))
    assert check(await harness.answers(searches.batch())) == {A}
    assert not first.closed
    harness.now_s = 12.0
    harness.put(B, list(TITLES)[-1:])
    await harness.until(lambda: harness.serving == (B, None))
    assert check(await harness.answers(searches.batch())) == {B}
    await harness.until(lambda: first.closed)
    assert len(harness.vectors.readers) == 1
    assert harness.metric("model_info", model_version=B, channel="stable") == 1
    assert harness.metric("model_info", model_version=A, channel="stable") is None
    assert (harness.metric("model_swap_seconds_count"), harness.metric("model_swap_seconds_sum")) == (1, 12.0)


async def test_a_rollback_is_the_same_path(harness: SwapHarness) -> None:
    searches = Searches()
    harness.publish(A)
    await harness.start()
    harness.put(B, TITLES)
    harness.promote(harness.publish(B, parent=A))
    await harness.until(lambda: harness.serving == (B, None))
    harness.promote(harness.store.read_manifest(A))
    await harness.until(lambda: harness.serving == (A, None))
    assert check(await harness.answers(searches.batch())) == {A}


async def test_a_catalogue_that_changes_meanwhile_is_waited_for(harness: SwapHarness) -> None:
    await harness.start()
    harness.promote(harness.publish(B))
    await harness.until(lambda: harness.metric("model_items_share", model_version=B) == 0)
    harness.put(A, ["new"])
    harness.put(B, TITLES)
    await harness.settle()
    assert harness.serving == (A, None)
    harness.put(A, ["i001"], prefix="other text", at=2_000_000_000_000)
    harness.put(B, ["new"])
    harness.now_s += 6  # longer than a change may be under way
    await harness.settle()
    assert harness.serving == (A, None)
    harness.put(B, ["i001"], prefix="other text", at=2_000_000_000_000)
    await harness.until(lambda: harness.serving == (B, None))


async def test_a_batch_under_way_is_answered_by_the_model_it_began_with(harness: SwapHarness) -> None:
    searches = Searches()
    await harness.start()
    harness.put(B, TITLES)
    first = harness.loaded[0]
    gate = asyncio.Event()
    with harness.models.use() as routing:
        lookup = routing.stable.queries.lookup

        async def slow(texts: Any) -> Any:
            await gate.wait()
            return await lookup(texts)

        routing.stable.queries.lookup = slow  # type: ignore[method-assign]
    before = asyncio.create_task(harness.answers(searches.batch()))
    await asyncio.sleep(0)
    harness.promote(harness.publish(B))
    await harness.until(lambda: harness.serving == (B, None))
    await harness.settle()
    assert not first.closed
    gate.set()
    assert check(await before) == {A}
    await harness.until(lambda: first.closed)
    assert check(await harness.answers(searches.batch())) == {B}


async def test_serving_parameters_are_the_models_own(harness: SwapHarness) -> None:
    await harness.start()
    harness.put(B, TITLES)
    harness.promote(harness.publish(B, serving=ServingParams(7.0, 0.5, -1.5)))
    await harness.until(lambda: harness.serving == (B, None))
    with harness.models.use() as routing:
        rules = routing.stable.rules
    assert rules == replace(harness.rules, half_life_ms=7 * DAY_MS, popularity_weight=0.5, threshold=-1.5, together_weight=0.0)
    assert {answer["threshold"] for answer in await harness.answers(Searches().batch())} == {-1.5}


async def test_a_canary_serves_its_share_and_is_withdrawn(harness: SwapHarness) -> None:
    searches = Searches()
    await harness.start()
    harness.put(B, TITLES)
    canary = harness.promote(harness.publish(B), 0.3)
    await harness.until(lambda: harness.serving == (A, B))
    answers = await harness.answers(searches.batch())
    assert check(answers) == {A, B}
    assert all((answer["model_version"] == B) == in_canary(answer["pseudonym"], 0.3, B) for answer in answers)
    assert harness.metric("model_info", model_version=B, channel="canary") == 1
    harness.withdraw(canary)
    await harness.until(lambda: harness.serving == (A, None))
    assert check(await harness.answers(searches.batch())) == {A}
    await harness.until(lambda: harness.loaded[1].closed)


async def test_a_canary_becomes_stable_without_being_built_again(harness: SwapHarness) -> None:
    await harness.start()
    harness.put(B, TITLES)
    canary = harness.promote(harness.publish(B), 0.3)
    await harness.until(lambda: harness.serving == (A, B))
    harness.promote(harness.store.read_manifest(B))
    harness.withdraw(canary)
    await harness.until(lambda: harness.serving == (B, None))
    assert [model.version for model in harness.loaded] == [A, B]


async def test_a_worker_that_was_away_begins_with_the_announced_model(harness: SwapHarness) -> None:
    harness.put(B, TITLES)
    harness.promote(harness.publish(B))
    await harness.start()
    assert harness.serving == (B, None)
    assert [model.version for model in harness.loaded] == [B]
    assert check(await harness.answers(Searches().batch())) == {B}


async def test_a_worker_that_comes_amid_a_swap_begins_with_the_parent(harness: SwapHarness) -> None:
    harness.publish(B)
    harness.put(B, TITLES, at=2_000_000_000_000)
    harness.put(C, list(TITLES)[:5], at=2_000_000_000_000)
    harness.promote(harness.publish(C, parent=B))
    await harness.start()
    assert harness.serving == (B, None)
    harness.put(C, TITLES, at=2_000_000_000_000)
    await harness.until(lambda: harness.serving == (C, None))


async def test_an_unfinished_model_without_a_parent_leaves_the_base_in_place(harness: SwapHarness) -> None:
    harness.put(B, list(TITLES)[:5])
    harness.promote(harness.publish(B))
    await harness.start()
    assert harness.serving == (A, None)


async def test_what_is_refused_changes_nothing_and_is_counted(harness: SwapHarness) -> None:
    await harness.start()
    harness.put(B, TITLES)
    harness.put(C, TITLES)
    manifest = harness.publish(B)
    harness.promote(manifest, key=SigningKey(b"y" * 32))
    await harness.until(lambda: harness.metric("models_refused_total", reason="signature") == 1)

    (harness.folder / "store" / B / "model.safetensors").write_bytes(b"damaged")
    harness.promote(manifest)
    await harness.until(lambda: harness.metric("models_refused_total", reason="hash") == 1)

    harness.real_dimensions[C] = DIMENSION // 2
    harness.promote(harness.publish(C))
    await harness.until(lambda: harness.metric("models_refused_total", reason="dimension") == 1)

    for version, reason in (("dddddddddddd", "malformed"), ("eeeeeeeeeeee", "other_content")):
        harness.promote(harness.publish(version))
        await harness.until(lambda reason=reason: harness.metric("models_refused_total", reason=reason) == 1)  # type: ignore[misc]
    await harness.settle()
    assert harness.serving == (A, None)
    assert check(await harness.answers(Searches().batch())) == {A}


async def test_a_worker_that_starts_with_a_refused_announcement_goes_on_with_the_parent_or_the_base(harness: SwapHarness) -> None:
    harness.publish(C)
    harness.put(C, TITLES)
    manifest = harness.publish(B, parent=C)
    (harness.folder / "store" / B / "vocab.txt").write_text("damaged")
    harness.promote(manifest)
    await harness.start()
    assert harness.serving == (C, None)
    await harness.stop()
    (harness.folder / "store" / C / "vocab.txt").write_text("damaged")
    (harness.folder / "cache" / C / "vocab.txt").write_text("damaged")
    await harness.start()
    assert harness.serving == (A, None)


async def test_a_store_that_is_away_is_asked_again(harness: SwapHarness) -> None:
    await harness.start()
    harness.put(B, TITLES)
    manifest = harness.publish(B)
    gone = harness.folder / "store" / B / "model.safetensors"
    data = gone.read_bytes()
    gone.unlink()
    gone.mkdir()  # what can't be read, for root too
    harness.promote(manifest)
    await harness.settle()
    assert harness.serving == (A, None)
    gone.rmdir()
    gone.write_bytes(data)
    await harness.until(lambda: harness.serving == (B, None))


async def test_an_event_answered_by_one_model_is_not_answered_again_by_another(harness: SwapHarness) -> None:
    """A batch that comes again after a swap gives other recommendations, under the ids by which the runtime leaves them out."""
    batch = Searches().batch()
    await harness.start()
    before = (await harness.stage(batch, harness.state)).outputs
    harness.put(B, TITLES)
    harness.promote(harness.publish(B))
    await harness.until(lambda: harness.serving == (B, None))
    after = (await harness.stage(batch, harness.state)).outputs
    assert [output.record_id for output in before] == [output.record_id for output in after]
    assert len({answer_id(event(n, f"u{n}", "search")) for n in range(9)}) == 9  # type: ignore[arg-type]

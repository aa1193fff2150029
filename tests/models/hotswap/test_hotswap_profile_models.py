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
from tests.support.profile_world import TITLES, event, event_records
from tests.support.swap_world import DIMENSION, A, B, C, SwapWorld, cosine

QUERIES = ("red box", "tea set", "garden heart")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SwapWorld]:
    made = SwapWorld(tmp_path)
    yield made
    await made.stop()


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


async def test_the_announced_model_takes_over_when_it_is_complete(world: SwapWorld) -> None:
    searches = Searches()
    await world.start()
    assert check(await world.answers(searches.batch())) == {A}
    first = world.loaded[0]
    world.promote(world.publish(B))
    world.put(B, list(TITLES)[:-1])
    await world.until(lambda: world.metric("model_items_share", model_version=B) == (len(TITLES) - 1) / len(TITLES))
    assert check(await world.answers(searches.batch())) == {A}
    assert not first.closed
    world.now_s = 12.0
    world.put(B, list(TITLES)[-1:])
    await world.until(lambda: world.serving == (B, None))
    assert check(await world.answers(searches.batch())) == {B}
    await world.until(lambda: first.closed)
    assert len(world.vectors.readers) == 1
    assert world.metric("model_info", model_version=B, channel="stable") == 1
    assert world.metric("model_info", model_version=A, channel="stable") is None
    assert (world.metric("model_swap_seconds_count"), world.metric("model_swap_seconds_sum")) == (1, 12.0)


async def test_a_rollback_is_the_same_path(world: SwapWorld) -> None:
    searches = Searches()
    world.publish(A)
    await world.start()
    world.put(B, TITLES)
    world.promote(world.publish(B, parent=A))
    await world.until(lambda: world.serving == (B, None))
    world.promote(world.store.read_manifest(A))
    await world.until(lambda: world.serving == (A, None))
    assert check(await world.answers(searches.batch())) == {A}


async def test_a_catalogue_that_changes_meanwhile_is_waited_for(world: SwapWorld) -> None:
    await world.start()
    world.promote(world.publish(B))
    await world.until(lambda: world.metric("model_items_share", model_version=B) == 0)
    world.put(A, ["new"])
    world.put(B, TITLES)
    await world.settle()
    assert world.serving == (A, None)
    world.put(A, ["i001"], prefix="other text", at=2_000_000_000_000)
    world.put(B, ["new"])
    world.now_s += 6  # longer than a change may be under way
    await world.settle()
    assert world.serving == (A, None)
    world.put(B, ["i001"], prefix="other text", at=2_000_000_000_000)
    await world.until(lambda: world.serving == (B, None))


async def test_a_batch_under_way_is_answered_by_the_model_it_began_with(world: SwapWorld) -> None:
    searches = Searches()
    await world.start()
    world.put(B, TITLES)
    first = world.loaded[0]
    gate = asyncio.Event()
    with world.models.use() as routing:
        lookup = routing.stable.queries.lookup

        async def slow(texts: Any) -> Any:
            await gate.wait()
            return await lookup(texts)

        routing.stable.queries.lookup = slow  # type: ignore[method-assign]
    before = asyncio.create_task(world.answers(searches.batch()))
    await asyncio.sleep(0)
    world.promote(world.publish(B))
    await world.until(lambda: world.serving == (B, None))
    await world.settle()
    assert not first.closed
    gate.set()
    assert check(await before) == {A}
    await world.until(lambda: first.closed)
    assert check(await world.answers(searches.batch())) == {B}


async def test_serving_parameters_are_the_models_own(world: SwapWorld) -> None:
    await world.start()
    world.put(B, TITLES)
    world.promote(world.publish(B, serving=ServingParams(7.0, 0.5, -1.5)))
    await world.until(lambda: world.serving == (B, None))
    with world.models.use() as routing:
        rules = routing.stable.rules
    assert rules == replace(world.rules, half_life_ms=7 * DAY_MS, popularity_weight=0.5, threshold=-1.5)
    assert {answer["threshold"] for answer in await world.answers(Searches().batch())} == {-1.5}


async def test_a_canary_serves_its_share_and_is_withdrawn(world: SwapWorld) -> None:
    searches = Searches()
    await world.start()
    world.put(B, TITLES)
    canary = world.promote(world.publish(B), 0.3)
    await world.until(lambda: world.serving == (A, B))
    answers = await world.answers(searches.batch())
    assert check(answers) == {A, B}
    assert all((answer["model_version"] == B) == in_canary(answer["pseudonym"], 0.3, B) for answer in answers)
    assert world.metric("model_info", model_version=B, channel="canary") == 1
    world.withdraw(canary)
    await world.until(lambda: world.serving == (A, None))
    assert check(await world.answers(searches.batch())) == {A}
    await world.until(lambda: world.loaded[1].closed)


async def test_a_canary_becomes_stable_without_being_built_again(world: SwapWorld) -> None:
    await world.start()
    world.put(B, TITLES)
    canary = world.promote(world.publish(B), 0.3)
    await world.until(lambda: world.serving == (A, B))
    world.promote(world.store.read_manifest(B))
    world.withdraw(canary)
    await world.until(lambda: world.serving == (B, None))
    assert [model.version for model in world.loaded] == [A, B]


async def test_a_worker_that_was_away_begins_with_the_announced_model(world: SwapWorld) -> None:
    world.put(B, TITLES)
    world.promote(world.publish(B))
    await world.start()
    assert world.serving == (B, None)
    assert [model.version for model in world.loaded] == [B]
    assert check(await world.answers(Searches().batch())) == {B}


async def test_a_worker_that_comes_amid_a_swap_begins_with_the_parent(world: SwapWorld) -> None:
    world.publish(B)
    world.put(B, TITLES, at=2_000_000_000_000)
    world.put(C, list(TITLES)[:5], at=2_000_000_000_000)
    world.promote(world.publish(C, parent=B))
    await world.start()
    assert world.serving == (B, None)
    world.put(C, TITLES, at=2_000_000_000_000)
    await world.until(lambda: world.serving == (C, None))


async def test_an_unfinished_model_without_a_parent_leaves_the_base_in_place(world: SwapWorld) -> None:
    world.put(B, list(TITLES)[:5])
    world.promote(world.publish(B))
    await world.start()
    assert world.serving == (A, None)


async def test_what_is_refused_changes_nothing_and_is_counted(world: SwapWorld) -> None:
    await world.start()
    world.put(B, TITLES)
    world.put(C, TITLES)
    manifest = world.publish(B)
    world.promote(manifest, key=SigningKey(b"y" * 32))
    await world.until(lambda: world.metric("models_refused_total", reason="signature") == 1)

    (world.folder / "store" / B / "model.safetensors").write_bytes(b"damaged")
    world.promote(manifest)
    await world.until(lambda: world.metric("models_refused_total", reason="hash") == 1)

    world.real_dimensions[C] = DIMENSION // 2
    world.promote(world.publish(C))
    await world.until(lambda: world.metric("models_refused_total", reason="dimension") == 1)

    for version, reason in (("dddddddddddd", "malformed"), ("eeeeeeeeeeee", "other_content")):
        world.promote(world.publish(version))
        await world.until(lambda reason=reason: world.metric("models_refused_total", reason=reason) == 1)  # type: ignore[misc]
    await world.settle()
    assert world.serving == (A, None)
    assert check(await world.answers(Searches().batch())) == {A}


async def test_a_worker_that_starts_with_a_refused_announcement_goes_on_with_the_parent_or_the_base(world: SwapWorld) -> None:
    world.publish(C)
    world.put(C, TITLES)
    manifest = world.publish(B, parent=C)
    (world.folder / "store" / B / "vocab.txt").write_text("damaged")
    world.promote(manifest)
    await world.start()
    assert world.serving == (C, None)
    await world.stop()
    (world.folder / "store" / C / "vocab.txt").write_text("damaged")
    (world.folder / "cache" / C / "vocab.txt").write_text("damaged")
    await world.start()
    assert world.serving == (A, None)


async def test_a_store_that_is_away_is_asked_again(world: SwapWorld) -> None:
    await world.start()
    world.put(B, TITLES)
    manifest = world.publish(B)
    gone = world.folder / "store" / B / "model.safetensors"
    data = gone.read_bytes()
    gone.unlink()
    gone.mkdir()  # what can't be read, for root too
    world.promote(manifest)
    await world.settle()
    assert world.serving == (A, None)
    gone.rmdir()
    gone.write_bytes(data)
    await world.until(lambda: world.serving == (B, None))


async def test_an_event_answered_by_one_model_is_not_answered_again_by_another(world: SwapWorld) -> None:
    """A batch that comes again after a swap gives other recommendations, under the ids by which the runtime leaves them out."""
    batch = Searches().batch()
    await world.start()
    before = (await world.stage(batch, world.state)).outputs
    world.put(B, TITLES)
    world.promote(world.publish(B))
    await world.until(lambda: world.serving == (B, None))
    after = (await world.stage(batch, world.state)).outputs
    assert [output.record_id for output in before] == [output.record_id for output in after]
    assert len({answer_id(event(n, f"u{n}", "search")) for n in range(9)}) == 9  # type: ignore[arg-type]

"""The catalogue under two models: what is known is encoded under the new one, what changes under both, what is retired goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord
from streams.models.hotswap.active_encoders import ActiveEncoders
from streams.models.hotswap.completeness import FIELDS, Completeness
from streams.privacy.seal import Sealer
from streams.stages.catalogue.backfill import PART
from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
from streams.stages.catalogue.validate import text_hash
from streams.topics import CATALOGUE_ITEMS, DEAD_LETTER, ITEMS_VECTORS
from tests.support.profile_harness import CODECS, START_MS, MemoryState
from tests.support.stage_keys import SIGNING_KEY

DIMENSIONS = {"a": 16, "b": 24}


class Encoder:
    """Hashing; ``breaks`` on some texts."""

    def __init__(self, version: str) -> None:
        self.version, self.dimension = version, DIMENSIONS[version]
        self.texts: list[str] = []
        self.breaks: set[str] = set()

    async def encode_many(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        if self.breaks.intersection(texts):
            raise ArithmeticError("no vector")
        return HashingEncoder(self.dimension).encode(texts)


class Ticking:
    """A millisecond later each time."""

    def __init__(self) -> None:
        self._calls = count(START_MS)

    def now_ms(self) -> int:
        return next(self._calls)


class Shop:
    """``live`` is what the runtime changes."""

    def __init__(self) -> None:
        self.a, self.b = Encoder("a"), Encoder("b")
        self.active = ActiveEncoders([self.a])
        self.clock = Ticking()
        self.state = MemoryState()
        self.topic: dict[bytes, MemoryRecord] = {}
        self.restart()

    def restart(self) -> None:
        dead_letters = DeadLetterBuilder(
            CODECS.for_topic(DEAD_LETTER),
            Sealer(PrivateKey.generate().public_key),
            "catalogue",
            FixedClock(START_MS),
            10_000,
            signing_key=SIGNING_KEY,
        )
        self.stage = CatalogueStage(codecs=CODECS, models=self, dead_letters=dead_letters, rules=CatalogueRules(), clock=self.clock)

    @contextmanager
    def use(self) -> Iterator[ActiveEncoders]:
        yield self.active

    def take(self, result: BatchResult) -> BatchResult:
        self.state.write(result.state)
        for output in result.outputs:
            if output.topic == ITEMS_VECTORS:
                assert output.key is not None
                self.topic[output.key] = MemoryRecord(output.topic, 0, 0, 0, output.key, output.value)
        return result

    async def publish(self, offset: int, item_id: str, title: str | None, **changes: Any) -> BatchResult:
        return self.take(await self.stage([record(offset, item_id, title, **changes)], self.state))

    async def tick(self) -> BatchResult:
        return self.take(await self.stage.on_timer(0, self.state))

    def complete(self, version: str) -> float:
        completeness = Completeness(CODECS.reading(ITEMS_VECTORS, FIELDS), version)
        completeness.apply(list(self.topic.values()), 0.0)
        return completeness.held(0.0)

    def items(self, version: str) -> dict[str, Any]:
        decode = CODECS.for_topic(ITEMS_VECTORS).decode
        values = [decode(r.value) for key, r in self.topic.items() if r.value is not None and key.startswith(f"{version}/".encode())]
        return {value["item_id"]: value for value in values}


def record(offset: int, item_id: str, title: str | None, **changes: Any) -> MemoryRecord:
    value = None
    if title is not None:
        plain = dict.fromkeys(("category", "brand", "description", "price", "currency", "updated_at"))
        plain |= {"item_id": item_id, "title": title, "in_stock": True, "blocked": False, "tags": []}
        value = CODECS.for_topic(CATALOGUE_ITEMS).encode(plain | changes)
    return MemoryRecord(CATALOGUE_ITEMS, 0, offset, START_MS, item_id.encode(), value)


async def test_what_is_known_is_encoded_under_the_new_model_in_parts() -> None:
    shop = Shop()
    for n in range(PART + 10):
        await shop.publish(n, f"i{n}", f"title {n}", price=2.0, currency="GBP", category="Boxes", in_stock=n % 2 == 0)
    shop.active = ActiveEncoders([shop.a, shop.b])
    assert [len((await shop.tick()).outputs) for _ in range(3)] == [PART, 10, 0]
    assert shop.complete("b") == 1
    under_a, under_b = shop.items("a"), shop.items("b")
    assert under_a.keys() == under_b.keys()
    for item_id, value in under_b.items():
        same = {name: under_a[item_id][name] for name in value.keys() - {"vector", "model_version", "encoded_at"}}
        assert same == {name: value[name] for name in same}
        assert np.allclose(np.frombuffer(value["vector"], "<f4"), HashingEncoder(24).encode([f"title {item_id[1:]}. Boxes"])[0], atol=1e-6)
    shop.restart()
    assert not (await shop.tick()).outputs


async def test_a_change_is_written_under_all_and_encoded_where_the_text_is_new() -> None:
    shop = Shop()
    await shop.publish(0, "i1", "red box")
    shop.active = ActiveEncoders([shop.a, shop.b])
    await shop.publish(1, "i1", "red box", in_stock=False)
    assert (shop.a.texts, shop.b.texts) == (["red box"], ["red box"])
    assert [shop.items(v)["i1"]["recommendable"] for v in "ab"] == [False, False]
    await shop.publish(2, "i1", None)
    assert not shop.items("a")
    assert not shop.items("b")


async def test_a_version_that_was_away_is_made_anew_where_the_item_changed() -> None:
    shop = Shop()
    shop.active = ActiveEncoders([shop.a, shop.b])
    await shop.publish(0, "i1", "red box")
    await shop.publish(1, "i2", "tea")
    shop.active = ActiveEncoders([shop.a])
    await shop.publish(2, "i1", "blue box")
    assert shop.complete("b") == 0.5
    shop.active = ActiveEncoders([shop.b, shop.a])
    shop.b.texts.clear()
    await shop.tick()
    assert shop.b.texts == ["blue box"]
    assert shop.complete("b") == 1


async def test_what_is_retired_is_removed() -> None:
    shop = Shop()
    shop.active = ActiveEncoders([shop.a, shop.b])
    await shop.publish(0, "i1", "red box")
    shop.active = ActiveEncoders([shop.b], frozenset({"a"}))
    shop.restart()
    await shop.tick()
    assert (list(shop.items("a")), list(shop.items("b"))) == ([], ["i1"])
    assert not (await shop.tick()).outputs


async def test_a_text_that_the_new_model_fails_on_costs_nobody_else_anything() -> None:
    shop = Shop()
    shop.b.breaks = {"bad"}
    await shop.publish(0, "i1", "red box")
    await shop.publish(1, "i2", "bad")
    shop.active = ActiveEncoders([shop.a, shop.b])
    await shop.tick()
    result = await shop.publish(2, "i3", "bad")
    assert result.rejected == 0
    assert (set(shop.items("a")), set(shop.items("b"))) == ({"i1", "i2", "i3"}, {"i1"})
    assert not (await shop.tick()).outputs


async def test_a_state_without_texts_waits_for_its_items_to_come_again() -> None:
    shop = Shop()
    shop.state[b"i1"] = b"\x01" + msgspec.msgpack.encode(["a", text_hash("red box"), np.ones(16, "<f4").tobytes(), []])
    shop.active = ActiveEncoders([shop.a, shop.b])
    assert not (await shop.tick()).outputs
    assert shop.stage.textless == {0: 1}
    await shop.publish(0, "i1", "red box")
    assert (shop.a.texts, shop.b.texts) == ([], ["red box"])


async def test_another_partitions_items_are_left_to_it() -> None:
    shop = Shop()
    await shop.publish(0, "i1", "red box")
    shop.active = ActiveEncoders([shop.a, shop.b])
    assert not (await shop.stage.on_timer(1, shop.state)).outputs


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("i1", "i2", "i3")), st.sampled_from(("red box", "tea", None)), st.booleans()),
        st.sampled_from(("tick", "crash", "a", "ab", "ba")),
    ),
    max_size=25,
)


@example(["ab", "tick", "a", ("i1", "red box", True), "ab"])
@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_whatever_happens_the_live_models_hold_the_catalogue(steps: list[Any]) -> None:
    async def go() -> None:
        shop, truth = Shop(), {}
        for offset, step in enumerate(steps):
            if step == "tick":
                await shop.tick()
            elif step == "crash":
                # Between outputs and state: the outputs are there, and come again.
                shop.restart()
                lost = await shop.stage.on_timer(0, shop.state)
                shop.take(BatchResult(lost.outputs))
                shop.restart()
                again = await shop.stage.on_timer(0, shop.state)
                assert [o.record_id for o in again.outputs] == [o.record_id for o in lost.outputs]
            elif isinstance(step, str):
                shop.active = ActiveEncoders([getattr(shop, name) for name in step])
            else:
                item_id, title, in_stock = step
                await shop.publish(offset, item_id, title, in_stock=in_stock)
                truth.pop(item_id, None)
                if title is not None:
                    truth[item_id] = (text_hash(title), in_stock)
        await shop.tick()
        for encoder in shop.active.encoders:
            assert {i: (v["text_hash"], v["recommendable"]) for i, v in shop.items(encoder.version).items()} == truth
            assert shop.complete(encoder.version) == 1

    asyncio.run(go())

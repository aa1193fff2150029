from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from encoders.hashing import HashingEncoder
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import BatchResult, MemoryRecord, OutputRecord
from streams.errors import ConfigurationError
from streams.models.hotswap.active_encoders import OneEncoder
from streams.privacy.seal import Sealer
from streams.ranking.item_matrix import ItemMatrix
from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
from streams.topics import CATALOGUE_ITEMS, DEAD_LETTER, ITEMS_VECTORS
from tests.support.profile_harness import CODECS, START_MS, MemoryState
from tests.support.stage_keys import SIGNING_KEY

DIMENSION = 16


class Encoder:
    """Hashing, noting what it was asked for; a text in ``dumb`` gets no direction."""

    def __init__(self, version: str = "v1") -> None:
        self.version, self.dimension = version, DIMENSION
        self.calls: list[list[str]] = []
        self.dumb: set[str] = set()

    async def encode_many(self, texts: list[str]) -> np.ndarray:
        self.calls.append(list(texts))
        vectors = HashingEncoder(DIMENSION).encode(texts)
        vectors[[text in self.dumb for text in texts]] = np.nan
        return vectors


class Shop:
    def __init__(self, encoder: Encoder | None = None) -> None:
        self.encoder = encoder or Encoder()
        self.state = MemoryState()
        self.topic: list[MemoryRecord] = []
        self.restart()

    def restart(self) -> None:
        sealer = Sealer(PrivateKey.generate().public_key)
        dead_letters = DeadLetterBuilder(
            CODECS.for_topic(DEAD_LETTER), sealer, "catalogue", FixedClock(START_MS), 10_000, signing_key=SIGNING_KEY
        )
        self.stage = CatalogueStage(
            codecs=CODECS, models=OneEncoder(self.encoder), dead_letters=dead_letters, rules=CatalogueRules(), clock=FixedClock(START_MS)
        )

    async def run(self, records: list[MemoryRecord]) -> BatchResult:
        result = await self.stage(records, self.state)
        self.state.write(result.state)
        self.topic += [MemoryRecord(o.topic, 0, 0, 0, o.key, o.value) for o in result.outputs if o.topic == ITEMS_VECTORS]
        return result

    def catalogue(self, version: str = "v1") -> dict[str, tuple[list[float], bool]]:
        matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), version, DIMENSION)
        matrix.apply(self.topic)
        assert matrix.bad_records == 0
        return {item: (matrix.vectors[row].tolist(), bool(matrix.recommendable[row])) for item, row in matrix.rows.items()}


def record(offset: int, item_id: str, title: str | None, **changes: Any) -> MemoryRecord:
    """An item, or with title None its tombstone."""
    value = None
    if title is not None:
        plain = dict.fromkeys(("category", "brand", "description", "price", "currency", "updated_at"))
        plain |= {"item_id": item_id, "title": title, "in_stock": True, "blocked": False, "tags": []}
        value = CODECS.for_topic(CATALOGUE_ITEMS).encode(plain | changes)
    return MemoryRecord(CATALOGUE_ITEMS, 0, offset, START_MS, item_id.encode(), value)


def vectors(outputs: list[OutputRecord]) -> list[dict[str, Any] | None]:
    decode = CODECS.for_topic(ITEMS_VECTORS).decode
    return [None if o.value is None else decode(o.value) for o in outputs if o.topic == ITEMS_VECTORS]


async def test_an_item_becomes_a_vector() -> None:
    shop = Shop()
    result = await shop.run([record(0, "i1", "red box", category="Boxes", price=2.0, currency="GBP")])
    value = vectors(result.outputs)[0]
    assert value is not None
    assert (result.outputs[0].key, value["item_id"], value["model_version"]) == (b"v1/i1", "i1", "v1")
    assert (value["category"], value["price_band"], value["recommendable"], value["encoded_at"]) == ("Boxes", 4, True, START_MS)
    assert np.frombuffer(value["vector"], "<f4") == pytest.approx(HashingEncoder(DIMENSION).encode(["red box. Boxes"])[0], abs=1e-6)


async def test_texts_of_a_batch_are_encoded_together_and_each_once() -> None:
    shop = Shop()
    await shop.run([record(0, "i1", "red box"), record(1, "i2", "red box"), record(2, "i3", "tea"), record(3, "i1", "tea")])
    assert shop.encoder.calls == [["red box", "tea"]]


async def test_a_change_of_stock_costs_no_encoding() -> None:
    shop = Shop()
    await shop.run([record(0, "i1", "red box")])
    before = shop.catalogue()
    shop.restart()
    result = await shop.run([record(1, "i1", "red box", in_stock=False, price=9.0), record(2, "i1", "red box", blocked=True)])
    assert len(shop.encoder.calls) == 1
    assert [value and value["recommendable"] for value in vectors(result.outputs)] == [False, False]
    assert shop.catalogue()["i1"] == (before["i1"][0], False)
    again = await shop.run([record(3, "i1", "red box", blocked=True)])
    assert (len(again.outputs), again.state) == (1, {})


async def test_a_change_of_text_or_model_is_encoded() -> None:
    shop = Shop()
    await shop.run([record(0, "i1", "red box")])
    await shop.run([record(1, "i1", "blue box")])
    shop.encoder = Encoder("v2")
    shop.restart()
    await shop.run([record(2, "i1", "blue box")])
    assert shop.encoder.calls == [["blue box"]]
    assert set(shop.catalogue("v1")) == set(shop.catalogue("v2")) == {"i1"}


async def test_a_tombstone_removes_the_item_under_every_model() -> None:
    shop = Shop()
    await shop.run([record(0, "i1", "red box"), record(1, "i2", "tea")])
    shop.encoder = Encoder("v2")
    shop.restart()
    await shop.run([record(2, "i1", "red box"), record(3, "i2", "tea")])
    result = await shop.run([record(4, "i1", None), record(5, "never there", None)])
    assert {output.key for output in result.outputs} == {b"v1/i1", b"v2/i1", b"v2/never there"}
    assert len({output.record_id for output in result.outputs}) == 3
    assert set(shop.catalogue("v1")) == set(shop.catalogue("v2")) == {"i2"}
    assert set(shop.state) == {b"i2"}


async def test_json_items_are_read() -> None:
    shop = Shop()
    value = json.dumps({"item_id": "i1", "title": "茶具"}).encode()
    await shop.run([record(0, "i1", "x")._replace(value=value, headers=(("content-type", b"application/json"),))])
    assert set(shop.catalogue()) == {"i1"}


async def test_bad_items_are_dead_lettered_and_good_ones_beside_them_pass() -> None:
    shop = Shop()
    shop.encoder.dumb = {"no direction"}
    good = record(9, "i9", "good")
    batch = [
        record(0, "i1", " "),
        record(1, "i2", "x")._replace(key=b"other"),
        record(2, "i3", "x")._replace(key=None),
        record(3, "i4", None)._replace(key=None),
        record(4, "i5", "x")._replace(value=b"garbage"),
        record(5, "i6", "x")._replace(value=b""),
        record(6, "i7", "no direction"),
        good,
    ]
    result = await shop.run(batch)
    letters = [CODECS.for_topic(DEAD_LETTER).decode(o.value) for o in result.outputs if o.topic == DEAD_LETTER]
    assert sorted((letter["source_offset"], letter["reason"]) for letter in letters) == [
        (0, "bad_title"),
        (1, "key_mismatch"),
        (2, "key_mismatch"),
        (3, "key_mismatch"),
        (4, "bad_framing"),
        (5, "empty"),
        (6, "poison"),
    ]
    assert result.rejected == 7
    assert set(shop.catalogue()) == {"i9"}


async def test_an_encoder_of_the_wrong_shape_is_named() -> None:
    shop = Shop()

    async def wrong(texts: list[str]) -> np.ndarray:
        return np.zeros((len(texts), DIMENSION + 1), np.float32)

    shop.encoder.encode_many = wrong  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="shape"):
        await shop.run([record(0, "i1", "x")])


changes = st.lists(
    st.tuples(st.sampled_from(("i1", "i2", "i3")), st.sampled_from(("red box", "tea", " ", None)), st.booleans()), min_size=1, max_size=15
)


@settings(max_examples=60, deadline=None)
@given(changes, st.lists(st.integers(0, 15), max_size=4))
def test_batch_boundaries_do_not_matter(steps: list[tuple[str, str | None, bool]], cuts: list[int]) -> None:
    records = [record(n, item, title, in_stock=stock) for n, (item, title, stock) in enumerate(steps)]
    whole, parts = Shop(), Shop()
    together = asyncio.run(whole.run(records)).outputs
    bounds = [0, *sorted({cut % len(records) for cut in cuts} - {0}), len(records)]
    apart = [output for a, b in pairwise(bounds) for output in asyncio.run(parts.run(records[a:b])).outputs]
    assert [o for o in together if o.topic == ITEMS_VECTORS] == [o for o in apart if o.topic == ITEMS_VECTORS]
    assert {o.record_id for o in together} == {o.record_id for o in apart}
    assert whole.state == parts.state


@settings(max_examples=60, deadline=None)
@given(changes, st.data())
def test_a_redo_after_torn_state_ends_the_same(steps: list[tuple[str, str | None, bool]], data: st.DataObject) -> None:
    records = [record(n, item, title, in_stock=stock) for n, (item, title, stock) in enumerate(steps)]
    undisturbed, torn = Shop(), Shop()
    expected = asyncio.run(undisturbed.run(records))
    first = asyncio.run(torn.stage(records, torn.state))
    keys = data.draw(st.sets(st.sampled_from(sorted(first.state)))) if first.state else set()
    torn.state.write({key: first.state[key] for key in keys})
    torn.restart()
    again = asyncio.run(torn.run(records))
    assert torn.catalogue() == undisturbed.catalogue()
    assert torn.state == undisturbed.state
    assert [o.record_id for o in again.outputs] == [o.record_id for o in expected.outputs]

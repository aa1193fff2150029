"""Feeds on the topic of items: products of several items, feeds of several products, and what they no longer hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.dead_letters.letters import open_original
from streams.dead_letters.recovery import mended, opened
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError
from streams.models.hotswap.active_encoders import ActiveEncoders, OneEncoder
from streams.stages.catalogue.backfill import backfill
from streams.stages.catalogue.stage import CatalogueRules
from streams.topics import CATALOGUE_ITEMS, DEAD_LETTER, ITEMS_VECTORS, TOPICS, item_topics, with_raw
from tests.support.item_feeds import RECOVERY, Encoder, Feeds, record
from tests.support.profile_harness import CODECS


def product(number: int, *variants: Any, title: str = "Shirt", **fields: Any) -> bytes:
    lines = [one if isinstance(one, dict) else {"id": one, "price": "10.00"} for one in variants]
    return json.dumps({"id": number, "title": title, "variants": lines} | fields).encode()


def rss(*items: tuple[str, str]) -> bytes:
    return f"<rss><channel>{''.join(f'<item><id>{i}</id><title>{t}</title></item>' for i, t in items)}</channel></rss>".encode()


def test_variants_of_a_product_share_its_text_and_its_group() -> None:
    feeds = Feeds()
    feeds.run([record(product(1, 11, 12, 13), b"1", source="shopify-variants")])
    assert {item: value["group_id"] for item, value in feeds.catalogue.items()} == {"11": "1", "12": "1", "13": "1"}
    assert feeds.encoder.texts == ["Shirt"], "encoded once"
    matrix = feeds.matrix()
    assert matrix.has_groups and len(set(matrix.groups.tolist())) == 1


def test_what_a_product_no_longer_has_is_removed_and_its_tombstone_removes_all() -> None:
    feeds = Feeds()
    feeds.run(
        [record(product(1, 11, 12), b"1", source="shopify-variants"), record(product(2, 21), b"2", source="shopify-variants", offset=1)]
    )
    feeds.run([record(product(1, 12, 13), b"1", source="shopify-variants", offset=2)])
    assert set(feeds.catalogue) == {"12", "13", "21"}
    feeds.run([record(None, b"1", offset=3)])
    assert set(feeds.catalogue) == {"21"}
    assert set(feeds.state) == {b"21", b"\x00of\x002"}
    feeds.run(
        [record(product(1, 12), b"1", source="shopify-variants", offset=4), record(None, b"1", offset=5), record(None, b"2", offset=6)]
    )
    assert feeds.catalogue == {} and set(feeds.state) == set()


def test_a_line_that_can_not_be_read_removes_nothing() -> None:
    feeds = Feeds()
    feeds.run([record(product(1, 11, 12), b"1", source="shopify-variants")])
    result = feeds.run([record(product(1, 11, {"id": 12, "price": "1,299.00"}), b"1", source="shopify-variants", offset=1)])
    assert set(feeds.catalogue) == {"11", "12"}, "the second may be the broken one"
    assert result.rejected == 1 and [letter["reason"] for letter in feeds.letters] == ["bad_price"]
    feeds.run([record(product(1, 11), b"1", source="shopify-variants", offset=2)])
    assert set(feeds.catalogue) == {"11"}


def test_a_whole_feed_in_one_record() -> None:
    feeds = Feeds()
    feeds.run([record(rss(("1", "Cup"), ("2", "Mug")), b"feed", source="google-merchant")])
    feeds.run([record(rss(("2", "Mug"), ("3", "Jug"), ("3", "Jar"), ("", "x")), b"feed", source="google-merchant", offset=1)])
    assert set(feeds.catalogue) == {"1", "2", "3"}
    assert sorted(letter["reason"] for letter in feeds.letters) == ["duplicate_item", "missing_item"]
    feeds.run([record(rss(("3", "Jug")), b"feed", source="google-merchant", offset=2)])
    assert set(feeds.catalogue) == {"3"}


def test_header_topic_and_default() -> None:
    plain = CODECS.for_topic(CATALOGUE_ITEMS).encode({"item_id": "p", "title": "Plain"})
    feeds = Feeds(default="google-merchant", by_topic={"feed.shopify": "shopify-products"})
    feeds.run(
        [
            record(rss(("1", "Cup")), b"a"),
            record(product(5, 51), b"b", topic="feed.shopify"),
            record(plain, b"p", source="plain", offset=1),
            record(product(6, 61), b"c", source="shopify-variants", offset=2),
            record(b"{}", b"d", source="nothing", offset=3),
        ]
    )
    assert set(feeds.catalogue) == {"1", "5", "p", "61"}
    assert [letter["reason"] for letter in feeds.letters] == ["unknown_source"]
    with pytest.raises(ConfigurationError, match="VEILSTREAM_ITEMS_SOURCE names segment, which is no source of items; there are google"):
        Feeds(default="segment")


@pytest.mark.parametrize(
    "value", [b"", b"\x00\x00\x00\x00\x01", b"<", b"{", b"null", b"[]", b"[" * 100_000, b"x" * 300_000, b"\xff\xfe\x00"]
)
@pytest.mark.parametrize("source", ["google-merchant", "google-merchant-tsv", "shopify-products", "shopify-products-csv"])
def test_hostile_values(value: bytes, source: str) -> None:
    feeds = Feeds()
    feeds.run([record(value, source=source), record(product(1, 11), b"1", source="shopify-products", offset=1)])
    assert set(feeds.catalogue) == {"1"} and len(feeds.letters) == 1


def test_entities_in_a_record() -> None:
    feeds = Feeds()
    feeds.run(
        [
            record(
                b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><item><id>1</id><title>&x;</title></item></a>',
                source="google-merchant",
            )
        ]
    )
    assert feeds.catalogue == {} and "declares entities" in feeds.letters[0]["detail"]


def test_the_preferred_language_is_encoded() -> None:
    value = CODECS.for_topic(CATALOGUE_ITEMS).encode({"item_id": "1", "title": "Chair", "titles": {"de": "Stuhl", "fr": "Chaise"}})
    for language, wanted in (("de", "Stuhl"), ("it", "Chair"), (None, "Chair")):
        feeds = Feeds(rules=CatalogueRules(language=language))
        feeds.run([record(value, b"1")])
        assert feeds.encoder.texts == [wanted]


def test_a_sale_is_decided_by_the_time_of_the_record() -> None:
    item = "<id>1</id><title>t</title><price>16 EUR</price><sale_price>8 EUR</sale_price>"
    dates = "<sale_price_effective_date>2026-11-27T05:00Z/2026-11-27T06:00Z</sale_price_effective_date>"
    value = f"<a><item>{item}{dates}</item></a>".encode()
    at = 1_795_755_600_000
    bands = []
    for moment in (at - 1, at, at + 3_600_000, at + 3_600_001):
        feeds = Feeds()
        feeds.run([record(value, source="google-merchant", at_ms=moment)])
        bands.append(feeds.catalogue["1"]["price_band"])
    assert bands == [16, 12, 12, 16]


def test_a_new_model_gets_the_items_and_knows_nothing_of_records() -> None:
    feeds = Feeds()
    feeds.run([record(product(1, 11, 12), b"1", source="shopify-variants")])
    encoder = Encoder()
    encoder.version = "v2"
    import asyncio

    async def fill() -> Any:
        with OneEncoder(encoder).use() as active:
            assert isinstance(active, ActiveEncoders)
            return await backfill(0, list(feeds.state.items()), active, CODECS.for_topic(ITEMS_VECTORS), 0)

    result, is_done, textless = asyncio.run(fill())
    values = [CODECS.for_topic(ITEMS_VECTORS).decode(output.value) for output in result.outputs]
    assert {(value["item_id"], value["group_id"]) for value in values} == {("11", "1"), ("12", "1")} and is_done and textless == 0


def test_recover_publishes_a_feeds_record_as_it_was() -> None:
    feeds = Feeds()
    value = product(1, {"id": 11, "price": "1,299.00"})
    feeds.run([record(value, b"1", source="shopify-variants")])
    (letter,) = feeds.letters
    again = mended(opened(RECOVERY, letter), letter, {}, CODECS, "")
    assert (again.topic, again.key, again.value) == (CATALOGUE_ITEMS, b"1", value)
    assert open_original(RECOVERY, letter["sealed_original"]).value == value
    assert ("veilstream-source", b"shopify-variants") in again.headers


@pytest.mark.parametrize("text", ["feed", "feed=", "behaviour.raw=google-merchant", "items.vectors=google-merchant"])
def test_topics_of_items_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_ITEMS_SOURCE_TOPICS"):
        item_topics(text)


def test_topics_of_items() -> None:
    (spec,) = set(with_raw([], item_topics("feed.google=google-merchant,catalogue.items=shopify-products"))) - set(TOPICS)
    assert (spec.name, spec.like, spec.cleanup, spec.raw_identity) == ("feed.google", CATALOGUE_ITEMS, "compact", False)
    with pytest.raises(ConfigurationError, match="both can't hold events and items"):
        with_raw(["both"], ["both"])


steps = st.lists(
    st.tuples(st.sampled_from([b"p", b"q"]), st.none() | st.lists(st.integers(0, 4), max_size=4), st.booleans()), min_size=1, max_size=10
)


def outcome(
    records: Sequence[MemoryRecord], sizes: Sequence[int], redone: int
) -> tuple[list[tuple[bytes, bytes | None, bytes]], dict[bytes, bytes]]:
    """Outputs and state, with batches of these sizes; the batch of number ``redone`` is computed twice, as after a crash before its state
    was written."""
    feeds = Feeds()
    done = number = 0
    written: dict[bytes, Any] = {}
    while done < len(records):
        batch = records[done : done + sizes[number % len(sizes)]]
        if number == redone:
            written |= {one.record_id: one for one in feeds.compute(batch).outputs}
        result = feeds.run(batch)
        for one in result.outputs:
            assert one.record_id not in written or number == redone, "an output has an id of its own"
            written.setdefault(one.record_id, one)
        done += len(batch)
        number += 1
    return [(one.key, one.value, one.record_id) for one in written.values() if one.topic != DEAD_LETTER], dict(feeds.state)


@settings(max_examples=60, deadline=None)
@given(steps, st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 5))
def test_batches_and_a_crash_change_nothing(changes: list[tuple[bytes, list[int] | None, bool]], sizes: list[int], redone: int) -> None:
    records = []
    wanted: dict[bytes, set[str]] = {}
    for offset, (key, variants, is_broken) in enumerate(changes):
        if variants is None:
            records.append(record(None, key, offset=offset))
            wanted.pop(key, None)
            continue
        lines: list[Any] = [f"{key.decode()}{number}" for number in dict.fromkeys(variants)]
        now = set(lines)
        if is_broken:
            lines.append({"id": "broken", "price": "1,2,3"})
        records.append(record(product(1, *lines, title="Shirt"), key, source="shopify-variants", offset=offset))
        if not lines:
            now = set()  # a product without variants names none: its item has no id, and is refused
        wanted[key] = (wanted.get(key, set()) | now) if is_broken or not lines else now
    outputs, state = outcome(records, sizes, redone)
    assert (outputs, state) == outcome(records, [1], -1)
    alive: set[str] = set()
    for output_key, value, _ in outputs:
        item = output_key.decode().partition("/")[2]
        alive = alive | {item} if value is not None else alive - {item}
    assert alive == set().union(*wanted.values()) if wanted else not alive

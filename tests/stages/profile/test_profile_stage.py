from __future__ import annotations

import asyncio
import dataclasses
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.hashing import HashingEncoder
from streams.engine.records import MemoryRecord
from streams.errors import ConfigurationError
from streams.models.hotswap.serving_model import OneModel
from streams.ranking.slate.rules import SlateRules
from streams.stages.profile.profile import load_profile
from streams.topics import DEAD_LETTER, RECOMMENDATIONS
from tests.support.profile_harness import (
    CODECS,
    DIMENSION,
    TITLES,
    VERSION,
    ProfileHarness,
    catalogue_records,
    event,
    event_records,
    of_topic,
    popularity,
    recommendations,
    vector_record,
)
from tests.support.rules import profile_rules

ITEMS = sorted(TITLES)
TYPES = ("view", "view", "click", "cart", "purchase", "return", "impression", "dismiss", "search")
QUERIES = ("red box", "tea set", "garden", "钟", "unknown thing")


@st.composite
def histories(draw: st.DrawFn, most: int = 25) -> list[dict[str, Any]]:
    """Events of a few shoppers, mostly forward in time, with late ones, far-off ones and repeated ids."""
    count = draw(st.integers(1, most))
    events, at_s = [], 0
    for number in range(count):
        at_s += draw(st.sampled_from((0, 0, 30, 60, 600, 90_000)))
        kind = draw(st.sampled_from(TYPES))
        again = draw(st.integers(0, 9)) == 0
        events.append(
            event(
                max(0, number - 1) if again else number,
                draw(st.sampled_from("abc")),
                kind,
                None if kind == "search" else draw(st.sampled_from([*ITEMS[:12], "unknown"])),
                at_s=at_s - draw(st.sampled_from((0, 0, 0, 60, 40_000))),
                query=draw(st.sampled_from(QUERIES)) if kind == "search" else None,
            )
        )
    return events


SLATES = st.sampled_from([SlateRules(), SlateRules(new_share=0.4, diversity_weight=0.2, dismissal_weight=0.5)])


def split(records: list[MemoryRecord], cuts: list[int]) -> list[list[MemoryRecord]]:
    bounds = [0, *sorted({cut % len(records) for cut in cuts} - {0}), len(records)]
    return [records[start:end] for start, end in pairwise(bounds)]


async def run_all(harness: ProfileHarness, batches: list[list[MemoryRecord]]) -> list[Any]:
    return [output for batch in batches for output in (await harness.run(batch)).outputs]


@settings(max_examples=30, deadline=None)
@given(histories(), st.lists(st.integers(0, 100), max_size=5), SLATES)
@pytest.mark.slow
def test_batch_boundaries_do_not_matter(events: list[dict[str, Any]], cuts: list[int], slate: SlateRules) -> None:
    records = event_records(events)
    rules = dataclasses.replace(ProfileHarness().rules, slate=slate)
    whole, parts = ProfileHarness(rules), ProfileHarness(rules)
    together = asyncio.run(run_all(whole, [records]))
    apart = asyncio.run(run_all(parts, split(records, cuts)))
    assert of_topic(together, RECOMMENDATIONS) == of_topic(apart, RECOMMENDATIONS)
    assert popularity(together) == popularity(apart)
    assert whole.state == parts.state


@settings(max_examples=30, deadline=None)
@given(histories(), st.data(), SLATES)
@pytest.mark.slow
def test_redo_after_torn_state_says_the_same_and_counts_nothing_twice(
    events: list[dict[str, Any]], data: st.DataObject, slate: SlateRules
) -> None:
    # Without the prior and without places for new items, since what was published changes them: a redo sees newer counts of events and
    # exposures.
    slate = dataclasses.replace(slate, dismissal_weight=0.0, new_share=0.0)
    rules = dataclasses.replace(ProfileHarness().rules, popularity_weight=0.0, slate=slate)
    records = event_records(events)
    undisturbed, harness = ProfileHarness(rules), ProfileHarness(rules)
    expected = asyncio.run(run_all(undisturbed, [records]))

    first = asyncio.run(harness.stage(records, harness.state))
    # The changelog is written in order, so what a crash leaves is a beginning.
    written = set(list(first.state)[: data.draw(st.integers(0, len(first.state)))])
    harness.state.write({key: first.state[key] for key in written})
    harness.publish(first.outputs)  # outputs come before state, and a take-over reads them back
    harness.restart()
    cuts = data.draw(st.lists(st.integers(0, 100), max_size=3))
    again = asyncio.run(run_all(harness, split(records, cuts)))

    assert harness.state == undisturbed.state
    assert popularity(again) == {}, "everything was published before"
    for key in first.state:
        issued, repeated = ([o for o in of_topic(outputs, RECOMMENDATIONS) if o.key == key] for outputs in (expected, again))
        # Of what is in the state, the last recommendations are said again; of what is not, all are made again.
        assert repeated == (issued[-rules.made_size :] if key in written else issued)


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 60))
def test_whatever_is_recommended_may_be(events: list[dict[str, Any]], reasons_max: int) -> None:
    harness = ProfileHarness(dataclasses.replace(ProfileHarness().rules, reasons_max=reasons_max))
    offsets = {record.offset: e for record, e in zip(event_records(events), events, strict=True)}
    seen: dict[tuple[str, str], int] = {}
    for offset, e in offsets.items():
        if e["event_type"] != "impression":
            seen.setdefault((e["pseudonym"], e["event_id"]), offset)
    counted = set(seen.values())
    for found in recommendations(asyncio.run(run_all(harness, [event_records(events)]))):
        trigger = offsets[found["source_offset"]]
        assert (found["trigger_event_id"], found["trigger_type"]) == (trigger["event_id"], trigger["event_type"])
        assert found["policy"] == ("search" if trigger["event_type"] == "search" else "behaviour")
        assert (found["pseudonym"], found["sealed_id"], found["created_at"]) == (
            trigger["pseudonym"],
            trigger["sealed_id"],
            trigger["occurred_at"],
        )
        assert 1 <= len(found["items"]) <= harness.rules.top_k
        assert [item["rank"] for item in found["items"]] == list(range(len(found["items"])))
        keys = [(-item["score"], item["item_id"]) for item in found["items"]]
        assert keys == sorted(keys)
        bought = {
            e["item_id"]
            for offset, e in offsets.items()
            if offset <= found["source_offset"]
            and e["pseudonym"] == found["pseudonym"]
            and e["event_type"] == "purchase"
            and e["occurred_at"] > found["created_at"] - harness.rules.bought_cooldown_ms
            and offset in counted
        }
        for item in found["items"]:
            assert item["item_id"] in TITLES
            assert item["item_id"] not in harness.blocked | {trigger["item_id"]}
            assert item["score"] > found["threshold"] == harness.rules.threshold
            assert item["score"] == item["cosine"] + item["prior"]
            assert len(item["reasons"]) <= reasons_max
            shares = [reason["share"] for reason in item["reasons"]]
            assert shares == sorted(shares, reverse=True)
            if reasons_max == 60:
                assert sum(shares) == pytest.approx(item["score"], abs=2e-6)
        assert not bought & {item["item_id"] for item in found["items"]}


async def test_nothing_is_recommended_twice_within_the_cooldown() -> None:
    harness = ProfileHarness()
    events = [event(n, "a", "view", "i001", at_s=60 * n) for n in range(8)]
    found = recommendations((await harness.run(event_records(events))).outputs)
    shown = [item["item_id"] for one in found for item in one["items"]]
    assert len(found) >= 2
    assert len(shown) == len(set(shown))
    later = event_records([event(99, "a", "view", "i001", at_s=60 * 8 + 3600)], first=8)
    again = recommendations((await harness.run(later)).outputs)
    assert {item["item_id"] for item in again[0]["items"]} & set(shown)


async def test_a_search_is_answered_without_any_history() -> None:
    harness = ProfileHarness()
    found = recommendations((await harness.run(event_records([event(0, "new", "search", query="red lunch box")]))).outputs)
    assert [one["policy"] for one in found] == ["search"]
    assert all({"red", "lunch", "box"} & set(TITLES[item["item_id"]].split()) for item in found[0]["items"])
    assert found[0]["items"][0]["reasons"][0]["kind"] == "query"


async def test_searches_are_not_debounced_but_other_behaviour_is() -> None:
    harness = ProfileHarness()
    events = [
        event(0, "a", "view", "i001", at_s=0),
        event(1, "a", "view", "i002", at_s=0),
        event(2, "a", "search", query="tea", at_s=0),
        event(3, "a", "search", query="clock", at_s=0),
        event(4, "a", "click", "i003", at_s=59.999),
        event(5, "a", "cart", "i003", at_s=60),
    ]
    found = recommendations((await harness.run(event_records(events))).outputs)
    assert [one["source_offset"] for one in found] == [0, 2, 3, 5]


async def test_query_texts_of_a_batch_are_encoded_once_and_together() -> None:
    harness = ProfileHarness()
    calls: list[int] = []
    original = harness.encoder.encode_many

    async def counting(texts: Any) -> Any:
        calls.append(len(texts))
        return await original(texts)

    harness.encoder.encode_many = counting  # type: ignore[method-assign]
    searches = [event(n, user, "search", query=query) for n, (user, query) in enumerate([("a", "tea"), ("b", "clock"), ("c", "tea")])]
    await harness.run(event_records(searches))
    assert calls == [2]
    await harness.run(event_records([event(9, "d", "search", query="clock")], first=3))
    assert calls == [2]


async def test_history_queries_are_encoded_only_for_those_who_trigger() -> None:
    harness = ProfileHarness()
    await harness.run(event_records([event(0, "a", "search", query="tea"), event(1, "b", "search", query="garden sign")]))
    harness.restart()
    harness.texts.clear()
    await harness.run(event_records([event(2, "a", "view", "i001"), event(3, "b", "dismiss", "i002")], first=2))
    assert harness.texts == ["tea"]


async def test_popularity_goes_to_the_partition_of_its_source_and_decays() -> None:
    half_life_s = 100
    harness = ProfileHarness(
        profile_rules(popularity_breadth=1, popularity_half_life_ms=half_life_s * 1000, popularity_weights=(1.0,) * 8, recommend=False)
    )
    events = [event(0, "a", "view", "i001"), event(1, "b", "cart", "i001", at_s=half_life_s), event(2, "a", "view", "i002")]
    outputs = (await harness.run(event_records(events, partition=3, first=10))).outputs
    assert {output.partition for output in outputs} == {3}
    assert {key: value[0] for key, value in popularity(outputs).items()} == {"i001": 1.5, "i002": 1.0}
    assert {key: value[2] for key, value in popularity(outputs).items()} == {"i001": 11, "i002": 12}


async def test_nobodys_events_count_for_popularity_and_for_nothing_else() -> None:
    harness = ProfileHarness()
    crowd = [event(n, "a", "purchase", "i001") | {"pseudonym": f"nobody.{n:032x}", "sealed_id": b""} for n in range(3)]
    result = await harness.run(event_records([*crowd, event(3, "b", "view", "i002")]))
    assert popularity(result.outputs)["i001"][0] == pytest.approx(3.0)
    assert [output.key for output in result.outputs if output.topic == RECOMMENDATIONS] in ([], [b"k1.b"])
    assert all(b"nobody" not in key for key in result.state)
    again = await harness.run(event_records([event(4, "c", "wishlist", "i001")], first=4))
    assert popularity(again.outputs)["i001"][0] == pytest.approx(3.2)


async def test_an_event_that_comes_again_under_another_offset_is_not_counted() -> None:
    harness = ProfileHarness()
    first = event(0, "a", "purchase", "i001")
    once = await harness.run(event_records([first]))
    state = dict(harness.state)
    twice = await harness.run(event_records([first], first=1))
    assert twice.outputs == [] and twice.state == {} and harness.state == state
    assert popularity(once.outputs)["i001"][0] == 1.0


async def test_impressions_change_nothing() -> None:
    harness = ProfileHarness()
    result = await harness.run(event_records([event(0, "a", "impression", "i001")]))
    assert (result.outputs, result.state, result.rejected) == ([], {}, 0)


async def test_nothing_is_recommended_while_the_rules_say_so_but_all_is_learnt() -> None:
    learning, usual = ProfileHarness(profile_rules(recommend=False)), ProfileHarness(profile_rules())
    events = event_records([event(0, "a", "purchase", "i001"), event(1, "a", "search", query="tea")])
    outputs = (await learning.run(events)).outputs
    assert of_topic(outputs, RECOMMENDATIONS) == []
    assert popularity(outputs) == popularity((await usual.run(events)).outputs)
    assert load_profile(learning.state[b"k1.a"]).items == load_profile(usual.state[b"k1.a"]).items


async def test_unknown_items_wait_in_the_history_until_they_are_known() -> None:
    harness = ProfileHarness()
    await harness.run(event_records([event(0, "a", "purchase", "later")]))
    vector = HashingEncoder(DIMENSION, VERSION).encode(["red lunch box"])[0]
    harness.matrix.apply([vector_record("later", vector)])
    found = recommendations((await harness.run(event_records([event(1, "a", "view", "unknown", at_s=600)], first=1))).outputs)
    assert found[0]["items"][0]["reasons"][0] == {
        "kind": "item",
        "item_id": "later",
        "event_type": "purchase",
        "share": pytest.approx(1, abs=1),
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pseudonym": "k1.other"}, "key_mismatch"),
        ({"event_type": "stare"}, "unknown_event_type"),
        ({"event_id": "0" * 31 + "G"}, "undecodable"),
        ({"item_id": None}, "missing_item"),
        ({"event_type": "search", "query": ""}, "missing_query"),
    ],
)
async def test_what_ingest_would_not_write_is_dead_lettered_and_the_rest_goes_on(change: dict[str, Any], reason: str) -> None:
    harness = ProfileHarness()
    good = event_records([event(0, "a", "purchase", "i001"), event(1, "a", "view", "i002"), event(2, "b", "purchase", "i003")])
    broken = CODECS.for_topic("behaviour.clean").encode(event(1, "a", "view", "i002") | change)
    result = await harness.run([good[0], good[1]._replace(value=broken), good[2]])
    dead = of_topic(result.outputs, DEAD_LETTER)
    assert [CODECS.for_topic(DEAD_LETTER).decode(letter.value)["reason"] for letter in dead] == [reason]
    assert result.rejected == 1
    assert set(popularity(result.outputs)) == {"i001", "i003"}


async def test_bytes_that_are_no_event_are_dead_lettered() -> None:
    harness = ProfileHarness()
    for value in (None, b"", b"\x00\x00", b"garbage", event_records([event(0, "a", "view", "i001")])[0].value[:-3]):
        result = await harness.run([event_records([event(0, "a", "view", "i001")])[0]._replace(value=value)])
        assert [output.topic for output in result.outputs] == [DEAD_LETTER] and result.rejected == 1


async def test_a_failing_encoder_leaves_no_trace() -> None:
    harness = ProfileHarness()
    await harness.run(event_records([event(0, "a", "purchase", "i001")]))
    state = dict(harness.state)
    records = event_records([event(1, "b", "purchase", "i001"), event(2, "a", "search", query="tea")], first=1)
    original = harness.encoder.encode_many

    async def failing(texts: Any) -> Any:
        raise RuntimeError("out of memory")

    harness.encoder.encode_many = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await harness.run(records)
    assert harness.state == state
    harness.encoder.encode_many = original  # type: ignore[method-assign]
    assert popularity((await harness.run(records)).outputs)["i001"][0] == 2.0


async def test_a_state_of_another_version_stops_the_stage() -> None:
    harness = ProfileHarness()
    for damaged in (b"\xff1", b"", b"\x01\x93"):
        harness.state[b"k1.a"] = damaged
        with pytest.raises(ConfigurationError, match="state"):
            await harness.run(event_records([event(0, "a", "view", "i001")]))


def test_encoder_and_matrix_must_be_of_one_model() -> None:
    harness = ProfileHarness()
    with pytest.raises(ConfigurationError, match="one model"):
        OneModel(harness.encoder, type(harness.matrix)(CODECS.for_topic("items.vectors"), "other", DIMENSION), harness.rules)


@settings(max_examples=20, deadline=None)
@given(histories(), st.integers(0, 10_000))
def test_rows_of_the_matrix_do_not_matter(events: list[dict[str, Any]], seed: int) -> None:
    """A worker that met the items in another order recommends the same."""
    usual, shuffled = ProfileHarness(), ProfileHarness()
    records = random.Random(seed).sample(catalogue_records(), len(TITLES))
    shuffled.matrix.apply([record._replace(value=None) for record in records])
    shuffled.matrix.apply(records)
    batch = event_records(events)
    assert asyncio.run(usual.stage(batch, usual.state)) == asyncio.run(shuffled.stage(batch, shuffled.state))


async def test_what_was_shown_and_what_was_not_is_told_for_the_metrics() -> None:
    shop = ProfileHarness()
    batch = [
        event(1, "anna", "view", "i003"),
        event(2, "anna", "view", "i004"),
        event(3, "ben", "view", "i005"),
        event(4, "ben", "cart", "i006"),
    ]
    found = await shop.run(event_records(batch))
    made = recommendations(found.outputs)
    shown = found.shown
    assert shown is not None and len(made) == 2
    assert [list(items) for items in shown.lists] == [[item["item_id"] for item in one["items"]] for one in made]
    assert shown.best == pytest.approx([one["items"][0]["score"] for one in made], abs=1e-6)
    assert shown.thresholds == {one["model_version"]: one["threshold"] for one in made}
    assert shown.not_made == {"debounced": 2}
    again = await shop.run(event_records(batch))
    assert again.shown is None, "what comes again is not told again"

"""Shoppers who allow no personalization: a list of their own that nothing is kept of, and nothing left of what was there before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.consent import GATED, PERSONALIZATION, TRAINING
from streams.serde.records import NOBODY
from streams.stages.profile.profile import load_profile
from streams.stages.profile.together_counter import is_profile
from streams.stages.profile.withdrawal import erased_until_key
from streams.topics import DEAD_LETTER, ITEMS_POPULARITY, ITEMS_TOGETHER, PROFILE_LINKS
from tests.support.profile_harness import ProfileHarness, consent, event, event_records, identify, link_records, of_topic, recommendations


def erase(number: int, user: str, item_id: str | None = None) -> dict[str, Any]:
    return event(number, user, "erase", item_id) | {"sealed_id": b""}


def asks(number: int, kind: str = "view", query: str | None = None) -> dict[str, Any]:
    """What ingest passes on of a shopper who refuses."""
    bare = event(number, "x", kind, query=query)
    return bare | {"pseudonym": NOBODY + bare["event_id"], "flags": ["unprofiled"], "refused": [PERSONALIZATION, TRAINING]}


async def test_who_refuses_gets_what_is_popular_and_leaves_no_trace() -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([event(n, f"u{n}", "purchase", "i003") for n in range(5)]))
    shop.publish(found.outputs)
    before = dict(shop.state)
    found = await shop.run(event_records([asks(10), asks(11)], first=5))
    first, second = recommendations(found.outputs)
    assert first["items"][0]["item_id"] == "i003"
    assert [item["item_id"] for item in first["items"]] == [item["item_id"] for item in second["items"]]
    assert {reason["kind"] for item in first["items"] for reason in item["reasons"]} <= {"popularity"}
    assert (first["profiled"], first["trainable"], first["policy"]) == (False, False, "behaviour")
    assert first["pseudonym"] != second["pseudonym"]
    assert shop.state == before and found.state == {}
    assert {output.topic for output in found.outputs} == {"recommendations"}
    assert [output.counts for output in found.outputs] == [(("behaviour", first["model_version"], "false"),)] * 2


async def test_a_search_is_answered_by_its_words_alone() -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([event(1, "anna", "search", query="garden sign"), asks(2, "search", "garden sign")]))
    hers, anybodys = recommendations(found.outputs)
    assert (hers["profiled"], hers["trainable"], anybodys["profiled"]) == (True, True, False)
    assert [item["item_id"] for item in hers["items"]] == [item["item_id"] for item in anybodys["items"]]
    assert anybodys["policy"] == "search" and len(found.state) == 1


async def test_nothing_of_a_profile_remains_after_a_withdrawal() -> None:
    shop = ProfileHarness()
    await shop.run(event_records([event(1, "anna", "view", "i003"), event(2, "anna", "search", query="red bag")]))
    found = await shop.run(event_records([consent(3, "anna", *GATED)], first=2))
    assert recommendations(found.outputs) == []
    profile = load_profile(shop.state[b"k1.anna"])
    assert not (profile.items or profile.queries or profile.recommended or profile.issued or profile.event_ids or profile.counted)
    assert b"i003" not in shop.state[b"k1.anna"] and b"red bag" not in shop.state[b"k1.anna"]


async def test_an_event_that_ingest_passed_on_too_early_is_held_back() -> None:
    shop = ProfileHarness()
    batch = [
        event(1, "anna", "view", "i003"),
        consent(2, "anna", *GATED),
        event(3, "anna", "purchase", "i004"),
        event(4, "ben", "view", "i005"),
    ]
    found = await shop.run(event_records(batch))
    assert [r["pseudonym"] for r in recommendations(found.outputs)] == ["k1.anna", "k1.ben"]
    assert found.dropped == {"no_consent": 1}
    assert b"i004" not in b"".join(shop.state.values())
    assert all(b"i004" not in output.value for output in found.outputs if output.value)
    later = await shop.run(event_records([event(5, "anna", "cart", "i006")], first=4))
    assert later.outputs == [] and later.dropped == {"no_consent": 1}


async def test_who_agrees_again_begins_anew_and_counts_no_more() -> None:
    shop = ProfileHarness()
    batch = [
        event(1, "anna", "purchase", "i003"),
        consent(2, "anna", *GATED),
        consent(3, "anna"),
        event(4, "anna", "purchase", "i003", at_s=90),
    ]
    found = await shop.run(event_records(batch))
    assert len(of_topic(found.outputs, ITEMS_POPULARITY)) == 1
    assert recommendations(found.outputs)[-1]["profiled"]
    profile = load_profile(shop.state[b"k1.anna"])
    assert list(profile.items) == ["i003"] and profile.items["i003"].time_ms == batch[3]["occurred_at"]
    assert not of_topic(found.outputs, ITEMS_TOGETHER)


async def test_without_training_there_are_lists_and_nothing_to_learn_from() -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([consent(1, "anna", TRAINING), event(2, "anna", "view", "i003") | {"refused": [TRAINING]}]))
    (made,) = recommendations(found.outputs)
    assert (made["profiled"], made["trainable"]) == (True, False)


async def test_a_browser_s_history_does_not_come_to_a_user_who_refuses() -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([event(1, "b", "view", "i003"), identify(2, "b", "anna"), consent(3, "anna", *GATED)]))
    links = link_records(found.outputs)
    assert len(links) == 1
    joined = await shop.run(links)
    assert joined.state == {} and joined.dropped == {"no_consent": 1}
    assert load_profile(shop.state[b"k1.anna"]).linked == []
    assert not of_topic(joined.outputs, PROFILE_LINKS)


async def test_an_erased_shopper_is_in_no_state() -> None:
    shop = ProfileHarness()
    await shop.run(event_records([event(1, "anna", "view", "i003"), event(2, "ben", "view", "i003")]))
    found = await shop.run(event_records([event(3, "anna", "view", "i004"), erase(4, "anna")], first=2))
    assert found.state[b"k1.anna"] is None and [key for key in shop.state if is_profile(key)] == [b"k1.ben"]
    later = await shop.run(event_records([event(5, "anna", "view", "i006")], first=4))
    assert list(load_profile(shop.state[b"k1.anna"]).items) == ["i006"] and recommendations(later.outputs)


async def test_a_request_about_somebody_who_was_never_seen_begins_no_profile() -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([erase(1, "anna", "i003"), erase(2, "ben")]))
    assert not any(map(is_profile, shop.state)) and not found.outputs


async def test_an_erased_item_is_nowhere_in_the_profile() -> None:
    shop = ProfileHarness()
    events = [
        event(n, "anna", kind, item, at_s=90 * n)
        for n, (kind, item) in enumerate([("view", "i003"), ("purchase", "i004"), ("view", "i005")])
    ]
    await shop.run(event_records(events))
    assert b"i004" in shop.state[b"k1.anna"]
    await shop.run(event_records([erase(9, "anna", "i004")], first=3))
    assert b"i004" not in shop.state[b"k1.anna"]
    assert list(load_profile(shop.state[b"k1.anna"]).items) == ["i003", "i005"]


@pytest.mark.parametrize("wrong", [consent(1, "anna") | {"pseudonym": "nobody.1"}, asks(1) | {"sealed_id": b""}, asks(1, "search", None)])
async def test_what_ingest_does_not_write_is_a_dead_letter(wrong: dict[str, Any]) -> None:
    shop = ProfileHarness()
    found = await shop.run(event_records([wrong, event(2, "ben", "view", "i005")]))
    assert len(of_topic(found.outputs, DEAD_LETTER)) == 1 and len(recommendations(found.outputs)) == 1


steps = st.sampled_from(["view", "purchase", "search", "refuse", "agree", "ask", "erase", "erase item"])


@given(st.lists(steps, max_size=14), st.data())
@pytest.mark.slow
async def test_batches_and_repeats_do_not_matter(kinds: list[str], data: st.DataObject) -> None:
    made = []
    for number, kind in enumerate(kinds):
        made.append(
            {
                "refuse": lambda n: consent(n, "anna", *GATED),
                "agree": lambda n: consent(n, "anna"),
                "ask": asks,
                "erase": lambda n: erase(n, "anna"),
                "erase item": lambda n: erase(n, "anna", f"i{n % 5:03d}"),
                "search": lambda n: event(n, "anna", "search", query="red bag", at_s=n),
            }.get(kind, lambda n, kind=kind: event(n, "anna", kind, f"i{n % 5:03d}", at_s=90 * n))(number)
        )
    records = event_records(made)
    whole = ProfileHarness()
    if records:
        await whole.run(records)
    parts = ProfileHarness()
    done = 0
    while done < len(records):
        size = data.draw(st.integers(1, len(records) - done))
        batch = records[done : done + size]
        for _ in range(data.draw(st.integers(0, 2))):  # written, wholly or in part, and not committed
            found = await parts.stage(batch, parts.state)
            written = data.draw(st.integers(0, len(found.state)))
            parts.state.write(dict(list(found.state.items())[:written]))
        await parts.run(batch)
        done += size
    assert without_mark(parts) == without_mark(whole)


def without_mark(shop: ProfileHarness) -> dict[bytes, bytes]:
    """The state. Who came back within the batch of her erasure knows what was applied: no mark is needed for her."""
    return {key: value for key, value in shop.state.items() if key != erased_until_key(0)}

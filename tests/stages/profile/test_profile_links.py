"""A browser's history becomes a user's: once, whatever the order, without a trace in the browser's profile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import RecordError
from streams.ranking.rules import EVENT_TYPES, ProfileRules
from streams.serde.records import CleanEvent, ProfileLink
from streams.stages.profile.history import apply_event, merge, strength, unwanted
from streams.stages.profile.links import Whole, hand_over, join, whole_of
from streams.stages.profile.profile import Profile, dump_profile, load_profile
from streams.stages.profile.triggers import request_of
from streams.topics import DEAD_LETTER, ITEMS_POPULARITY, PROFILE_LINKS
from tests.support.profile_harness import (
    CODECS,
    START_MS,
    ProfileHarness,
    event,
    event_records,
    identify,
    link_records,
    of_topic,
    recommendations,
)
from tests.support.rules import profile_rules

RULES = profile_rules(half_life_ms=1_000_000.0, history_size=6, queries_max=2, bought_size=3)
ITEMS = [f"i{n}" for n in range(5)]
ENTRY = {"kind": "item", "ref": "i1", "weight": 1.0, "last_at": 1, "event_type": "view"}
Did = tuple[str, str, int]


@cache
def did() -> st.SearchStrategy[list[Did]]:
    """Type, item or words, second."""
    kinds = st.sampled_from([kind for kind in EVENT_TYPES if kind != "impression"])
    return st.lists(st.tuples(kinds, st.sampled_from(ITEMS), st.integers(0, 3000)), max_size=12)


def events_of(things: Sequence[Did], user: str, first: int = 0) -> list[dict[str, Any]]:
    return [
        event(first + n, user, kind, None if kind == "search" else ref, at_s=at_s, query=ref if kind == "search" else None)
        for n, (kind, ref, at_s) in enumerate(things)
    ]


def applied(things: Sequence[Did], user: str, first: int = 0, rules: ProfileRules = RULES) -> Profile:
    profile = Profile()
    for offset, one in enumerate(events_of(things, user, first)):
        apply_event(profile, as_clean(one), offset, rules)
    return profile


def as_clean(one: dict[str, Any]) -> CleanEvent:
    return one  # type: ignore[return-value]


def link_of(things: Sequence[Did], number: int, rules: ProfileRules = RULES) -> ProfileLink | None:
    """What a browser that did this hands over."""
    browser = applied(things, f"b{number}", 1000 * number, rules)
    handed = hand_over(browser, as_clean(identify(10**6 + number, f"b{number}", "u", at_s=5000)), 10**6, rules)
    assert handed is not None
    return handed.link


def links_of(browsers: Sequence[Sequence[Did]], rules: ProfileRules = RULES) -> list[ProfileLink]:
    return [link for number, things in enumerate(browsers, 1) if (link := link_of(things, number, rules)) is not None]


# --- the merge


@given(did(), st.lists(did(), max_size=4), st.data())
def test_the_result_depends_on_no_order_and_on_no_repeat(own: list[Did], browsers: list[list[Did]], data: st.DataObject) -> None:
    """Links in any order, some of them several times, anywhere between the user's own events."""
    links = links_of(browsers)
    expected = applied(own, "u")
    for link in links:
        join(expected, link, RULES)
    steps = data.draw(st.permutations([*links, *data.draw(st.lists(st.sampled_from(links), max_size=4) if links else st.just([]))]))
    places = sorted(data.draw(st.lists(st.integers(0, len(own)), min_size=len(steps), max_size=len(steps))))
    found = Profile()
    for offset, one in enumerate([*events_of(own, "u"), None]):
        for link, place in zip(steps, places, strict=True):
            if place == offset:
                join(found, link, RULES)
                found = load_profile(dump_profile(found))
        if one is not None:
            apply_event(found, as_clean(one), offset, RULES)
    assert dump_profile(found) == dump_profile(expected)


@given(st.lists(did(), min_size=1, max_size=4), did())
def test_a_link_that_comes_again_changes_nothing(browsers: list[list[Did]], own: list[Did]) -> None:
    profile, links = applied(own, "u"), links_of(browsers)
    for link in links:
        join(profile, link, RULES)
    before = dump_profile(profile)
    assert not any(join(profile, link, RULES) for link in links) and dump_profile(profile) == before


@given(did(), did())
def test_one_that_comes_again_with_other_weights_counts_once(first: list[Did], second: list[Did]) -> None:
    """After a loss of state and a change of rules a browser's history may be made again, and differ."""
    found = [link for link in (link_of(first, 1), link_of(second, 1)) if link is not None]
    results = []
    for order in permutations(found):
        profile = Profile()
        for link in order:
            join(profile, link, RULES)
        assert len({(one.link, one.is_query, one.ref) for one in profile.linked}) == len(profile.linked)
        results.append(dump_profile(profile))
    assert len(set(results)) <= 1


@given(did(), st.lists(did(), max_size=3))
def test_what_is_seen_is_bounded_and_no_weaker_than_its_parts(own: list[Did], browsers: list[list[Did]]) -> None:
    profile = applied(own, "u")
    for link in links_of(browsers):
        join(profile, link, RULES)
    seen = whole_of(profile, RULES)
    assert len(seen.items) + len(seen.queries) <= RULES.history_size and len(seen.queries) <= RULES.queries_max
    assert len(profile.linked) <= RULES.history_size and len(profile.linked_bought) <= RULES.bought_size
    for entry in [*seen.items.values(), *seen.queries.values()]:
        assert entry.weight <= RULES.weight_cap
    for item, time_ms in profile.bought.items():
        assert seen.bought[item] >= time_ms


@given(did())
def test_without_a_link_nothing_changes(own: list[Did]) -> None:
    profile = applied(own, "u")
    assert whole_of(profile, RULES) is profile
    assert dump_profile(load_profile(dump_profile(profile))) == dump_profile(profile)


@given(did())
def test_a_profile_from_before_there_were_links_is_read(own: list[Did]) -> None:
    profile = applied(own, "u")
    fields = msgspec.msgpack.decode(dump_profile(profile)[1:])
    assert len(fields) == len(Profile.__struct_fields__)
    assert load_profile(dump_profile(profile)[:1] + msgspec.msgpack.encode(fields[:-2])) == profile


@given(did())
def test_a_user_who_did_nothing_gets_what_the_browser_had(things: list[Did]) -> None:
    browser, profile = applied(things, "b1"), Profile()
    for link in links_of([things]):
        join(profile, link, RULES)
    seen = whole_of(profile, RULES)
    assert (seen.items, seen.queries) == (browser.items, browser.queries)
    assert seen.bought == browser.bought
    assert set(unwanted(seen, None, START_MS, RULES)) == set(unwanted(browser, None, START_MS, RULES))


def test_one_item_seen_by_both_is_one_element() -> None:
    """As if one shopper had done both, the later on top of the earlier."""
    profile = applied([("view", "i1", 2000)], "u")
    (link,) = links_of([[("purchase", "i1", 1000), ("view", "i2", 1500)]])
    join(profile, link, RULES)
    (own,), brought = profile.items.values(), [one.entry for one in profile.linked if one.ref == "i1"]
    assert whole_of(profile, RULES).items["i1"] == merge(brought[0], own, RULES)
    assert list(whole_of(profile, RULES).items) == ["i1", "i2"] and list(profile.items) == ["i1"]


@pytest.mark.parametrize(("browser_at", "user_at", "is_unwanted"), [(1000, 2000, False), (2000, 1000, True)])
def test_the_later_word_on_an_item_counts(browser_at: int, user_at: int, is_unwanted: bool) -> None:
    profile = applied([("view", "i1", user_at)], "u")
    (link,) = links_of([[("dismiss", "i1", browser_at)]])
    join(profile, link, RULES)
    assert ("i1" in unwanted(whole_of(profile, RULES), None, START_MS, RULES)) is is_unwanted


def test_a_purchase_before_the_log_in_is_not_recommended_after_it() -> None:
    profile = Profile()
    (link,) = links_of([[("purchase", "i1", 10), ("view", "i2", 10)]])
    join(profile, link, RULES)
    seen = as_clean(event(1, "u", "view", "i3", at_s=20))
    assert "i1" in request_of(profile, seen, "behaviour", RULES).excluded
    assert "i1" not in request_of(Profile(), seen, "behaviour", RULES).excluded


def test_old_purchases_stay_behind() -> None:
    """They would exclude nothing any more, and a link would only grow by them."""
    rules = profile_rules(bought_cooldown_ms=1_000_000)
    link = link_of([("purchase", "i1", 10), ("purchase", "i2", 4500)], 1, rules)
    assert link is not None and list(link["bought"]) == ["i2"]


# --- what the browser keeps


@given(did())
def test_what_remains_says_nothing_and_lets_nothing_come_again(things: list[Did]) -> None:
    browser = applied(things, "b")
    before = dump_profile(browser)
    handed = hand_over(browser, as_clean(identify(900, "b", "u", at_s=4000)), 900, RULES)
    assert handed is not None and dump_profile(browser) == before
    left = handed.profile
    empty = Profile(applied_offset=900, event_ids=left.event_ids, was_handed_over=True)
    assert left == empty and left.event_ids.startswith(browser.event_ids)
    for offset, one in enumerate(events_of(things, "b")):
        assert not apply_event(left, as_clean(one), offset, RULES), "a redo of older events"
        assert not apply_event(left, as_clean(one), 901 + offset, RULES) or one["event_id"][:16] not in left.event_ids.hex()
    assert hand_over(handed.profile, as_clean(identify(900, "b", "u")), 900, RULES) is None
    assert hand_over(handed.profile, as_clean(identify(900, "b", "u")), 1500, RULES) is None, "the same event, sent twice"
    again = hand_over(handed.profile, as_clean(identify(901, "b", "u")), 1501, RULES)
    assert again is not None and again.link is None, "there is nothing any more"


def test_a_link_says_nothing_of_who_the_browser_was() -> None:
    link = link_of([("view", "i1", 10), ("search", "red box", 20)], 7)
    assert link is not None and link["pseudonym"] == "k1.u"
    value = CODECS.for_topic(PROFILE_LINKS).encode(link)
    assert b"k1.b7" not in value and identify(10**6 + 7, "b7", "u")["event_id"].encode() not in value


# --- the stage


async def test_the_users_recommendations_have_the_browsers_history() -> None:
    shop = ProfileHarness(rules=profile_rules(threshold=-1.0, top_k=20, debounce_ms=0, reasons_max=8))
    first = await shop.run(event_records([event(0, "b", "view", "i001"), event(1, "b", "purchase", "i002", at_s=60)]))
    assert {r["pseudonym"] for r in recommendations(first.outputs)} == {"k1.b"}
    handed = await shop.run(event_records([identify(2, "b", "u", at_s=120)], first=2))
    (output,) = of_topic(handed.outputs, PROFILE_LINKS)
    assert output.key == b"k1.u" and output.partition is None and len(handed.outputs) == 1
    joined = await shop.run(link_records(handed.outputs))
    assert joined.outputs == [] and list(joined.state) == [b"k1.u"]
    again = await shop.run(link_records(handed.outputs))
    assert again.outputs == [] and again.state == {}
    after = await shop.run(event_records([event(3, "u", "view", "i003", at_s=180), event(4, "b", "view", "i004", at_s=180)], first=3))
    reasons = {
        r["pseudonym"]: {p["item_id"] for item in r["items"] for p in item["reasons"] if p["kind"] == "item"}
        for r in recommendations(after.outputs)
    }
    assert reasons["k1.u"] == {"i001", "i002", "i003"} and reasons["k1.b"] == {"i004"}, "logged out, the browser is a stranger"
    assert all(item["item_id"] != "i002" for r in recommendations(after.outputs) if r["pseudonym"] == "k1.u" for item in r["items"])
    assert load_profile(shop.state[b"k1.b"]).items.keys() == {"i004"}


async def test_who_logs_in_again_and_again_counts_once() -> None:
    harness = ProfileHarness()
    records, counts = [], []
    for n in range(0, 30, 2):
        records += [event(n, "b", "purchase", "i001", at_s=n), identify(n + 1, "b", f"u{n}", at_s=n + 1)]
    for record in of_topic((await harness.run(event_records(records))).outputs, ITEMS_POPULARITY):
        value = CODECS.for_topic(ITEMS_POPULARITY).decode(record.value)
        counts.append((value["item_id"], value["season"], value["buyers"]))
    assert counts == [("i001", pytest.approx(1.0), 1)]


async def test_a_batch_gives_what_its_events_give_one_by_one() -> None:
    """Recommendations before the log-in are made of the old profile, and leave nothing in the new one."""
    rules = profile_rules(threshold=-1.0, top_k=3, debounce_ms=0)
    events = [
        event(0, "b", "view", "i001"),
        event(1, "b", "search", query="red box", at_s=10),
        identify(2, "b", "u", at_s=20),
        event(3, "b", "view", "i005", at_s=30),
        identify(4, "b", "v", at_s=40),
        event(5, "b", "view", "i006", at_s=50),
    ]
    whole, split = ProfileHarness(rules=rules), ProfileHarness(rules=rules)
    at_once = (await whole.run(event_records(events))).outputs
    one_by_one = []
    for record in event_records(events):
        result = await split.run([record])
        split.publish(result.outputs)
        one_by_one += result.outputs
    kept = [
        {k: (p.items, p.queries, p.event_ids, p.applied_offset, [s[1] for s in p.recommended]) for k, p in loaded.items()}
        for loaded in ({k: load_profile(v) for k, v in shop.state.items() if k.startswith(b"k1.")} for shop in (whole, split))
    ]
    assert kept[0] == kept[1] and len(kept[0][b"k1.b"][4]) == 1
    assert [o.value for o in of_topic(at_once, PROFILE_LINKS)] == [o.value for o in of_topic(one_by_one, PROFILE_LINKS)]
    assert [r["pseudonym"] for r in recommendations(at_once)] == ["k1.b"] * 4
    decode = CODECS.for_topic(PROFILE_LINKS).decode
    assert [[e["ref"] for e in decode(o.value)["history"] if e["kind"] == "item"] for o in of_topic(at_once, PROFILE_LINKS)] == [
        ["i001"],
        ["i005"],
    ]


async def test_a_batch_of_links_counts_nothing() -> None:
    shop = ProfileHarness()
    bought = await shop.run(event_records([event(0, "b", "purchase", "i001"), event(1, "b", "purchase", "i002"), identify(2, "b", "u")]))
    assert (await shop.run(link_records(bought.outputs))).outputs == []
    # What was counted before is the base of what comes after, though it was not read back yet.
    after = await shop.run(event_records([event(3, "x", "purchase", "i001", at_s=1)], first=3))
    values = [CODECS.for_topic(o.topic).decode(o.value) for o in after.outputs if o.topic == "items.popularity"]
    assert [(v["item_id"], v["buyers"]) for v in values] == [("i001", 2)]


@pytest.mark.parametrize(
    "change",
    [
        {"link_id": "xyz"},
        {"link_id": ""},
        {"history": [ENTRY | {"weight": float("nan")}]},
        {"history": [ENTRY | {"weight": float("inf")}]},
        {"history": [ENTRY | {"ref": ""}]},
        {"history": [ENTRY | {"kind": "thought"}]},
        {"history": [ENTRY | {"event_type": "glance"}]},
        {"pseudonym": "k1.other"},
        None,
    ],
)
async def test_a_link_that_no_stage_wrote_is_dead_lettered_alone(change: dict[str, Any] | None) -> None:
    good = link_of([("view", "i1", 10)], 1)
    assert good is not None
    shop, codec = ProfileHarness(), CODECS.for_topic(PROFILE_LINKS)
    outputs = (await shop.run(event_records([event(0, "b", "view", "i001"), identify(1, "b", "u")]))).outputs
    record = link_records(outputs)[0]
    value = b"\0nonsense" if change is None else codec.encode({**good, **change})
    result = await shop.run([record._replace(value=value), record._replace(offset=1)])
    assert result.rejected == 1 and [o.topic for o in result.outputs] == [DEAD_LETTER] and list(result.state) == [b"k1.u"]
    assert [one.ref for one in load_profile(result.state[b"k1.u"] or b"").linked] == ["i001"]


@pytest.mark.parametrize("change", [{"linked_to": None}, {"linked_to": ""}, {"pseudonym": "nobody.1"}])
async def test_an_identify_event_that_ingest_does_not_write_is_dead_lettered(change: dict[str, Any]) -> None:
    result = await ProfileHarness().run(event_records([identify(0, "b", "u") | change]))
    assert result.rejected == 1 and [o.topic for o in result.outputs] == [DEAD_LETTER] and not result.state


def test_a_link_that_can_not_be_checked_changes_nothing() -> None:
    profile = applied([("view", "i1", 1)], "u")
    before = dump_profile(profile)
    link = link_of([("view", "i2", 10)], 1)
    assert link is not None
    with pytest.raises(RecordError):
        join(profile, {**link, "link_id": "no"}, RULES)
    assert dump_profile(profile) == before


def test_strength_is_one_order_for_ever() -> None:
    profile = applied([("view", "i1", 0), ("purchase", "i2", 0), ("view", "i3", 3000)], "u")
    ranked = sorted(profile.items, key=lambda item: strength(profile.items[item], RULES))
    for later_ms in (0, 10**6, 10**8):
        then = {item: abs(e.weight) * 2.0 ** (-(START_MS + 3_000_000 + later_ms - e.time_ms) / 1e6) for item, e in profile.items.items()}
        assert sorted(then, key=then.__getitem__) == ranked
    assert isinstance(whole_of(Profile(linked_bought={"x": 1}), RULES), Whole)

"""The profile stage counts what is bought together, tells only what several shoppers have, and recommends by it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streams.engine.records import MemoryRecord, OutputRecord
from streams.stages.profile.together_counter import is_profile
from streams.topics import ITEMS_TOGETHER
from tests.support.profile_harness import CODECS, TITLES, ProfileHarness, event, event_records, of_topic, recommendations
from tests.support.rules import profile_rules

ITEMS = sorted(TITLES)
DECODE = CODECS.for_topic(ITEMS_TOGETHER).decode


def purchases(users: int, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    """Each user buys each pair, one item after the other."""
    found: list[dict[str, Any]] = []
    for user in range(users):
        for first, second in pairs:
            for item in (first, second):
                found.append(event(len(found), f"u{user}", "purchase", item, at_s=len(found)))
    return found


def run(harness: ProfileHarness, events: Sequence[dict[str, Any]], first: int = 0) -> list[OutputRecord]:
    return asyncio.run(harness.run(event_records(events, first=first))).outputs


def told(outputs: Sequence[OutputRecord]) -> dict[str, dict[str, float]]:
    """The last word on each item."""
    values = [DECODE(output.value) for output in of_topic(outputs, ITEMS_TOGETHER)]
    return {v["item_id"]: dict(zip(v["others"], v["counts"], strict=True)) for v in values}


def test_a_pair_is_told_from_three_shoppers_on() -> None:
    harness = ProfileHarness()
    assert told(run(harness, purchases(2, (ITEMS[0], ITEMS[1])))) == {}
    later = purchases(3, (ITEMS[0], ITEMS[1]))[4:]
    assert list(told(run(harness, later, first=4))) == [ITEMS[1]]


def test_no_pseudonym_and_nothing_rare_is_in_the_topic() -> None:
    harness = ProfileHarness()
    events = [*purchases(5, (ITEMS[0], ITEMS[1])), event(900, "rare", "purchase", ITEMS[5], at_s=900)]
    events += [event(901, "rare", "purchase", ITEMS[1], at_s=901), event(902, "rare", "purchase", ITEMS[6], at_s=902)]
    outputs = of_topic(run(harness, events), ITEMS_TOGETHER)
    assert outputs
    for output in outputs:
        assert b"k1." not in (output.value or b"") + (output.key or b"")
        assert ITEMS[5].encode() not in (output.value or b"") and ITEMS[6].encode() not in (output.value or b"")


def test_only_purchases_count_and_only_once_for_a_shopper() -> None:
    harness = ProfileHarness()
    looked = [event(n, f"u{n % 9}", kind, ITEMS[n % 2], at_s=n) for n, kind in enumerate(("view", "click", "cart", "return") * 20)]
    again = [event(100 + n, "keen", "purchase", ITEMS[n % 2], at_s=n) for n in range(40)]
    assert told(run(harness, [*looked, *again])) == {}


def test_state_is_kept_apart_from_profiles_and_survives_a_restart() -> None:
    harness = ProfileHarness()
    run(harness, purchases(2, (ITEMS[0], ITEMS[1])))
    assert {key for key in harness.state if is_profile(key)} == {b"k1.u0", b"k1.u1"}
    harness.restart()
    assert list(told(run(harness, purchases(3, (ITEMS[0], ITEMS[1]))[4:], first=4))) == [ITEMS[1]]


def test_what_goes_with_the_history_is_recommended_and_said() -> None:
    harness = ProfileHarness(rules=profile_rules(threshold=-9.0, top_k=3, together_weight=5.0, reasons_max=9, debounce_ms=0))
    outputs = run(harness, purchases(20, (ITEMS[0], ITEMS[1])))
    records = [MemoryRecord(o.topic, o.partition or 0, n, 0, o.key, o.value) for n, o in enumerate(of_topic(outputs, ITEMS_TOGETHER))]
    harness.together.apply(records)
    answers = recommendations(run(harness, [event(999, "new", "view", ITEMS[0], at_s=9999)], first=1000))
    best = answers[0]["items"][0]
    assert best["item_id"] == ITEMS[1]
    assert best["together"] > 1.0
    assert best["score"] == best["cosine"] + best["prior"] + best["together"] + best["match"]
    reason = next(reason for reason in best["reasons"] if reason["kind"] == "together")
    assert (reason["item_id"], reason["event_type"]) == (ITEMS[0], "view")
    assert abs(sum(reason["share"] for reason in best["reasons"]) - best["score"]) < 1e-5


def test_what_is_told_follows_from_each_purchase_and_not_from_where_batches_end() -> None:
    events = purchases(12, (ITEMS[0], ITEMS[1]), (ITEMS[2], ITEMS[1]))
    whole, parts = ProfileHarness(), ProfileHarness()
    together = of_topic(run(whole, events), ITEMS_TOGETHER)
    apart = [output for n in range(0, len(events), 5) for output in of_topic(run(parts, events[n : n + 5], first=n), ITEMS_TOGETHER)]
    assert together == apart and len(together) > 5
    assert whole.state == parts.state

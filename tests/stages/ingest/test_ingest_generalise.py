"""What few shoppers share goes no further: an attacker who knows price, place and minute of a purchase finds k shoppers, or more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.engine.records import MemoryRecord
from streams.serde.flags import PLACE_WIDENED, PRICE_WIDENED, RARE_QUERY, SOON, TIME_WIDENED, WIDE_BANDS
from streams.stages.money import price_band
from streams.topics import BEHAVIOUR_CLEAN
from tests.support.ingest_harness import NOW, RULES, make_stage, record, run

K = 3
ANONYMOUS = replace(RULES, k=K, k_window_ms=3_600_000, k_time_ms=300_000)
START = NOW - NOW % 3_600_000 - 5 * 3_600_000


def bought(offset: int, user: str, at_s: float, price: float | None = 20.0, region: str | None = "DE", **more: Any) -> MemoryRecord:
    event = {"event_id": f"e{offset}", "user_id": user, "event_type": "purchase", "item_id": "i1", "occurred_at": START + int(at_s * 1000)}
    return record(event | {"price": price, "currency": None if price is None else "EUR", "region": region} | more, offset=offset)


def searched(offset: int, user: str, query: str, at_s: float = 0.0) -> MemoryRecord:
    return bought(offset, user, at_s, None, event_type="search", query=query, item_id=None)


def test_a_price_is_told_once_k_shoppers_paid_it() -> None:
    found = run(make_stage(ANONYMOUS), [bought(n, f"u{n % 4}", n) for n in range(6)]).events
    assert [event["price_band"] for event in found] == [None, None, *[price_band(20.0)] * 4]
    assert [PRICE_WIDENED in event["flags"] for event in found] == [True, True, *[False] * 4]
    assert [event["currency"] for event in found] == [None, None, *["EUR"] * 4]


def test_one_shopper_many_times_is_one() -> None:
    found = run(make_stage(ANONYMOUS), [bought(n, "anna", n) for n in range(9)]).events
    assert all(event["price_band"] is None and event["country"] is None for event in found)
    assert {PRICE_WIDENED, PLACE_WIDENED} <= set(found[-1]["flags"])


def test_prices_that_are_near_each_other_share_a_wide_band() -> None:
    prices = [17.0, 20.0, 24.0, 29.0]
    found = run(make_stage(ANONYMOUS), [bought(n, f"u{n}", n, price) for n, price in enumerate(prices)]).events
    wide = price_band(17.0) // WIDE_BANDS * WIDE_BANDS
    assert [event["price_band"] for event in found] == [None, None, wide, wide]
    assert [event["country"] for event in found] == [None, None, "DE", "DE"]


def test_a_rare_country_is_left_out_and_a_usual_one_stays() -> None:
    events = [bought(n, f"u{n}", n, None) for n in range(5)] + [bought(9, "far", 6, None, "IS")]
    found = run(make_stage(ANONYMOUS), events).events
    assert [event["country"] for event in found] == [None, None, "DE", "DE", "DE", None]
    assert PLACE_WIDENED in found[-1]["flags"] and PLACE_WIDENED not in found[2]["flags"]


def test_what_was_shared_longer_ago_does_not_count() -> None:
    events = [bought(n, f"u{n}", n) for n in range(4)] + [bought(9, "u9", 3 * 3_600)]
    *_, last = run(make_stage(ANONYMOUS), events).events
    assert last["price_band"] is None and last["country"] is None


def test_times_are_coarse_where_few_are_present() -> None:
    events = [bought(0, "a", 400), bought(1, "b", 410), bought(2, "c", 419), bought(3, "c", 700)]
    found = run(make_stage(ANONYMOUS), events).events
    assert [(event["occurred_at"] - START) // 1000 for event in found] == [300, 300, 360, 600]
    assert [TIME_WIDENED in event["flags"] for event in found] == [True, True, False, True]


def test_lists_stay_apart_though_times_do_not_tell() -> None:
    events = [bought(0, "a", 0), bought(1, "a", 30), bought(2, "a", 70), bought(3, "a", 400)]
    found = run(make_stage(ANONYMOUS), events).events
    assert all(TIME_WIDENED in event["flags"] for event in found)
    assert [SOON in event["flags"] for event in found] == [False, True, False, False]


def test_a_search_is_rare_until_k_shoppers_made_it() -> None:
    queries = [
        ("a", "红色 手提包"),
        ("a", "红色 手提包"),
        ("b", "红色 手提包"),
        ("c", "红色 手提包"),
        ("c", "my own novel"),
        ("a", "红色 手提包"),
    ]
    found = run(make_stage(ANONYMOUS), [searched(n, user, query) for n, (user, query) in enumerate(queries)]).events
    assert [RARE_QUERY in event["flags"] for event in found] == [True, True, True, False, True, False]
    assert [event["query"] for event in found] == [query for _, query in queries], "her own list needs the words"


def test_what_was_passed_on_before_a_restart_counts_after_it() -> None:
    before = run(
        make_stage(ANONYMOUS), [bought(n, f"u{n}", n) for n in range(4)] + [searched(10 + n, f"u{n}", "red bag", 5) for n in range(4)]
    )
    stage = make_stage(ANONYMOUS)
    stage.recall([MemoryRecord(BEHAVIOUR_CLEAN, 0, n, NOW, out.key, out.value or b"") for n, out in enumerate(before.result.outputs)])
    found = run(stage, [bought(20, "u8", 6), bought(21, "u9", 7), searched(22, "u9", "red bag", 8)]).events
    assert [event["price_band"] for event in found] == [price_band(20.0)] * 2 + [None], "two of four were told, and one more makes it k"
    assert RARE_QUERY not in found[2]["flags"]


def test_a_record_that_comes_again_is_no_further_shopper() -> None:
    stage = make_stage(ANONYMOUS)
    batch = [bought(0, "a", 0), bought(1, "b", 1)]
    first = run(stage, batch).events
    assert run(stage, batch).events == first


def test_events_are_counted_by_type() -> None:
    found = run(make_stage(ANONYMOUS), [bought(0, "a", 0), searched(1, "a", "red bag", 1)])
    assert [output.counts for output in found.result.outputs] == [(("purchase",),), (("search",),)]


def test_with_k_1_nothing_is_widened() -> None:
    (event,) = run(make_stage(replace(RULES, k=1)), [bought(0, "a", 61)]).events
    assert (event["price_band"], event["country"], event["flags"]) == (price_band(20.0), "DE", [])
    assert event["occurred_at"] == START + 60_000


def test_nobody_counts_for_nobody() -> None:
    stage = make_stage(replace(ANONYMOUS, counts_nobody=True))
    found = run(stage, [bought(n, "guest", n) for n in range(5)]).events
    assert len(found) == 5 and all(event["price_band"] is None for event in found)


shop = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([5.0, 6.0, 20.0, 900.0, None]), st.sampled_from(["DE", "CN", None]), st.integers(0, 900)),
    max_size=40,
)


@settings(deadline=None)
@given(shop)
def test_who_knows_price_place_and_time_finds_k_shoppers_or_more(made: list[tuple[int, float | None, str | None, int]]) -> None:
    records = [bought(n, f"u{who}", 10 * n + at / 100, price, region) for n, (who, price, region, at) in enumerate(made)]
    events = run(make_stage(ANONYMOUS), records).events
    for event in events:
        if event["price_band"] is None and event["country"] is None:
            continue
        # Who may it have been, as far as what is told goes? Less than that is said of the others, never something else.
        alike = {other["pseudonym"] for other in events if _may_be(other, event)}
        assert len(alike) >= K


def _may_be(other: dict[str, Any], event: dict[str, Any]) -> bool:
    def agree(name: str, widened: str) -> bool:
        return bool(other[name] == event[name] or (other[name] is None and widened in other["flags"]))

    bands = [one["price_band"] for one in (other, event)]
    is_near = None not in bands and bands[0] // WIDE_BANDS == bands[1] // WIDE_BANDS and PRICE_WIDENED in other["flags"] + event["flags"]
    return (agree("price_band", PRICE_WIDENED) or is_near) and agree("country", PLACE_WIDENED)

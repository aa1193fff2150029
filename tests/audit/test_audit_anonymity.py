"""What the audit counts as shared is what a reader of the topics would find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audit.actions import anonymity_details
from streams.audit.anonymity import Anonymity, Measured
from tests.support.ingest_harness import NOW, RULES, make_stage, record, run

K = 3
ANONYMOUS = replace(RULES, k=K, k_window_ms=3_600_000, k_time_ms=300_000)
START = NOW - NOW % 3_600_000 - 5 * 3_600_000


def measured(events: list[dict[str, Any]], pairs: list[dict[str, Any]] | None = None) -> list[Measured]:
    anonymity = Anonymity(K, window_ms=3_600_000, bucket_ms=60_000, wide_ms=300_000)
    for event in events:
        anonymity.take_event(event)
    for pair in pairs or []:
        anonymity.take_pair(pair)
    return anonymity.measured()


def clean(made: list[tuple[int, float | None, str | None, float]], k: int = K) -> list[dict[str, Any]]:
    records = [
        record(
            {
                **{"event_id": f"e{n}", "user_id": f"u{who}", "event_type": "purchase", "item_id": "i1"},
                **{"occurred_at": START + int(at_s * 1000), "price": price, "currency": price and "EUR", "region": region},
            },
            offset=n,
        )
        for n, (who, price, region, at_s) in enumerate(made)
    ]
    return run(make_stage(replace(ANONYMOUS, k=k)), records).events


visits = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([5.0, 6.0, 20.0, None]), st.sampled_from(["DE", "CN", None]), st.floats(0, 9_000)),
    max_size=60,
)


@settings(deadline=None)
@given(visits)
def test_ingest_tells_nothing_that_fewer_than_k_share(made: list[tuple[int, float | None, str | None, float]]) -> None:
    found = measured(clean(sorted(made, key=lambda one: one[3])))
    assert [one.below for one in found] == [0, 0, 0]
    assert all(one.least >= K or not one.told for one in found)


def test_without_widening_a_lonely_purchase_is_found() -> None:
    crowd = [(n, 20.0, "DE", float(n)) for n in range(5)]
    price, time, _ = measured(clean([*crowd, (9, 900.0, "IS", 8_000.0)], k=1))
    assert (price.told, price.least, price.below) == (6, 1, 1)
    assert (time.told, time.least, time.below) == (6, 1, 1)
    widened, *_ = measured(clean([*crowd, (9, 900.0, "IS", 8_000.0)]))
    assert widened.below == 0 and widened.kept_back > 0


def test_a_query_that_only_one_shopper_made_is_found_in_the_pairs() -> None:
    pair = {"pseudonym": "k1.a", "history": [{"kind": "query", "ref": "my novel"}, {"kind": "item", "ref": "i1"}]}
    *_, queries = measured([], [pair])
    assert (queries.told, queries.least, queries.below) == (1, 1, 1)
    *_, queries = measured([], [pair | {"pseudonym": f"k1.{n}"} for n in range(K)])
    assert (queries.least, queries.below) == (K, 0)


def test_details_are_texts() -> None:
    assert anonymity_details(5, Measured("time", 7, 2, 6, 0)) == {
        **{"attribute": "time", "k": "5", "told": "7", "kept_back": "2", "least": "6", "below": "0"}
    }

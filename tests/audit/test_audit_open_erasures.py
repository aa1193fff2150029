"""A request is open until every stage has receipted it, in whatever order they come."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.audit.open_erasures import RECEIPTS, OpenErasures
from streams.serde.records import Forgotten

DAY = 86_400_000


def request(name: str, received_at: int = 1000) -> Forgotten:
    return Forgotten(pseudonym=f"k1.{name}", request_id=f"t-{name}", requested_at=0, received_at=received_at, item_id=None)


def receipt(name: str, stage: str, action: str = "erased") -> dict[str, Any]:
    return {"stage": stage, "action": action, "subject": f"k1.{name}", "details": {"request_id": f"t-{name}"}, "occurred_at": 2000}


def test_the_oldest_open_one_tells_its_age() -> None:
    found = OpenErasures()
    assert (found.count(), found.oldest_ms(5000)) == (0, 0)
    found.take_request(request("anna", 1000))
    found.take_request(request("ben", 3000))
    assert (found.count(), found.oldest_ms(5000)) == (2, 4000)
    for stage in RECEIPTS:
        found.take_link(receipt("anna", stage))
    assert (found.count(), found.oldest_ms(5000)) == (1, 2000)


def test_other_links_are_no_receipts() -> None:
    found = OpenErasures()
    found.take_request(request("anna"))
    for stage in RECEIPTS:
        found.take_link(receipt("anna", stage, action="consent"))
        found.take_link(receipt("ben", stage))
    found.take_link(receipt("anna", "learning"))
    found.take_link({"stage": "profile", "action": "erased", "subject": None, "details": {}, "occurred_at": 0})
    assert found.count() == 1


@given(
    st.lists(st.tuples(st.sampled_from(["anna", "ben"]), st.sampled_from([None, *sorted(RECEIPTS)])), max_size=30).flatmap(st.permutations)
)
def test_any_order_and_repeats(came: list[tuple[str, str | None]]) -> None:
    found = OpenErasures()
    for name, stage in came:
        if stage is None:
            found.take_request(request(name))
        else:
            found.take_link(receipt(name, stage))
    by_name = {name: {stage for who, stage in came if who == name} for name in ("anna", "ben")}
    assert found.count() == sum(None in had and not had >= RECEIPTS for had in by_name.values())


def test_receipts_of_requests_that_no_topic_holds_are_forgotten() -> None:
    found = OpenErasures()
    for stage in RECEIPTS:
        found.take_link(receipt("anna", stage))
    found.drop_old(30 * DAY)
    found.take_request(request("anna"))
    assert found.count() == 0
    found.drop_old(50 * DAY)
    found.take_request(request("anna"))
    assert found.count() == 1

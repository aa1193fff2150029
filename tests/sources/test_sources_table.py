"""Events as shops have them: what used to be lost or, worse, read as something else. One test a row of what was seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from streams.engine.records import MemoryRecord
from streams.errors import Reason
from streams.stages.money import price_band
from streams.topics import BEHAVIOUR_RAW
from tests.support.ingest_harness import CODECS, JSON, NOW, RULES, feed, make_stage, record, run

BASE = {"user_id": "anna", "event_type": "cart", "item_id": "84029E", "occurred_at": NOW}
GERMAN = """
source: german
number: "1.299,00"
fields: {type: event_type, user: user_id, item: item_id, price: price, quantity: quantity, time: occurred_at}
"""


def one(**fields: Any) -> dict[str, Any]:
    found = feed(BASE | fields)
    assert found.letters == []
    (event,) = found.events
    return event


def refused(**fields: Any) -> dict[str, Any]:
    found = feed(BASE | fields)
    assert found.events == []
    (letter,) = found.letters
    return letter


def test_whole_numbers_are_ids() -> None:
    found = feed(BASE | {"user_id": 12345, "item_id": 12345, "session_id": 7, "event_id": 9})
    assert found.users == ["12345"]
    assert found.events[0]["item_id"] == "12345"
    assert (
        feed(BASE | {"user_id": "12345", "item_id": "12345", "session_id": "7", "event_id": "9"}).events[0]["event_id"]
        == found.events[0]["event_id"]
    )
    assert feed(BASE | {"user_id": 2**63}).users == [str(2**63)]


@pytest.mark.parametrize("field", ["user_id", "item_id", "session_id", "event_id"])
@pytest.mark.parametrize("value", [1.5, 12345.0, True, {"id": 1}, [1], 10**30])
def test_what_is_no_id_stays_refused(field: str, value: Any) -> None:
    assert refused(**{field: value})["reason"] == Reason.UNDECODABLE


@pytest.mark.parametrize(("price", "quantity"), [("12.50", "2"), ("12.50", "2.0"), (" 12.5 ", 2), (12.5, 2.0), ("12.5", "2.00")])
def test_canonical_decimals_are_numbers(price: Any, quantity: Any) -> None:
    event = one(price=price, quantity=quantity)
    assert (event["price_band"], event["quantity"]) == (price_band(12.5), 2)


@pytest.mark.parametrize("text", ["1,299.00", "1.299,00", "¥1,299", "12,50", "１２３", "1.299", "1 299", "12.50 €", "$5", "1'299"])
@pytest.mark.parametrize(("field", "reason"), [("price", Reason.BAD_PRICE), ("quantity", Reason.BAD_QUANTITY)])
def test_other_number_formats_are_refused_and_said_to_be(text: str, field: str, reason: Reason) -> None:
    letter = refused(**{field: text})
    assert letter["reason"] == reason
    assert ("ambiguous" in letter["detail"] and "number format" in letter["detail"]) or "`number:`" in letter["detail"]
    assert text not in letter["detail"]


@pytest.mark.parametrize("text", ["twelve", "1e3", "0x10", "NaN", "Infinity", "null", "--1", "1.2.3.4.5.6.7x", "1" * 60])
def test_what_is_no_number_is_refused(text: str) -> None:
    assert refused(price=text)["reason"] == Reason.BAD_PRICE


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("1,299.00", "1,299.00", 1299.0),
        ("1,299.00", "¥1,299", 1299.0),
        ("1,299.00", "1299", 1299.0),
        ("1,299.00", "USD 1,299.5", 1299.5),
        ("1.299,00", "1.299,00", 1299.0),
        ("1.299,00", "12,50", 12.5),
        ("1.299,00", "12,50 €", 12.5),
        ("1.299,00", "1.299", 1299.0),
        ("1299,00", "12,50", 12.5),
        ("1 299,00", "1\u202f299,00 kr", 1299.0),
        ("1'299.00", "CHF 1’299.00", 1299.0),
        ("1299.00", "1.299", 1.299),
        ("1299.00", "１２３", 123.0),
        ("1,29,900.00", "₹1,29,900.00", 129900.0),
    ],
)
def test_declared_number_formats(declared: str, text: str, value: float) -> None:
    found = feed(BASE | {"price": text}, mapping=GERMAN.replace("1.299,00", declared))
    assert [event["price_band"] for event in found.events] == [price_band(value)]


@pytest.mark.parametrize(
    ("declared", "text"), [("1.299,00", "12.50"), ("1,299.00", "12,50"), ("1299,00", "1.299,00"), ("1,299.00", "1,29")]
)
def test_what_does_not_fit_the_declared_format(declared: str, text: str) -> None:
    (letter,) = feed(BASE | {"price": text}, mapping=GERMAN.replace("1.299,00", declared)).letters
    assert (letter["reason"], declared in letter["detail"]) == (Reason.BAD_PRICE, True)


@pytest.mark.parametrize("value", [2.5, 0.4, "2.5", 1.0000001])
def test_a_fraction_is_never_another_quantity(value: Any) -> None:
    assert refused(quantity=value)["reason"] == Reason.BAD_QUANTITY
    by_weight = GERMAN.replace('number: "1.299,00"', "fractions: one")
    assert [event["quantity"] for event in feed(BASE | {"quantity": value}, mapping=by_weight).events] == [1]


@pytest.mark.parametrize(
    "user",
    [
        *("null", "undefined", "None", "0", "-", "anonymous", "guest", "unknown", "NaN", "00000000-0000-0000-0000-000000000000", "NULL"),
        *(" Guest ", 0, "nil", "(not set)", "N/A", "-1", "false", "游客", "000000", "[object Object]"),
    ],
)
def test_a_placeholder_is_nobody(user: Any) -> None:
    found = feed(BASE | {"user_id": user})
    assert found.events == []
    assert [letter["reason"] for letter in found.letters] == [Reason.NOBODY]
    assert found.result.rejected == 0, "guests are no fault of the producer"


def test_nobody_may_count_for_popularity() -> None:
    stage = make_stage(replace(RULES, counts_nobody=True))
    values = [record(BASE | {"user_id": user, "session_id": "s"}, offset=offset) for offset, user in enumerate(["guest", "null", "anna"])]
    found = run(stage, values)
    assert found.letters == []
    *crowd, anna = found.events
    assert [(event["flags"], event["sealed_id"], event["session"]) for event in crowd] == [(["nobody"], b"", None)] * 2
    assert [event["pseudonym"] for event in crowd] == [f"nobody.{event['event_id']}" for event in crowd]
    assert not anna["pseudonym"].startswith("nobody.")
    assert [output.key for output in found.result.outputs] == [event["pseudonym"].encode() for event in found.events]


@pytest.mark.parametrize("user", ["nullable", "0x1", "10", "guest-7", "Unknown Pleasures", "null@example.com", "a-b"])
def test_an_id_that_only_looks_a_little_like_one_is_somebody(user: str) -> None:
    assert feed(BASE | {"user_id": user}).users == [user]


@pytest.mark.parametrize("item", ["null", "undefined", "None", "NaN", "(not set)", "", None])
def test_a_placeholder_is_no_item(item: Any) -> None:
    assert refused(item_id=item)["reason"] == Reason.MISSING_ITEM


@pytest.mark.parametrize("item", ["0", "guest", "unknown", "None of the above", 0])
def test_an_item_may_be_called_so(item: Any) -> None:
    assert one(item_id=item)["item_id"] == str(item)


@pytest.mark.parametrize("unit", [1, 1000, 10**6, 10**9])
@pytest.mark.parametrize("kind", [int, str])
def test_epochs_by_magnitude(unit: int, kind: Any) -> None:
    assert one(occurred_at=kind(NOW // 1000 * unit))["occurred_at"] == NOW


@pytest.mark.parametrize(
    "text",
    ["2026/11/27 05:00:00", "27/11/2026 05:00", "Fri, 27 Nov 2026 05:00:00 GMT", "2026-11-27T05:00:00 UTC", "2026年11月27日 05:00"],
)
def test_dates_that_can_be_read_in_one_way(text: str) -> None:
    assert one(occurred_at=text)["occurred_at"] == NOW


def test_a_chinese_day() -> None:
    assert one(occurred_at="2026年11月27日")["occurred_at"] == NOW - 5 * 3_600_000


def test_dates_that_can_be_read_in_two_ways_need_a_format() -> None:
    letter = refused(occurred_at="11/5/2026 8:26")
    assert letter["reason"] == Reason.BAD_TIME and "ambiguous" in letter["detail"]
    day_first = GERMAN + 'time: {format: "%d/%m/%Y %H:%M", zone: Asia/Shanghai}\n'
    (event,) = feed(BASE | {"occurred_at": "11/5/2026 8:26"}, mapping=day_first).events
    assert event["occurred_at"] == 1_778_459_160_000 // 60_000 * 60_000  # 2026-05-11T00:26Z


@pytest.mark.parametrize(
    ("preset", "written", "kind"),
    [
        ("ga4-bigquery", "view_item", "view"),
        ("ga4-bigquery", "add_to_cart", "cart"),
        ("ga4-bigquery", "refund", "return"),
        ("ga4-bigquery", "add_to_wishlist", "wishlist"),
    ],
)
def test_types_of_google(preset: str, written: str, kind: str) -> None:
    value = {"event_name": written, "user_id": "u1", "event_timestamp": NOW * 1000, "items": [{"item_id": "SKU_1"}]}
    assert [event["event_type"] for event in feed(value, source=preset).events] == [kind]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *(
            ("view_item", "view"),
            ("add_to_cart", "cart"),
            ("addtocart", "cart"),
            ("transaction", "purchase"),
            ("pv", "view"),
            ("fav", "wishlist"),
        ),
        *(("buy", "purchase"), ("Product Viewed", "view"), ("refund", "return"), ("wishlist", "wishlist"), ("PV ", "view")),
    ],
)
def test_types_by_a_mapping(written: str, kind: str) -> None:
    mapping = GERMAN + (
        "types: {view_item: view, add_to_cart: cart, addtocart: cart, transaction: purchase, pv: view, fav: wishlist, buy: purchase,\n"
        "  Product Viewed: view, refund: return, wishlist: wishlist}\n"
    )
    assert [event["event_type"] for event in feed(BASE | {"event_type": written}, mapping=mapping).events] == [kind]
    (letter,) = feed(BASE | {"event_type": "teleport"}, mapping=mapping).letters
    assert letter["reason"] == Reason.UNKNOWN_EVENT_TYPE


def test_a_wish_is_a_type_of_its_own() -> None:
    assert one(event_type="wishlist")["event_type"] == "wishlist"


ORDER = {
    "id": 450789469,
    "customer": {"id": 207119551, "email": "bob.norman@example.com"},
    "created_at": "2026-11-27T00:00:00-05:00",
    "currency": "USD",
    "line_items": [
        {"id": 466157049, "product_id": 632910392, "quantity": 1, "price": "199.00"},
        {"id": 518995019, "product_id": 632910393, "quantity": 2, "price": "12.50"},
        {"id": 703073504, "product_id": None, "quantity": 1, "price": "1.00"},
    ],
}


def test_an_order_is_one_event_a_line() -> None:
    found = feed(ORDER, source="shopify-orders")
    assert [(event["item_id"], event["quantity"], event["price_band"]) for event in found.events] == [
        ("632910392", 1, price_band(199.0)),
        ("632910393", 2, price_band(12.5)),
    ]
    assert found.users == ["207119551"] * 2
    assert [letter["reason"] for letter in found.letters] == [Reason.MISSING_ITEM]
    assert found.result.rejected == 1
    ids = {event["event_id"] for event in found.events}
    assert len(ids) == 2
    assert len({output.record_id for output in found.result.outputs}) == 3
    assert {event["event_id"] for event in feed(ORDER, source="shopify-orders").events} == ids


def test_an_order_that_comes_again_is_still_one() -> None:
    stage = make_stage()
    first = run(stage, [record(ORDER, offset=0, source="shopify-orders")])
    more = {**ORDER, "line_items": [*ORDER["line_items"][1:], *ORDER["line_items"][:1]]}  # type: ignore[index]
    again = run(stage, [record(ORDER, offset=1, source="shopify-orders"), record(more, offset=2, source="shopify-orders")])
    assert len(first.events) == 2
    assert (len(again.events), again.result.dropped) == (0, {"duplicate": 4})


def test_lines_without_any_id_are_events_of_their_own() -> None:
    mapping = GERMAN.replace("item: item_id", "item: line.sku").replace("time: occurred_at", "session: s") + "lines: lines\n"
    value = {"user_id": "anna", "event_type": "purchase", "lines": [{"sku": "a"}, {"sku": "a"}]}
    found = feed(value, mapping=mapping)
    assert len({event["event_id"] for event in found.events}) == 2


def test_a_json_array() -> None:
    found = feed([BASE | {"item_id": f"i{n}"} for n in range(3)] + [{"user_id": "anna"}, 7])
    assert [event["item_id"] for event in found.events] == ["i0", "i1", "i2"]
    assert [letter["reason"] for letter in found.letters] == [Reason.UNDECODABLE] * 2
    assert len({event["event_id"] for event in found.events}) == 3
    too_many = feed([{}] * 1001)
    assert [letter["reason"] for letter in too_many.letters] == [Reason.TOO_LARGE]


CLOUD = {"specversion": "1.0", "id": "A234-1234-1234", "source": "/shop/web", "type": "cart", "time": "2026-11-27T05:00:00Z"}


@pytest.mark.parametrize("content_type", [b"application/cloudevents+json", b"application/cloudevents+json; charset=UTF-8"])
def test_a_structured_cloud_event(content_type: bytes) -> None:
    data = {"user_id": "anna", "item_id": "84029E"}
    found = feed(CLOUD | {"datacontenttype": "application/json", "data": data}, ("content-type", content_type))
    (event,) = found.events
    assert (event["event_type"], event["occurred_at"], event["flags"]) == ("cart", NOW, [])
    again = feed(CLOUD | {"data": json.dumps(data)}, ("content-type", content_type))
    assert again.events[0]["event_id"] == event["event_id"]


@pytest.mark.parametrize(
    "value", [CLOUD, CLOUD | {"data_base64": "e30="}, CLOUD | {"data": "text"}, CLOUD | {"data": 5}, {"data": BASE}, "text", None]
)
def test_a_cloud_event_that_can_not_be_read(value: Any) -> None:
    found = feed(value, ("content-type", b"application/cloudevents+json"))
    assert (len(found.events), len(found.letters)) == (0, 1)


def test_a_batch_of_cloud_events() -> None:
    values = [CLOUD | {"id": str(n), "data": {"user_id": "anna", "item_id": str(n)}} for n in range(3)]
    found = feed(values, ("content-type", b"application/cloudevents-batch+json"))
    assert [event["item_id"] for event in found.events] == ["0", "1", "2"]


def test_a_binary_cloud_event() -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in CLOUD.items()]
    found = feed({"user_id": "anna", "item_id": "84029E"}, ("content-type", b"application/json"), *headers)
    (event,) = found.events
    assert (event["event_type"], event["occurred_at"]) == ("cart", NOW)
    structured = feed(CLOUD | {"data": {"user_id": "anna", "item_id": "84029E"}}, ("content-type", b"application/cloudevents+json"))
    assert event["event_id"] == structured.events[0]["event_id"]


def test_the_attributes_of_a_cloud_event_in_a_mapping() -> None:
    mapping = "source: ce\ntypes: {com.example.cart.added: cart}\nfields: {type: ce.type, user: customer, item: sku}\n"
    headers = [(f"ce_{name}", value.encode()) for name, value in (CLOUD | {"type": "com.example.cart.added"}).items()]
    (event,) = feed({"customer": "anna", "sku": 5}, *headers, mapping=mapping).events
    assert (event["event_type"], event["item_id"], event["occurred_at"]) == ("cart", "5", NOW)


def test_percent_encoding_is_undone_once_where_it_is_declared() -> None:
    mapping = "source: web\npercent_encoded: query\nfields: {type: event_type, user: user_id, query: q}\n"
    search = {"user_id": "anna", "event_type": "search"}

    def words(text: str, declared: str = mapping) -> list[Any]:
        found = feed(search | {"q": text}, mapping=declared)
        return [event["query"] for event in found.events] + [letter["reason"] for letter in found.letters]

    assert words("red%20shoes") == ["red shoes"]
    assert words("c++") == words("c%2B%2B") == ["c++"]
    assert words("red+shoes", mapping.replace("percent", "form")) == ["red shoes"]
    assert words("%E9%9E%8B") == ["鞋"]
    assert words("50%2525") == ["50%25"]
    assert words("%FF") == [Reason.BAD_QUERY]
    assert words("100%") == ["100%"]
    assert words("anna%40example.com") == ["<email>"]
    assert words("red%20shoes", mapping.replace("percent_encoded: query\n", "")) == ["red%20shoes"]


def test_full_width_letters_have_one_form() -> None:
    assert one(event_type="search", query="ＩＰＨＯＮＥ　１５")["query"] == "IPHONE 15"


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("::ffff:10.0.0.1", "<ip>"),
        ("shoes ::ffff:10.0.0.1 red", "shoes <ip> red"),
        ("::FFFF:192.168.0.1", "<ip>"),
        ("::10.0.0.1", "<ip>"),
        ("64:ff9b::192.0.2.33", "<ip>"),
        ("::ffff:0:10.0.0.1", "<ip>"),
        ("地址::ffff:10.0.0.1", "地址<ip>"),
    ],
)
def test_nothing_is_left_of_an_address(query: str, left: str) -> None:
    assert one(event_type="search", query=query)["query"] == left


def test_avro_has_the_same_rules() -> None:
    codec = CODECS.for_topic(BEHAVIOUR_RAW)
    whole = dict.fromkeys(codec.kinds) | BASE

    def reasons(**fields: Any) -> list[str]:
        value = codec.encode(whole | fields)
        return [letter["reason"] for letter in run(make_stage(), [MemoryRecord(BEHAVIOUR_RAW, 0, 0, NOW, None, value)]).letters]

    assert reasons() == []
    assert reasons(user_id="undefined") == [Reason.NOBODY]
    assert reasons(item_id="null") == [Reason.MISSING_ITEM]
    assert reasons(quantity=2.5) == [Reason.BAD_QUANTITY]
    assert reasons(occurred_at=NOW * 1000) == []


def test_an_unknown_source_is_said_to_be() -> None:
    (letter,) = feed(BASE, *JSON, source="no-such-source").letters
    assert letter["reason"] == Reason.UNKNOWN_SOURCE
    assert "no-such-source" not in letter["detail"]
    assert len(feed(BASE, *JSON, source="plain").events) == 1


def test_two_shops_with_the_same_ids_have_different_people() -> None:
    text = "source: {name}\nnamespace: {name}\nfields: {{type: event_type, user: user_id, item: item_id}}\n"
    found = [feed(BASE, mapping=text.format(name=name)) for name in ("de", "fr")]
    assert [outcome.users for outcome in found] == [["de:anna"], ["fr:anna"]]
    assert len({outcome.events[0]["pseudonym"] for outcome in found}) == 2
    (letter,) = feed(BASE | {"user_id": "guest"}, mapping=text.format(name="de")).letters
    assert letter["reason"] == Reason.NOBODY

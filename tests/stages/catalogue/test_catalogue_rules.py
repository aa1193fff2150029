from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError, Reason, RecordError
from streams.serde.vectors import from_bytes, key_prefix, to_bytes, vector_key
from streams.stages.catalogue.state import Content, KnownItem, dump_item, load_item
from streams.stages.catalogue.validate import MAX_TITLE, item_text, text_hash, valid_item
from streams.stages.identifiers import query


def item(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "item_id": "84029E",
        "title": "RED WOOLLY HOTTIE",
        "category": None,
        "brand": None,
        "description": None,
        "price": 3.5,
        "currency": "GBP",
        "in_stock": True,
        "blocked": False,
        "tags": [],
        "updated_at": None,
        "group_id": None,
        "titles": {},
        "image_links": [],
    }
    return plain | changes


def test_a_title_of_any_language_is_a_title_and_the_preferred_one_is_encoded() -> None:
    value = item(title="", titles={"DE": "Rote Wärmflasche", "fr": " \u200b", "no language": "x", "zh-Hant": "紅色熱水袋"}, brand="Hottie")
    found = valid_item(b"84029E", value)
    assert (found["title"], found["titles"]) == ("Rote Wärmflasche", {"de": "Rote Wärmflasche", "zh-hant": "紅色熱水袋"})
    assert item_text(found, 100, "zh-hant") == "紅色熱水袋. Hottie"
    assert item_text(found, 100, "fr") == item_text(found, 100) == "Rote Wärmflasche. Hottie"


def test_a_group_and_pictures_are_kept_as_far_as_they_are_such() -> None:
    links = [
        "https://shop.example/a.jpg",
        "//shop.example/b.jpg",
        "a.jpg",
        "https://shop.example/a b.jpg",
        "http://shop.example/" + "x" * 2000,
    ]
    found = valid_item(b"84029E", item(group_id=" shirt ", image_links=links + links[:1] * 30))
    assert (found["group_id"], found["image_links"]) == ("shirt", links[:1] * 20)
    assert [valid_item(b"84029E", item(group_id=none))["group_id"] for none in ("", " ", "null", "N/A")] == [None] * 4


def test_a_good_item_stays_as_it_is() -> None:
    assert valid_item(b"84029E", item()) == item(category="", brand="", description="")


@pytest.mark.parametrize(
    ("key", "changes", "reason"),
    [
        (None, {}, Reason.KEY_MISMATCH),
        (b"84029", {}, Reason.KEY_MISMATCH),
        (b"\xff\xfe", {}, Reason.KEY_MISMATCH),
        (b"84029E", {"item_id": ""}, Reason.MISSING_ITEM),
        (b"84029E", {"item_id": "x" * 129}, Reason.BAD_ITEM),
        (b"84029E", {"item_id": "a\x00b"}, Reason.BAD_ITEM),
        (b"84029E", {"title": ""}, Reason.BAD_TITLE),
        (b"84029E", {"title": " \t\u200b\ufeff\u3000"}, Reason.BAD_TITLE),
        (b"84029E", {"price": -0.01}, Reason.BAD_PRICE),
        (b"84029E", {"price": float("nan")}, Reason.BAD_PRICE),
        (b"84029E", {"price": float("inf")}, Reason.BAD_PRICE),
        (b"84029E", {"price": 1e300}, Reason.BAD_PRICE),
        (b"84029E", {"currency": "GOLD"}, Reason.BAD_CURRENCY),
        (b"84029E", {"group_id": "g\x00"}, Reason.BAD_ITEM),
        (b"84029E", {"group_id": "g" * 129}, Reason.BAD_ITEM),
    ],
)
def test_an_impossible_item_is_refused(key: bytes | None, changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(RecordError) as refused:
        valid_item(key, item(**changes))
    assert refused.value.reason is reason
    for value in changes.values():
        assert not isinstance(value, str) or len(value) < 4 or value not in str(refused.value)


def test_identifiers_match_those_of_events() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    assert valid_item(decomposed.encode(), item(item_id=f" {decomposed} "))["item_id"] == "café"


def test_texts_are_folded_and_bounded() -> None:
    tidy = valid_item(b"84029E", item(title="  a\tb\n\nc\u200b ", brand="\u3000", tags=["x", " ", "y" * 100], currency=" "))
    assert (tidy["title"], tidy["brand"], tidy["currency"]) == ("a b c", "", None)
    assert tidy["tags"] == ["x", "y" * 64]
    assert len(valid_item(b"84029E", item(title="长" * 10_000))["title"]) == MAX_TITLE


@given(st.text(max_size=600), st.text(max_size=300) | st.none(), st.text(max_size=300) | st.none())
def test_any_text_gives_an_item_or_a_reason(title: str, category: str | None, description: str | None) -> None:
    try:
        tidy = valid_item(b"84029E", item(title=title, category=category, description=description))
    except RecordError as refused:
        assert refused.reason is Reason.BAD_TITLE
        return
    text = item_text(tidy, 200)
    assert text and len(text) <= 200 and text == text.strip()
    text.encode()
    assert valid_item(b"84029E", dict(tidy)) == tidy, "a valid item is in its normal form"


def test_the_text_says_each_thing_once_and_the_title_first() -> None:
    tidy = valid_item(b"84029E", item(title="Acme red mug", category="Kitchen", brand="ACME", description="Holds tea."))
    assert item_text(tidy, 1000) == "Acme red mug. Kitchen. Holds tea."
    assert item_text(tidy, 8) == "Acme red"
    assert item_text(valid_item(b"84029E", item()), 1000) == "RED WOOLLY HOTTIE"


def test_hashes_tell_texts_apart() -> None:
    assert len(text_hash("a")) == 32
    assert text_hash("a") == text_hash("a") != text_hash("b")


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40).filter(lambda v: sum(x * x for x in v) > 1e-6))
def test_vectors_travel_as_unit_little_endian_floats(values: list[float]) -> None:
    data = to_bytes(np.array(values, np.float32))
    again = from_bytes(data, len(values))
    assert len(data) == 4 * len(values) and again.dtype == np.float32
    assert float(np.linalg.norm(again)) == pytest.approx(1.0, abs=1e-5)
    assert np.frombuffer(data, "<f4").tolist() == again.tolist()
    with pytest.raises(RecordError):
        from_bytes(data, len(values) + 1)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_what_has_no_direction_is_no_vector(bad: float) -> None:
    with pytest.raises(RecordError):
        to_bytes(np.full(4, bad, np.float32))
    with pytest.raises(RecordError):
        from_bytes(np.full(4, bad, "<f4").tobytes(), 4)


def test_keys_begin_with_the_model_version() -> None:
    assert vector_key("v1", "a/b") == b"v1/a/b"
    for version in ("", "a/b"):
        with pytest.raises(ConfigurationError):
            key_prefix(version)


def test_the_state_survives_its_bytes_and_knows_other_versions() -> None:
    one = KnownItem(3, "red box", Content("h"), {"v1": b"1234"}, ("v0",))
    assert load_item(dump_item(one)) == one
    for damaged in (b"", b"\x03abc"):
        with pytest.raises(ConfigurationError, match="state"):
            load_item(damaged)


def test_a_state_from_before_texts_were_kept_is_read() -> None:
    old = load_item(b"\x01" + msgspec.msgpack.encode(["v1", "h", b"1234", ["v0"]]))
    assert (old.partition, old.vectors, old.versions) == (-1, {"v1": b"1234"}, ["v1", "v0"])


def test_what_an_item_was_under_other_versions_holds_only_while_it_stays_the_same() -> None:
    item = KnownItem(0, "red box", Content("h"), {"v1": b"1", "v2": b"2"}, ("v0",))
    same = item.became(KnownItem(0, "red box", Content("h"), {"v3": b"3"}))
    assert (same.vectors, same.others) == ({"v1": b"1", "v2": b"2", "v3": b"3"}, ("v0",))
    other = item.became(KnownItem(0, "red box", Content("h", recommendable=False), {"v1": b"1"}))
    assert (other.vectors, other.others) == ({"v1": b"1"}, ("v2", "v0"))
    assert item.without("v1").versions == ["v2", "v0"]


def test_a_title_has_the_form_of_the_queries_that_look_for_it() -> None:
    wide = valid_item(b"84029E", item(title="ＩＰＨＯＮＥ　１５", brand="Ａｐｐｌｅ", tags=["５Ｇ"]))
    assert (wide["title"], wide["brand"], wide["tags"]) == ("IPHONE 15", "Apple", ["5G"])
    assert wide["title"] == query("ＩＰＨＯＮＥ　１５")[0]
    assert item_text(wide, 100) == item_text(valid_item(b"84029E", item(title="IPHONE 15", brand="Apple", tags=["5G"])), 100)


@pytest.mark.parametrize("item_id", ["null", "undefined", "(not set)"])
def test_an_item_may_not_be_called_as_nothing_is(item_id: str) -> None:
    with pytest.raises(RecordError) as raised:
        valid_item(item_id.encode(), item(item_id=item_id))
    assert raised.value.reason is Reason.MISSING_ITEM

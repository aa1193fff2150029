"""Item ids that say something about a person are refused; those of shops pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ConfigurationError, Reason, RecordError
from streams.settings import Settings
from streams.stages.ingest.item_ids import ItemIds
from streams.stages.ingest.rules import IngestRules

PERSONAL = [
    "+49 171 2345678", "+491712345678", "13800138000", "138-0013-8000", "(0171) 234 5678", "4111111111111111", "4111 1111 1111 1111",
    "11010519491231002X", "192.168.17.4", "2001:db8::ff00:42:8329", "https://shop.example/item?token=abc", "www.shop.example/i#access",
    "https://u:p@shop.example/x", "Hauptstr. 5, 10115 Berlin", "北京市朝阳区建国路，88号", "sku token=9f8e7d", "session_id:9f8e7d6c",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "anna@example.com", "tel:+8613800138000", "8613800138000", "00491712345678",
    "6222021234567890128",
]  # fmt: skip
ARTICLES = [
    "84029E", "商品-1", "0108775015", "4006381333931", "978-3-16-148410-0", "SKU-12345678", "B07XJ8C8F5", "520813250866", "3103672",
    "red shirt XL", "https://shop.example/item/123", "10x20x30", "nike-air-2021-03-04", "a1b2c3d4-e5f6-7890-abcd-ef0123456789",
    "DE-10115", "T-Shirt, red".replace(", ", "/"), "tokens-of-love", "session: 3".replace(": ", "-"),
]  # fmt: skip


@pytest.mark.parametrize("item", PERSONAL)
def test_personal_data_is_no_item(item: str) -> None:
    with pytest.raises(RecordError) as refused:
        ItemIds()(item)
    assert refused.value.reason is Reason.BAD_ITEM and item not in refused.value.detail


@pytest.mark.parametrize("item", ARTICLES)
def test_ids_of_shops_pass(item: str) -> None:
    assert ItemIds()(item) == item


@given(st.integers(0, 9_999_999_999) | st.integers(2 * 10**10, 2 * 10**12))
def test_numbers_of_up_to_ten_and_twelve_digits_pass(number: int) -> None:
    assert ItemIds()(str(number)) == str(number)


def test_a_pattern_alone_decides() -> None:
    read = ItemIds("[0-9]{11}")
    assert read("13800138000") == "13800138000"
    with pytest.raises(RecordError, match="VEILSTREAM_ITEM_PATTERN"):
        read("13800138000a")


def test_a_wrong_pattern_is_named() -> None:
    with pytest.raises(ConfigurationError, match="VEILSTREAM_ITEM_PATTERN"):
        IngestRules.from_settings(Settings(item_pattern="[0-9"))

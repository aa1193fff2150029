"""Regions to countries."""

from __future__ import annotations

import csv
import doctest
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest import region as module
from streams.stages.ingest.countries import COUNTRIES
from streams.stages.ingest.region import country, is_country


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_the_table_is_whole() -> None:
    """ISO 3166-1 has 249 entries; no code or name stands for two."""
    assert len(COUNTRIES) == 249
    codes = [code for alpha2, alpha3, _ in COUNTRIES for code in (alpha2, alpha3)]
    names = [name.casefold() for _, _, all_names in COUNTRIES for name in all_names.split("|")]
    assert len(set(codes)) == len(codes)
    assert len(set(names)) == len(names)
    assert all(code.isascii() and code.isupper() for code in codes)


@pytest.mark.parametrize(("alpha2", "alpha3", "names"), COUNTRIES, ids=lambda value: value[:3])
def test_every_code_and_name(alpha2: str, alpha3: str, names: str) -> None:
    for text in (alpha2, alpha2.lower(), alpha3, alpha3.lower(), *names.split("|"), names.split("|", maxsplit=1)[0].upper()):
        assert country(text) == alpha2
        assert country(f"  {text} ") == alpha2
    assert is_country(alpha2)
    assert not is_country(alpha3)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("zh-CN", "CN"),
        ("zh_Hans_CN", "CN"),
        ("en_GB.UTF-8", "GB"),
        ("de-AT", "AT"),
        ("ar-EG", "EG"),
        ("sr-Latn-RS", "RS"),
        ("CN-31", "CN"),
        ("cn-31", "CN"),
        ("US-CA", "US"),
        ("us-ca", "US"),
        ("GB-ENG", "GB"),
        ("London, United Kingdom", "GB"),
        ("Germany / Berlin", "DE"),
        ("Channel Islands", "GB"),
        ("中国广东省深圳市", "CN"),
        ("北京市朝阳区", "CN"),
        ("台湾台北", "TW"),
        ("新加坡", "SG"),
    ],
)
def test_finer_regions_and_locales(text: str, code: str) -> None:
    assert country(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "zh",
        "en",
        "es-419",
        "zh-Hans",
        "Atlantis",
        "European Community",
        "Unspecified",
        "X",
        "ZZ",
        "QQQ",
        "-",
        "中",
        "\x00",
        "x" * 10_000_000,
    ],
)
def test_unknown(text: str) -> None:
    assert country(text) is None


@given(st.text(max_size=60) | st.text("ABCDEabcde-_.,中国 ", max_size=20))
def test_a_code_or_nothing(text: str) -> None:
    found = country(text)
    assert found is None or is_country(found)


def test_the_retail_years_countries(retail: Path) -> None:
    with gzip.open(retail / "events.csv.gz", "rt", encoding="utf-8") as file:
        names = {row["country"] for row in csv.DictReader(file)}
    assert {name for name in names if country(name) is None} == {"Unspecified", "European Community"}

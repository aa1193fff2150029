"""Regions to countries."""

from __future__ import annotations

import csv
import doctest
import gzip
from pathlib import Path

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.ingest import region as module
from streams.stages.ingest.countries import codes, names
from streams.stages.ingest.region import country, is_country


def test_doctest() -> None:
    assert doctest.testmod(module).failed == 0


def test_all_countries_are_there() -> None:
    """ISO 3166-1 has 249 entries."""
    assert len(set(codes().values())) == 249
    assert {len(code) for code in codes()} == {2, 3}
    assert len(codes()) >= 2 * 249, "with codes that a country had before"
    assert all(code.isascii() and code.isupper() for code in codes())
    assert set(names().values()) == set(codes().values())


@pytest.mark.parametrize(("code", "alpha2"), sorted(codes().items()))
def test_every_code(code: str, alpha2: str) -> None:
    for text in (code, code.lower(), f"  {code} "):
        assert country(text) == alpha2
    assert is_country(code) == (len(code) == 2)


@pytest.mark.parametrize("language", ["en", "zh", "zh_Hant", "de"])
def test_every_name(language: str) -> None:
    for alpha2 in set(codes().values()):
        name = Locale.parse(language).territories[alpha2]
        assert {country(name), country(f" {name.upper()} ")} == {alpha2}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UAE", "AE"), ("EIRE", "IE"), ("RSA", "ZA"), ("Holland", "NL"), ("Great Britain", "GB"), ("USA", "US"), ("America", "US"),
        ("Hong Kong", "HK"), ("Macau", "MO"), ("Korea", "KR"), ("Burma", "MM"), ("Czech Republic", "CZ"), ("Turkey", "TR"),
        ("Saint Lucia", "LC"), ("Trinidad and Tobago", "TT"), ("Côte d'Ivoire", "CI"), ("中国大陆", "CN"), ("中国香港", "HK"),
        ("台灣", "TW"), ("臺灣", "TW"), ("南韩", "KR"), ("刚果金", "CD"), ("Österreich", "AT"), ("España", "ES"), ("日本", "JP"),
    ],
)  # fmt: skip
def test_names_as_shops_write_them(text: str, code: str) -> None:
    assert country(text) == code


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
        ("ch-zh", "CH"),
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

"""Generalises regions to the country (ISO 3166-1 alpha-2)."""

from __future__ import annotations

import re

from streams.stages.ingest.countries import codes, languages, names

_MAX_CHARACTERS = 128
_LONGEST_CHINESE_NAME = 16
_WITHOUT_CODE = {"channel islands": "GB"}  # Jersey and Guernsey together have no code
_CHINESE_PLACES = (
    "北京", "上海", "天津", "重庆", "河北", "山西", "辽宁", "吉林", "黑龙江", "江苏", "浙江", "安徽", "福建", "江西", "山东", "河南",
    "湖北", "湖南", "广东", "海南", "四川", "贵州", "云南", "陕西", "甘肃", "青海", "内蒙古", "广西", "西藏", "宁夏", "新疆",
    "广州", "深圳", "杭州", "成都", "武汉", "南京", "西安", "苏州",
)  # fmt: skip
_SPLIT = re.compile(r"\s*[,;/|，、]\s*")
_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z0-9]{2,3}))?(?:[.@\-_].*)?", re.ASCII)


def country(text: str) -> str | None:
    """The country's code; None if none can be made of the text.

    >>> country("CN-31"), country("zh-Hans-CN"), country("EIRE"), country("上海市浦东新区"), country("Atlantis")
    ('CN', 'CN', 'IE', 'CN', None)
    """
    text = text[:_MAX_CHARACTERS].strip()
    found = _named(text) or _coded(text)
    if found is None:
        parts = _SPLIT.split(text)
        found = (_named(parts[0]) or _named(parts[-1]) or _coded(parts[-1])) if len(parts) > 1 else None
    return found


def is_country(code: str) -> bool:
    """Whether this is an alpha-2 code."""
    return len(code) == 2 and code in codes()


def _named(text: str) -> str | None:
    known = names()
    found = known.get(text.casefold()) or _WITHOUT_CODE.get(text.casefold())
    if found is None and not text.isascii():
        if text.startswith(_CHINESE_PLACES):
            return "CN"
        # Chinese puts the larger place first, without a space: 中国广东省深圳市.
        lengths = range(min(_LONGEST_CHINESE_NAME, len(text) - 1), 1, -1)
        found = next((code for n in lengths if (code := known.get(text[:n]))), None)
    return found


def _coded(text: str) -> str | None:
    """Codes in any case, subdivisions (CN-31, GB-ENG) and locales (zh-CN, en_GB.UTF-8, zh-Hans-CN)."""
    match = _CODE.fullmatch(text)
    if match is None:
        return None
    head, script, tail = match.groups()
    known = codes()
    if tail is None:
        return None if script else known.get(head.upper())
    # A language's code before a country's in a locale ("ar-EG" is Egypt), though it may be a country's, too.
    if head.islower() and (head in languages() or head.upper() not in known):
        return known.get(tail.upper()) if len(tail) == 2 else None
    return known.get(head.upper()) if len(head) == 2 and not script else None

"""The countries of ISO 3166-1 by code and by name, as shops write them.

Codes and names in thirteen languages are those of the Unicode CLDR, through Babel; ``_ALIASES`` adds what it does not have.
"""

from __future__ import annotations

from functools import cache

from babel import Locale
from babel.core import get_global

_LANGUAGES = ("en", "zh", "zh_Hant", "de", "fr", "es", "it", "pt", "nl", "pl", "ja", "ko", "ru")
"""Where two languages call two countries alike, the first one's meaning counts."""
_NO_COUNTRIES = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ"})
"""Codes that the CLDR names and ISO 3166-1 does not assign."""
_NO_LOCALES = frozenset({"ae", "ch", "dz", "sh", "za"})
"""Avestan, Chamorro, Dzongkha, Serbo-Croatian, Zhuang: `ch-zh` is Zürich."""
_ALIASES = {
    "AE": "UAE|阿联酋",
    "AX": "Aland Islands",
    "BA": "Bosnia|波黑",
    "BQ": "Bonaire, Sint Eustatius and Saba|荷属加勒比",
    "BW": "博兹瓦那",
    "CC": "Cocos Islands|科科斯群岛",
    "CD": "DR Congo|Democratic Republic of the Congo|刚果民主共和国|刚果金",
    "CF": "中非",
    "CG": "Republic of the Congo|刚果|刚果布",
    "CI": "Ivory Coast",
    "CN": "Mainland China|PRC|People's Republic of China|中国大陆|中华人民共和国",
    "CW": "Curacao",
    "CZ": "Czech Republic",
    "DK": "Danmark",
    "FI": "Suomi",
    "GB": "UK|Great Britain|Britain|England|Scotland|Wales|Northern Ireland",
    "GS": "South Georgia and the South Sandwich Islands",
    "HK": "Hong Kong|Hong Kong SAR|香港|中国香港",
    "IE": "EIRE|Republic of Ireland",
    "JP": "日本国",
    "KH": "柬埔塞",
    "KR": "Korea|Republic of Korea|韓國|南韩",
    "MK": "Macedonia",
    "MM": "Burma",
    "MO": "Macao|Macau|澳门|澳門|中国澳门",
    "NL": "The Netherlands|Holland",
    "NO": "Norge",
    "PM": "圣皮埃尔和密克隆",
    "PN": "皮特克恩",
    "PS": "Palestine|巴勒斯坦",
    "RU": "Russian Federation",
    "SA": "沙特",
    "SE": "Sverige",
    "ST": "Sao Tome and Principe",
    "SZ": "Swaziland",
    "TF": "French Southern Territories",
    "TL": "East Timor",
    "TR": "Turkey",
    "TT": "特里尼达和多巴哥",
    "TW": "臺灣|中国台湾",
    "UM": "United States Minor Outlying Islands",
    "US": "USA|United States of America|America",
    "VA": "Holy See|Vatican",
    "VC": "Saint Vincent and the Grenadines",
    "VI": "US Virgin Islands",
    "VN": "Viet Nam",
    "ZA": "RSA",
}  # fmt: skip


@cache
def codes() -> dict[str, str]:
    """Alpha-2 and alpha-3 codes in upper case, to alpha-2."""
    two = {code: code for code in _territories("en")}
    three = {alias: found[0] for alias, found in get_global("territory_aliases").items() if len(alias) == 3 and alias.isalpha()}
    return two | {alias: code for alias, code in three.items() if code in two}


@cache
def names() -> dict[str, str]:
    """Names in lower case (``str.casefold``), to alpha-2."""
    found = {alias.casefold(): code for code, aliases in _ALIASES.items() for alias in aliases.split("|")}
    for language in _LANGUAGES:
        for code, name in _territories(language).items():
            plain = name.casefold()
            for form in (plain, plain.replace("&", "and").replace("st. ", "saint ").replace("’", "'")):
                found.setdefault(form, code)
    return found


@cache
def languages() -> frozenset[str]:
    """Two-letter language codes (ISO 639-1), but for those that no shop's locale begins with and countries do."""
    return frozenset(code for code in map(str, Locale.parse("en").languages) if len(code) == 2) - _NO_LOCALES


def _territories(language: str) -> dict[str, str]:
    return {
        code: name
        for code, name in Locale.parse(language).territories.items()
        if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES
    }

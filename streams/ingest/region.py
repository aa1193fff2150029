"""Regions, generalised to the country (ISO 3166-1 alpha-2)."""

from __future__ import annotations

ALPHA2 = frozenset(
    """AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH
    CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN
    GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI
    LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM
    PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD
    TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split()
)

_NAMES = {
    "united kingdom": "GB", "uk": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "channel islands": "GB",
    "eire": "IE", "ireland": "IE", "usa": "US", "united states": "US", "united states of america": "US", "germany": "DE", "deutschland": "DE",
    "france": "FR", "spain": "ES", "italy": "IT", "netherlands": "NL", "belgium": "BE", "switzerland": "CH", "austria": "AT",
    "portugal": "PT", "poland": "PL", "sweden": "SE", "norway": "NO", "denmark": "DK", "finland": "FI", "iceland": "IS", "greece": "GR",
    "cyprus": "CY", "malta": "MT", "lithuania": "LT", "latvia": "LV", "estonia": "EE", "czech republic": "CZ", "czechia": "CZ",
    "slovakia": "SK", "slovenia": "SI", "hungary": "HU", "romania": "RO", "bulgaria": "BG", "croatia": "HR", "russia": "RU",
    "ukraine": "UA", "turkey": "TR", "israel": "IL", "lebanon": "LB", "bahrain": "BH", "saudi arabia": "SA",
    "united arab emirates": "AE", "egypt": "EG", "rsa": "ZA", "south africa": "ZA", "nigeria": "NG", "kenya": "KE", "morocco": "MA",
    "china": "CN", "hong kong": "HK", "taiwan": "TW", "macau": "MO", "macao": "MO", "japan": "JP", "south korea": "KR", "korea": "KR",
    "india": "IN", "indonesia": "ID", "malaysia": "MY", "singapore": "SG", "thailand": "TH", "vietnam": "VN", "philippines": "PH",
    "pakistan": "PK", "bangladesh": "BD", "australia": "AU", "new zealand": "NZ", "canada": "CA", "mexico": "MX", "brazil": "BR",
    "argentina": "AR", "chile": "CL", "colombia": "CO", "peru": "PE", "luxembourg": "LU",
    "中国": "CN", "中國": "CN", "中国大陆": "CN", "香港": "HK", "台湾": "TW", "台灣": "TW", "澳门": "MO", "澳門": "MO", "美国": "US",
    "英国": "GB", "日本": "JP", "韩国": "KR", "德国": "DE", "法国": "FR", "新加坡": "SG", "马来西亚": "MY", "加拿大": "CA",
    "澳大利亚": "AU", "俄罗斯": "RU", "意大利": "IT", "西班牙": "ES", "泰国": "TH", "越南": "VN", "印度": "IN",
    "chn": "CN", "gbr": "GB", "deu": "DE", "fra": "FR", "jpn": "JP", "kor": "KR", "esp": "ES", "ita": "IT", "nld": "NL", "irl": "IE",
    "can": "CA", "aus": "AU", "bra": "BR", "ind": "IN", "sgp": "SG", "hkg": "HK", "twn": "TW", "rus": "RU", "che": "CH", "aut": "AT",
}  # fmt: skip
"""Names in English, Chinese and the shared data's spelling, and common alpha-3 codes."""

_CHINESE_PLACES = (
    "北京", "上海", "天津", "重庆", "河北", "山西", "辽宁", "吉林", "黑龙江", "江苏", "浙江", "安徽", "福建", "江西", "山东", "河南",
    "湖北", "湖南", "广东", "海南", "四川", "贵州", "云南", "陕西", "甘肃", "青海", "内蒙古", "广西", "西藏", "宁夏", "新疆",
    "广州", "深圳", "杭州", "成都", "武汉", "南京", "西安", "苏州",
)  # fmt: skip


def country(value: str | None, default: str | None = None) -> tuple[str | None, bool]:
    """The country's code, and whether a value was given that none could be made of.

    >>> country("CN-31"), country("zh-CN"), country("United Kingdom"), country("上海市浦东新区"), country("Atlantis")
    (('CN', False), ('CN', False), ('GB', False), ('CN', False), (None, True))
    """
    if value is None or not value.strip():
        return default, False
    if value in ALPHA2:
        return value, False
    text = value.strip()
    name = _NAMES.get(text.casefold())
    if name is not None:
        return name, False
    parts = text.replace("_", "-").split("-")
    head, tail = parts[0], parts[-1]
    if len(head) == 2 and head.isupper() and head in ALPHA2:
        return head, False  # ISO 3166-2: CN-31
    if len(parts) > 1 and head.islower() and tail.upper() in ALPHA2:
        return tail.upper(), False  # locale: zh-CN, zh-Hans-CN
    if len(parts) == 1 and text.upper() in ALPHA2:
        return text.upper(), False
    if text.startswith(_CHINESE_PLACES):
        return "CN", False
    return default, True

"""Postal addresses down to the door, Chinese and English.

A town or a street alone is no personal data, and goods are named after both. So an address needs a number and more: in Chinese a house
number after a road, or a building, entrance and room after a town or an estate; in English a number and a street, and a postcode, a flat or
a word such as "ship to" beside them.
"""

from __future__ import annotations

import re

from streams.privacy.kinds import mark

ADDRESS = mark("address")

_HAN = r"\u4e00-\u9fff"
_NUMBER = r"[0-9A-Za-z一二三四五六七八九十百]{1,5}(?:[\-/][0-9]{1,4})?"
_DOOR = re.compile(
    rf"(?P<road>[路街巷弄道里胡村组社寨屯] ?|胡同 ?|大院 ?)(?P<house>[0-9]{{1,5}}(?:[\-/][0-9]{{1,4}})?(?= ?[弄号组])"
    rf"|[一二三四五六七八九十百]{{1,4}}(?= ?[号组])) ?(?:弄|号院?|组)(?:[0-9]{{1,4}}号)?"
    rf"|(?P<estate>[{_HAN}]) ?(?:[A-Za-z]?[0-9]{{1,3}}|[一二三四五六七八九十]{{1,3}}|[A-Za-z]) ?(?:号楼|栋|幢|座)",
)
_REST = re.compile(
    rf" ?{_NUMBER} ?(?:号楼|单元|栋|幢|座|室|层|楼|户|房|号|弄|门|(?![0-9A-Za-z一-龥%.+\-])|(?<=[0-9]{{3}})(?![0-9A-Za-z%.+\-]"
    rf"|[件个元块双套只天日月年]))"
)
_BUILDING = re.compile(
    rf" ?(?:[{_HAN}A-Za-z]{{2,12}}?(?:大厦|小区|花园|公寓|广场|家园|中心|大楼|苑|城|园|府|庭|湾|轩|居|里"
    rf"|宿舍))(?= ?[0-9A-Za-z一二三四五六七八九十]{{1,5}} ?(?:号|栋|幢|座|单元|室|层|楼))"
)
_ROOM = re.compile(r"室|单元|户|房|层|楼|(?<=[0-9])[0-9]{2}\Z")
_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃"
    "|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_REGION = re.compile(
    rf"(?:{_PROVINCES})[{_HAN} ]{{0,12}}?[省市区县旗镇乡]|[{_HAN}]{{2,4}}?[省市](?=[{_HAN} ]{{2,12}})|[{_HAN}]{{1,4}}?[区县旗镇乡](?!间|别)"
)
_LEADS = re.compile(
    r"(?:地址|住址|寄到|寄往|寄至|送到|送至|送往|发到|发往|发至|邮寄到?|快递到|配送到|送货到|住在|住|家在|位于|收货地|搬到|到|在|给"
    r"|是|为|往|至|,|;|:|。|，|；|>)[ :是为在到]{0,3}"
)
_SAYS_SO = re.compile(r"(?:地址|住址|寄到|寄往|寄至|送到|送至|送往|发到|发往|发至|邮寄|快递到|配送到|送货到|住在|家住|家在|收货地)")
_NOT_AFTER = re.compile(r"线|色|电池|公路|高速|店|馆|机|球|字|型|针|码|螺|钢")
_NAMED = re.compile(rf"[{_HAN}]{{2}}")
_STREET_ALONE = re.compile(r"(?:(?<![电线网油气水管套思出公铁回短开通末多道马一言])路|街|大道|巷|胡同) ?\Z")
"""A circuit (电路2号) is none."""
_ENDS_OF_ESTATES = frozenset("园苑城庭府湾轩居区厦场寓里家村院邸墅邨坊筑第")
_WINDOW = 60

_POSTCODE = (
    r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|(?:[A-Z]{2},? )?\d{5}(?:-\d{4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d|(?:NSW|VIC|QLD|WA|SA|TAS|ACT"
    r"|NT),? \d{4})(?![A-Za-z0-9])"
)
_STREET = (
    r"(?:street|str?|road|rd|avenue|ave?|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|close|crescent|cres"
    r"|gardens|grove|"
    r"highway|hwy|parkway|pkwy|way|row|walk|hill|mews|quay|circle|cir|trail|rise|view)"
)
_UNIT = r"(?:apt|apartment|flat|suite|ste|unit|room|floor|#) ?\.?#? ?[A-Za-z]?\d{1,5}[A-Za-z]?"
_ENGLISH = re.compile(
    rf"(?<![A-Za-z0-9.,/\-])(?P<first>{_UNIT},? )?(?P<house>\d{{1,5}}(?:[\-/]\d{{1,4}})?[A-Za-z]?),? "
    rf"(?P<name>(?:[A-Za-z][A-Za-z'.\-]{{0,19}} |\d{{1,3}}(?:st|nd|rd|th) ){{1,4}}?)"
    rf"{_STREET}(?![A-Za-z])\.?(?: (?:NE|NW|SE|SW|N|S|E|W)(?![A-Za-z0-9]))?(?P<unit>,? ?{_UNIT}"
    rf"(?![A-Za-z0-9]))?(?P<tail>(?:[, ]{{1,2}}[A-Za-z][A-Za-z'.\-]{{1,19}}){{0,5}}?[, ]{{1,2}}{_POSTCODE})?",
    re.IGNORECASE | re.ASCII,
)
_BOX = re.compile(
    rf"(?<![A-Za-z])P\.? ?O\.? ?Box \d{{1,6}}(?P<tail>(?:[, ]{{1,2}}[A-Za-z][A-Za-z'.\-]{{1,19}}){{0,5}}?[, ]{{1,2}}{_POSTCODE})",
    re.IGNORECASE | re.ASCII,
)
_ENGLISH_SAYS_SO = re.compile(
    r"(?<![a-z])(?:address|(?:ship(?:ped|ping)?|deliver(?:ed|y)?|send|sent|mail|post)(?: (?:it|this|these|them))? to|lives? at"
    r"|living at|home is|i'm at|located at|pick ?up (?:at|from)"
    r"|<name>),?[ :\-]{0,3}(?:is |at )?\Z",
    re.IGNORECASE,
)
_NAMED_POSTCODE = re.compile(
    rf"((?<![a-z])(?:post ?code|zip(?: ?code)?|postal code)(?: is)? ?[:=]? ?)({_POSTCODE})|((?:邮编|邮政编码) ?[:是为]? ?)(\d{{6}})(?!\d)",
    re.IGNORECASE | re.ASCII,
)


def replace_addresses(text: str) -> str:
    """The text with postal addresses replaced by their mark.

    >>> replace_addresses("寄到广东省深圳市南山区科技园路12号3栋501室"), replace_addresses("221B Baker Street, London NW1 6XE")
    ('寄到<address>', '<address>')
    """
    if not text.isascii():
        text = _chinese(text)
    text = _ENGLISH.sub(_english, text)
    if "ox " in text or "OX " in text:
        text = _BOX.sub(ADDRESS, text)
    return _NAMED_POSTCODE.sub(lambda match: (match[1] or match[3]) + ADDRESS, text)


def _chinese(text: str) -> str:
    pieces: list[str] = []
    kept = 0
    for door in _DOOR.finditer(text):
        if door.start() < kept:
            continue
        window = text[max(kept, door.start() - _WINDOW) : door.start() + 1]
        if not _NAMED.search(window, len(window) - 3):
            continue
        end, parts = _end(text, door.end())
        if door["estate"] and not parts:
            continue
        lead = _last(_LEADS, window[:-1])
        region = _REGION.search(window, lead)
        said = _SAYS_SO.search(window) is not None
        if door["road"]:
            whole = (
                region is not None or said or parts > 0 or (_STREET_ALONE.search(window) is not None and not _NOT_AFTER.match(text, end))
            )
        else:
            whole = region is not None or said or (door["estate"] in _ENDS_OF_ESTATES and _ROOM.search(text[door.end() : end]) is not None)
        if not whole:
            continue
        begin = door.start() + 1 - len(window) + (region.start() if region else _name_begin(window, lead))
        pieces += (text[kept:begin], ADDRESS)
        kept = end
    pieces.append(text[kept:])
    return "".join(pieces)


def _end(text: str, end: int) -> tuple[int, int]:
    """Where the address ends whose house ends here, and how many parts (building, entrance, floor, room) come before that."""
    parts = 0
    while parts < 6:
        building = _BUILDING.match(text, end)
        rest = _REST.match(text, building.end() if building else end)
        if not rest:
            break
        end = rest.end()
        parts += 1
    return end, parts


def _last(pattern: re.Pattern[str], text: str) -> int:
    """Where the last match ends; 0 if there is none."""
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return end


def _name_begin(window: str, lead: int) -> int:
    """Where the name of a road or an estate begins that follows no town: after what leads to it, at most eight characters back."""
    row = re.search(rf"[{_HAN}A-Za-z0-9]{{1,8}}\Z", window[lead:])
    return lead + row.start() if row else len(window) - 1


def _english(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 40) : match.start()]
    if match["tail"] or match["unit"] or match["first"] or _ENGLISH_SAYS_SO.search(before):
        return ADDRESS
    return match.group()

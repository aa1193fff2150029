"""Numbers of one person's papers and things, where the text says what they are: passports, orders, bank accounts, licence plates.

The word that says so stays, and what follows it goes. Chinese licence plates need no word, since hardly anything else has their form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from typing import NamedTuple

from streams.privacy.kinds import mark

_LABEL = r"(?: ?(?:号码|编号|单号|号|码|#|(?:no\.?|nr\.?|number|num\.?|id|code|ref(?:erence)?\.?)(?![a-z]|\d{1,2}[a-z])))?"
_SEPARATOR = r" ?(?:[:=#]|是|为|is(?![a-z]))?[ #]{0,2}"
_END = r"(?![A-Za-z0-9]|[\-.]\d)"


class _Rule(NamedTuple):
    kind: str
    pattern: re.Pattern[str]
    """Group 1 is the word that says so, group 2 the number."""
    fits: Callable[[str, str], bool]
    """Of both groups."""
    parts: tuple[str, ...]
    """Without one of these, the pattern need not be tried."""


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _is_document(_: str, number: str) -> bool:
    return 6 <= _digits(number) <= 18


def _is_order(word: str, number: str) -> bool:
    """A bare "order" or "tracking" needs a longer number than one that is called an order number."""
    return _digits(number) >= (6 if _SAYS_NUMBER.search(word) else 8)


def _is_plate(_: str, number: str) -> bool:
    size = len(re.sub(r"[ \-.]", "", number))
    return 4 <= size <= 8 and 1 <= _digits(number) <= size - 1


_SAYS_NUMBER = re.compile(r"[号码单]|no\.?|nr|num|id|code|ref|#|:", re.IGNORECASE)


def _rule(kind: str, words: str, number: str, fits: Callable[[str, str], bool], parts: str) -> _Rule:
    pattern = re.compile(rf"((?:{words}){_LABEL}{_SEPARATOR})({number}){_END}", re.IGNORECASE | re.ASCII)
    return _Rule(kind, pattern, fits, tuple(parts.split()))


_RULES = (
    _rule(
        "document",
        r"护照|通行证|回乡证|台胞证|台湾证|港澳证|签证|身份证件?|居住证|驾驶证|驾照|军官证|士兵证|社保|证件|(?<![a-z])(?:passport"
        r"|travel document|id card|identity card"
        r"|identity|national id|visa|driv(?:er'?s?|ing) licen[cs]e|residence permit|social security|ssn|national insurance|nino)",
        r"[A-Z]{0,3}[ \-]?\d{6,18}(?:\(\d{1,2}\))?[A-Z]?|\d{3}[\- ]\d{2}[\- ]\d{4}|[A-Z]{2}(?: ?\d{2}){3} ?[A-D]"
        r"|[A-Z9]{5}\d{6}[A-Z0-9]{5}|[A-Z]{1,2}\d{3}[ \-]?\d{3}[ \-]?\d{3}",
        _is_document,
        "证 护照 驾照 社保 passport document card identity visa licen permit social ssn insurance nino",
    ),
    _rule(
        "card",
        r"银行卡|卡号|账号|帐号|账户|帐户|银联|借记卡|信用卡|储蓄卡|(?<![a-z])(?:account|acct|bank card|card (?:no|number)|debit card"
        r"|credit card|unionpay)",
        r"\d(?:[ \-]?\d){11,20}",
        lambda _, number: True,
        "卡 账 帐 银联 account acct card unionpay",
    ),
    _rule(
        "order",
        r"(?:订|运|快递|物流|交易|流水|退款|退货|发票|包裹|快件|顺丰|圆通|中通|申通|韵达|邮政|极兔|京东|ems)(?:单|编)?(?=号|编|码|单"
        r"| ?:)|订单|单号"
        r"|(?<![a-z])(?:order|tracking|track|shipment|parcel|waybill|awb|consignment|invoice|refund|rma|ups|fedex|dhl"
        r"|usps)(?: (?:order|tracking))?",
        r"[A-Z]{0,4}-?\d[A-Z0-9]*(?:-[A-Z0-9]+){0,4}(?: \d{4}){0,5}(?: \d{2})?",
        _is_order,
        "单 号 编 码 order track shipment parcel waybill awb consignment invoice refund rma ups fedex dhl ems 顺丰 圆通 中通 申通 "
        "韵达 邮政 极兔 京东 快递 物流 包裹",
    ),
    _rule(
        "plate",
        r"(?<![a-z])(?:licen[cs]e|number|registration|reg) plate|(?<![a-z])(?:vehicle|car) reg(?:istration)?|车牌"
        r"|(?<![a-z])plate (?:no|number)",
        r"[A-Z]{2}\d{2}[ \-][A-Z]{3}|[A-Z]{1,3}[ \-]\d{2,4}[A-Z]?|[A-Z]{1,3}[ \-][A-Z]{1,2}[ \-]?\d{1,4}"
        r"|\d{1,3}[ \-][A-Z]{2,3}(?:[ \-]\d{1,3})?|[A-Z0-9]{5,8}",
        _is_plate,
        "plate vehicle reg 车牌",
    ),
)

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_CHINESE_PLATE = re.compile(
    rf"(?P<before>车牌号?码?[: 是为]{{0,2}})?(?P<plate>[{_PROVINCES}][A-HJ-NP-Z][ .\-]?(?P<rest>[A-HJ-NP-Z0-9]{{5,6}}"
    rf"(?:[挂学警港澳])?))(?![A-Za-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_GREEN = re.compile(r"[A-K][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-K]", re.IGNORECASE | re.ASCII)
"""Six characters of an electric car."""


def replace_papers(text: str, off: Set[str]) -> str:
    """The text with such numbers replaced by the marks of their kinds, those but for ``off``.

    >>> replace_papers("护照 E12345678, order no. 112-7654321-0001234, 粤B12345", frozenset())
    '护照 <document>, order no. <order>, <plate>'
    """
    contains = text.lower().__contains__
    for rule in _RULES:
        if rule.kind not in off and any(map(contains, rule.parts)):
            text = rule.pattern.sub(lambda match, rule=rule: _replaced(rule, match), text)  # type: ignore[misc]
    return text if "plate" in off else _CHINESE_PLATE.sub(_chinese_plate, text)


def _replaced(rule: _Rule, match: re.Match[str]) -> str:
    return match[1] + mark(rule.kind) if rule.fits(match[1], match[2]) else match.group()


def _chinese_plate(match: re.Match[str]) -> str:
    rest = match["rest"].rstrip("挂学警港澳")
    letters = len(rest) - _digits(rest)
    if match["before"] is None:
        first = match["plate"][0]
        after_word = match.start() > 0 and match.string[match.start() - 1].isalpha()
        # "全新ES300H" and "new 新GS8800" are cars for sale.
        if match["plate"].upper() != match["plate"] or letters > (1 if first == "新" else 2) or (after_word and first == "新"):
            return match.group()
    if not (_GREEN.fullmatch(rest) if len(rest) == 6 else letters < 5):
        return match.group()
    return (match["before"] or "") + mark("plate")

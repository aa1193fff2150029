"""The first look at a text: whether it may hold personal data at all. Most texts of a shop end here, and cost no more than these searches.

Each says yes too often, never too seldom: what the other modules find must be found here first.
"""

from __future__ import annotations

import re

_glued = re.compile(r"[@:;(\[{<%_=#/]").search
"""What may stand between two words without a space."""
_NUMERALS = "〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_HARD = (
    r"A-Za-z@＠﹫:：%<(=\[_/#\d\u00b2\u00b3\u00b9\u2070-\u209c\u2460-\u24ff\u2776-\u2793\u3251-\u32bf"
    r"\uff03\uff05\uff08\uff0f\uff1c\uff1d\uff21-\uff5b\U0001d400-\U0001d7ff"
)
"""Digits in any guise, @, colons, brackets, letters."""
_hides_in_han = re.compile(
    # One class for all, so that the search skips what is not in it.
    rf"[{_HARD}{_NUMERALS}人名字叫](?:(?<=[{_HARD}])|(?<=[{_NUMERALS}])[ \-.]?[{_NUMERALS}十百号栋幢弄座组]"
    "|(?<=[件货系款收卡户]人)|(?<=[姓户]名)|(?<=名字)|(?<=我叫))"
).search
_DIGITS = re.compile(
    r"[0-9](?:(?:[ \t.\-()/+_]{0,3}[0-9]){6}|\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|(?=[a-z0-9_]{9})|(?<=[a-z0-9_]{10})|(?<=qq[0-9])"
    r"|(?<=[vw]x[0-9])|[a-z]? ?(?:[号栋幢弄室组座]|单元))",
    re.ASCII,
)
"""Rows of digits, IPv4 addresses, long words with digits as tokens are, houses of Chinese addresses."""
_COLON = re.compile(r"[0-9a-f]:[0-9a-f:]|::ffff")
_LATIN = re.compile(r"[a-z]+")
_NUMERAL = re.compile(rf"[{_NUMERALS}十百](?:(?:[ \-.]?[0-9{_NUMERALS}]){{6}}|[一二三四五六七八九十百]{{0,3}} ?[号栋幢弄座组])")
_PLATE = re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-z][ .\-]?[a-z0-9]{5}")
# What stands before is looked at behind, for rarer characters come last.
_HAN_NAMES = re.compile("人(?<=[件货系款收卡户]人)|名(?<=[姓户]名)|名字|叫(?<=我叫)|收[货件] ?[:=是为]|联系 ?[:=是为]")
_HAN_OTHERS = re.compile(
    "信(?<=[微威薇v]信)|加(?=[v微薇])|扣扣|抖音|快手|小红书|微博|陌陌|企鹅|电报|艾特|牌(?<=车牌)|证件|邮编|邮政编码|密钥|令牌"
)
"""Words after which letters or digits may be personal."""
_LATIN_OR_DIGIT = re.compile(r"[a-z0-9]")
_DIGIT = re.compile(r"[0-9]")


def _with_ends(words: str) -> frozenset[str]:
    """As they stand between spaces in a sentence."""
    return frozenset(word + end for word in words.split() for end in ("", ",", ".", "?", "!"))


_SAYS = _with_ends(
    "wechat chat weixin wxid wx vx qq telegram whatsapp whats skype line kakao kakaotalk snapchat viber signal instagram insta ig tg "
    "discord "
    "ship shipped shipping deliver delivered delivery send mail post recipient addressee consignee attn attention contact name at c/o"
)
"""Words after which a name or a handle may come."""
_NUMBERED = _with_ends(
    "po p plate reg registration code postcode zip zipcode passport ssn nino insurance licence license token bearer secret key me"
)
"""Words beside which a number may be personal."""
_STREETS = _with_ends(
    "street st str road rd avenue av ave lane ln drive dr boulevard blvd court ct place pl square sq terrace close crescent cres "
    "gardens grove highway hwy parkway "
    "pkwy way row walk hill mews quay circle cir trail rise view"
)


def may_hide(text: str) -> bool:
    """Whether a printable text that is not all ASCII, as it came, needs a closer look."""
    return _hides_in_han(text) is not None


def is_suspect(plain: str) -> bool:
    """Whether a normalised text may hold personal data."""
    low = plain.lower()
    is_ascii = low.isascii()
    if is_ascii and low.replace(" ", "").isalpha():
        return not _SAYS.isdisjoint(low.split())
    if _DIGITS.search(low) or "eyj" in low:
        return True
    glued = _glued(low)
    spaced = low.split()
    words = spaced if is_ascii and glued is None else _LATIN.findall(low)
    if not _SAYS.isdisjoint(words):
        return True
    if not (_NUMBERED.isdisjoint(words) and _STREETS.isdisjoint(spaced)) and _DIGIT.search(low):
        return True
    if glued and ("@" in low or "%40" in low or "%2540" in low or "c/o" in low or (":" in low and ("://" in low or _COLON.search(low)))):
        return True
    if is_ascii:
        return False
    if _HAN_NAMES.search(low) or _NUMERAL.search(low):
        return True
    return _LATIN_OR_DIGIT.search(low) is not None and (_HAN_OTHERS.search(low) or _PLATE.search(low)) is not None

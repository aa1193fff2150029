"""The first look at a text: whether it may hold personal data at all. Most texts of a shop end here, so these searches are all that they cost.

Each says yes too often, never too seldom: what the other modules find must be found here first.
"""

from __future__ import annotations

import re

_ODD = re.compile(r"[0-9@:(\[{<%_=#/]")
_HIDES = re.compile(
    r"[@＠﹫:：%<(=\[_/#\d\u00b2\u00b3\u00b9\u2070-\u209c\u2460-\u24ff\u2776-\u2793\u3251-\u32bf\uff03\uff05\uff08\uff0f\uff1c\uff1d\uff21-\uff5b]"
)
"""Digits in any guise, @, colons, brackets, full-width letters."""
_DIGITS = re.compile(
    r"[0-9](?:(?:[ \t.\-()/+_]{0,3}[0-9]){6}|\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[a-z]? ?(?:[号栋幢弄室组座]|单元))",
    re.ASCII,
)
"""Rows of digits, IPv4 addresses, houses of Chinese addresses."""
_COLON = re.compile(r"[0-9a-f]:[0-9a-f:]|::ffff")
_LONG = re.compile(r"(?<![a-z0-9_\-.])[a-z0-9_\-.]{20}")
"""As tokens are."""
_LATIN = re.compile(r"[a-z]+")
_HAN = re.compile(r"[\u3007\u4e00-\u9fff]")
_NUMERAL = re.compile(
    r"[〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖十百](?:(?:[ \-.]?[0-9〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖]){6}|[一二三四五六七八九十百]{0,3} ?[号栋幢弄座组])"
)
_PLATE = re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-z][ .\-]?[a-z0-9]{5}")
_HAN_WORDS = re.compile(
    # What stands before is looked at behind, for rarer characters come last.
    "信(?<=[微威薇v]信)|加(?=[v微薇])|扣扣|抖音|快手|小红书|微博|陌陌|企鹅|电报|艾特"
    "|人(?<=[件货系款收卡户]人)|名(?<=[姓户]名)|名字|叫(?<=我叫)|收[货件] ?[:=是为]|联系 ?[:=是为]|牌(?<=车牌)|证件|邮编|邮政编码|密钥|令牌"
)
_SAYS = frozenset(
    "wechat chat weixin wxid wx vx qq telegram whatsapp whats skype line kakao kakaotalk snapchat viber signal instagram insta ig tg discord "
    "ship shipped shipping deliver delivered delivery send mail post recipient addressee consignee attn attn. attention contact name at c/o".split()
)
"""Words after which a name or a handle may come."""
_NUMBERED = frozenset(
    "street st str road rd avenue av ave lane ln drive dr boulevard blvd court ct place pl square sq terrace close crescent cres gardens grove highway hwy parkway "
    "pkwy way row walk hill mews quay circle cir trail rise view po p plate reg registration code postcode zip zipcode passport ssn nino insurance licence "
    "license token bearer secret key me".split()
)
"""Words beside which a number may be personal."""


def may_hide(text: str) -> bool:
    """Whether a text, as it came, needs to be normalised for a closer look."""
    if text.isascii():
        return _ODD.search(text) is not None or not _SAYS.isdisjoint(text.lower().split())
    return _HIDES.search(text) is not None or _may_say(text.lower())


def is_suspect(plain: str) -> bool:
    """Whether a normalised text may hold personal data."""
    low = plain.lower()
    if _DIGITS.search(low) or "@" in low or "%40" in low or "%2540" in low or _may_say(low) or (len(low) >= 20 and _LONG.search(low)):
        return True
    if ":" in low and ("://" in low or _COLON.search(low)):
        return True
    return not low.isascii() and _PLATE.search(low) is not None


def _may_say(low: str) -> bool:
    words = _LATIN.findall(low)
    if words and not (_SAYS.isdisjoint(words) and _NUMBERED.isdisjoint(words)):
        return True
    if low.isascii() or not _HAN.search(low):
        return "c/o" in low
    return _HAN_WORDS.search(low) is not None or _NUMERAL.search(low) is not None

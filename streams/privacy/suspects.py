"""The first look at a text: whether it may hold personal data at all. Most texts of a shop end here, so these searches are all that they cost.

Each says yes too often, never too seldom: what the other modules find must be found here first.
"""

from __future__ import annotations

import re

_FULL_WIDTH = r"\uff08\uff21-\uff5b"
_HIDES = re.compile(rf"[@＠﹫:：\d\u00b2\u00b3\u00b9\u2070-\u209c\u2460-\u24ff\u2776-\u2793\u3251-\u32bf{_FULL_WIDTH}]")
"""Digits in any guise, @, colons and full-width letters."""
_DIGITS = re.compile(
    r"[0-9](?:(?:[ \t.\-()/+_]{0,3}[0-9]){6}|\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
    r"|(?=[0-9a-f]{16})|(?<=[0-9a-f]{17})"
    r"|[a-z]? ?(?:[号栋幢弄室组座]|单元)"
    r"|[a-z]?,? (?:[a-z'.\-]{1,20} |[0-9]{1,3}[snrt][tdh] ){1,4}?(?:street|str?|road|rd|avenue|ave?|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|"
    r"close|cres|gardens|grove|highway|hwy|parkway|pkwy|way|row|walk|hill|mews|quay|circle|cir|trail|rise|view)(?![a-z]))",
    re.ASCII,
)
"""Rows of digits, IPv4 addresses, hexadecimal numbers, houses of Chinese and of English addresses."""
_COLON = re.compile(r"[0-9a-f]:[0-9a-f:]|::ffff")
_NUMERAL = re.compile(
    r"[〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖十百](?:(?:[ \-.]?[0-9〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖]){6}|[一二三四五六七八九十百]{0,3} ?[号栋幢弄座组])"
)
_PLATE = re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-z][ .\-]?[a-z0-9]{5}")
_WORDS = re.compile(
    # All begin with a letter, and few with frequent ones: so the search can skip most of a text. What stands before is looked at behind.
    r"x(?<=[vw]x)|xin(?<=weixin)|qq|wecha|we cha|whats|kype(?<=skype)|legram|me/(?<=[.]me/)"
    r"|kakao|viber|snapch|discord|line id|line@|g:(?<=[it]g:)|g :(?<=[it]g :)|insta"
    r"|cipient|consignee|ddressee|c/o|contact p|contact n|contact:|ttn(?<=attn)|ttention|me is(?<=name is)|me:(?<=name:)|me[ ]?[:=\-](?<=name.[:=\-])|hip(?<=ship)|liver"
    r"|plate(?:(?<=nse plate)|(?<=nce plate)|(?<=ber plate)|(?<=ion plate)|(?<=reg plate)|(?= n))|vehicle reg|car reg|licen|nsurance|ino(?<=nino)"
    r"|code(?:(?<=postcode)|(?<=post code)|(?<=zip code)|(?<=zipcode)|(?<=postal code))|box [0-9]"
    r"|eyj|%40|%2540|ken(?<=token)|bearer|cret(?<=secret)|key(?:(?<=api key)|(?<=apikey)|(?<=api_key)|(?<=api-key)|(?<=access key)|(?<=access_key)|(?<=accesskey))"
    r"|k[_\-](?<=[sr]k[_\-])|gh[oprsu]_|github_|glpat|akia|aiza|xox"
    r"|[(]at|[(] at|\[at|\[ at|\{at|\{ at|<at|_at_|dot (?<= dot )"
    "|信(?<=[微威薇v]信)|加(?=[v微薇])|扣扣|抖音|快手|小红书|微博|陌陌|企鹅|电报|艾特"
    "|人(?<=[件货系款收卡户]人)|名(?<=[姓户]名)|名字|叫(?<=我叫)|收[货件] ?[:=是为]|联系 ?[:=是为]|牌(?<=车牌)|证件|邮编|邮政编码|密钥|令牌"
)


def may_hide(text: str) -> bool:
    """Whether a text, as it came, needs to be normalised for a closer look."""
    return _HIDES.search(text) is not None or _may_say(text.lower())


def is_suspect(plain: str) -> bool:
    """Whether a normalised text may hold personal data."""
    low = plain.lower()
    if "@" in low or "://" in low or _DIGITS.search(low) or _may_say(low):
        return True
    if ":" in low and _COLON.search(low):
        return True
    return not low.isascii() and _PLATE.search(low) is not None


def _may_say(low: str) -> bool:
    return _WORDS.search(low) is not None or " to " in low or (not low.isascii() and _NUMERAL.search(low) is not None)

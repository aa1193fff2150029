"""Names under which people are found in messengers: WeChat, QQ, Telegram, WhatsApp and others, where the text says that it is one.

What stands after the messenger's name is a handle where a word, a colon or an @ says so. Without that it must look like one: for QQ a
number of five to eleven digits, else a word of six characters or more with a digit or an underscore in it.
"""

from __future__ import annotations

import re

from streams.privacy.kinds import mark

HANDLE = mark("handle")

_OWN_FORM = re.compile(
    r"(?<![A-Za-z0-9])(?:wxid_[A-Za-z0-9_\-]{6,40}|(?:t|telegram)\.me/[A-Za-z0-9_+]{4,40}|wa\.me/\+?\d{7,15}"
    r"|line\.me/(?:R/)?ti/p/[~@%\w\-]{3,40})",
    re.IGNORECASE | re.ASCII,
)
"""What needs nothing beside it."""
_APP = re.compile(
    r"(?P<known>[微威薇Vv]信|加[Vv微薇](?![信A-Za-z])|扣扣|(?<![A-Za-z0-9])(?:we ?chat|weixin|wx|vx|qq|telegram|whats ?app"
    r"|skype)(?![A-Za-z]))"
    r"|(?P<other>抖音|快手|小红书|微博|陌陌|企鹅|电报|(?<![A-Za-z0-9])(?:line|kakao(?: ?talk)?|snapchat|viber|signal|instagram|insta"
    r"|ig|tg|discord)(?![A-Za-z]))",
    re.IGNORECASE,
)
_PARTS = (
    *(
        "信",
        "加",
        "扣扣",
        "抖音",
        "快手",
        "红书",
        "微博",
        "陌陌",
        "企鹅",
        "电报",
        "chat",
        "weixin",
        "wx",
        "vx",
        "qq",
        "telegram",
        "whats",
        "skype",
        "line",
        "kakao",
        "viber",
    ),
    *("signal", "insta", "ig", "tg", "discord", ".me/"),
)
"""Without one of these, no pattern need be tried."""
_SAYS_SO = re.compile(
    r" ?(?:(?:my )?(?:id|user ?name|handle|account|number|no\.?|name)(?![a-z])|号码|账号|帐号|用户名|[Qq]?群号?|号|ID)? {0,2}"
    r"(?:[:=~@#]|->|是|为|搜索?|加我?|is(?![a-z])|at(?![a-z]))? {0,2}[@~]?",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[.\-][A-Za-z0-9_]+){0,3}|\+?\d{5,15}", re.ASCII)
_MARKED = re.compile(r"[\d_]", re.ASCII)
_GOODS = re.compile(
    r"(?:i?phone|i?pad|ipod|mate|note|redmi|galaxy|huawei|xiaomi|oppo|vivo|honor|win(?:dows)?|android|ios|mac(?:book)?|wifi|usb|type"
    r"|mp)[\d_\-]",
    re.IGNORECASE,
)
_COUNTED = re.compile(r" ?(?:[点币元级个枚张套颗粒积天条万块包]|points?|coins?|pcs)", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_HANDLE = _words(
    "account android business desktop friends group iphone message messenger mobile music official online payment phone sticker "
    "stickers support video wallet windows wechat weixin whatsapp telegram skype number login scan qrcode emoji premium service "
    "download"
)
_LONGEST = 40


def replace_handles(text: str) -> str:
    """The text with handles replaced by their mark; the messenger's name stays.

    >>> replace_handles("加微信 anna_shop88 优惠, QQ:123456789"), replace_handles("wechat gift card")
    ('加微信 <handle> 优惠, QQ:<handle>', 'wechat gift card')
    """
    if not any(map(text.lower().__contains__, _PARTS)):
        return text
    text = _OWN_FORM.sub(HANDLE, text)
    pieces: list[str] = []
    kept = 0
    for app in _APP.finditer(text):
        if app.start() < kept:
            continue
        says = _SAYS_SO.match(text, app.end())
        begin = says.end() if says else app.end()
        value = _VALUE.match(text, begin, begin + _LONGEST)
        if value and _is_handle(app, says.group().strip() if says else "", value, text):
            pieces += (text[kept:begin], HANDLE)
            kept = value.end()
    pieces.append(text[kept:])
    return "".join(pieces)


def _is_handle(app: re.Match[str], says: str, value: re.Match[str], text: str) -> bool:
    word = value.group()
    end = value.end()
    if word.lower() in _NO_HANDLE or (end < len(text) and (text[end] == "@" or (text[end].isalnum() and text[end].isascii()))):
        return False
    if word[-1].isdigit() and word.lstrip("+").isdigit():
        # A number of coins or points is none of a person, nor is QQ12345 or WX12345 as an article's number.
        if not says and value.start() == app.end() and len(word) < 6:
            return False
        return bool(app["known"] or says) and not _COUNTED.match(text, end) and (says != "" or len(word) <= 12)
    if says and (app["known"] or says[-1] in ":@~=#" or len(says) > 1 or says == "号"):
        return len(word) >= 5 or (len(word) >= 3 and _MARKED.search(word) is not None)
    return bool(app["known"]) and len(word) >= 6 and _MARKED.search(word) is not None and not _GOODS.match(word)

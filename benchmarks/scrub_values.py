"""Made-up personal data of every kind, for the benchmark of scrubbing. Nothing here is shared with the scrubber: check digits, formats and
words are this file's own."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Callable
from random import Random
from urllib.parse import quote


def words(text: str) -> list[str]:
    return text.split()


DIGITS = "0123456789"
SURNAMES = words(
    "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗 梁 宋 郑 谢 韩 唐 冯 于 董 萧 程 曹 袁 邓 许 傅 沈 曾 彭 吕 苏 卢 蒋 蔡 贾 丁 魏 薛 叶 阎 欧阳 司马 上官"
)
GIVEN = words(
    "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 霞 平 刚 桂英 建国 志强 秀兰 晓明 雨桐 子涵 浩然 欣怡 梓萱 俊杰 思远 嘉怡 文博 若曦 海燕 国栋 淑珍"
)
FIRST = words(
    "Anna James Maria Oliver Sophie Thomas Emma Lukas Priya Carlos Yuki Fatima Peter Chloe Daniel Ingrid Mohammed Katarzyna George Nina"
)
LAST = words(
    "Schmidt Miller Garcia Smith Dubois Rossi Nowak Johnson Patel Tanaka O'Brien Andersson Taylor Fischer Williams Kaya Hughes Novak Bennett Lopez-Ruiz"
)
CITIES = [
    ("广东省", "深圳市", "南山区"), ("浙江省", "杭州市", "西湖区"), ("江苏省", "南京市", "鼓楼区"), ("四川省", "成都市", "武侯区"), ("", "北京市", "朝阳区"),
    ("", "上海市", "浦东新区"), ("湖北省", "武汉市", "洪山区"), ("福建省", "厦门市", "思明区"), ("河南省", "郑州市", "金水区"), ("广西壮族自治区", "南宁市", "青秀区"),
    ("山东", "青岛市", "市南区"), ("辽宁省", "大连市", "甘井子区"),
]  # fmt: skip
ROADS = words("建设路 科技园南路 中山北路 人民大道 文化街 解放西路 长安街 学院路 和平巷 滨江东路 天府大道 五一路 珞喻路")
ESTATES = words("阳光花园 万科城 翠湖小区 金色家园 锦绣苑 紫荆公寓 时代广场 碧桂园")
STREETS = [
    "Baker Street",
    "Maple Avenue",
    "Station Road",
    "High St",
    "Elm Drive",
    "King's Road",
    "Oak Lane",
    "Sunset Blvd",
    "Victoria Terrace",
    "Mill Close",
    "5th Avenue",
    "St John's Hill",
]
UK = [
    ("London", "NW1 6XE"),
    ("Leeds", "LS1 4DY"),
    ("Bristol", "BS8 1TH"),
    ("Glasgow", "G12 8QQ"),
    ("Oxford", "OX1 3PN"),
    ("London", "EC1A 1BB"),
]
US = [
    ("Springfield, IL", "62704"),
    ("Austin, TX", "78701"),
    ("Portland, OR", "97205-1234"),
    ("San Jose, CA", "95112"),
    ("Brooklyn, NY", "11201"),
]


def digits(draw: Random, count: int) -> str:
    return "".join(draw.choices(DIGITS, k=count))


def grouped(number: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, begin = [], 0
    for size in sizes:
        parts.append(number[begin : begin + size])
        begin += size
    return separator.join([*parts, *([number[begin:]] if number[begin:] else [])])


def word(draw: Random, least: int, most: int) -> str:
    syllables = words("ba ko mi lu ren sha to vi ne da fo gi hu jin wei xia")
    text = ""
    while len(text) < least:
        text += draw.choice(syllables)
    return text[:most]


def chinese_mobile(draw: Random) -> str:
    number = "1" + draw.choice("3456789") + digits(draw, 9)
    form = draw.choice(["plain", "plain", "spaces", "dashes", "country"])
    if form == "country":
        return draw.choice(["+86 ", "+86", "0086"]) + number
    return number if form == "plain" else grouped(number, (3, 4, 4), " " if form == "spaces" else "-")


def phone(draw: Random) -> str:
    some = "".join(draw.choices("23456789", k=3))
    forms: list[Callable[[], str]] = [
        lambda: chinese_mobile(draw),
        lambda: chinese_mobile(draw),
        lambda: draw.choice(["010", "021", "0755", "0571", "028"]) + "-" + draw.choice("2345678") + digits(draw, 7),
        lambda: f"+1 {some} {draw.choice('23456789')}{digits(draw, 2)} {digits(draw, 4)}",
        lambda: f"({some}) {draw.choice('23456789')}{digits(draw, 2)}-{digits(draw, 4)}",
        lambda: f"+49 17{draw.choice(DIGITS)} {digits(draw, 7)}",
        lambda: f"+44 7{digits(draw, 3)} {digits(draw, 6)}",
        lambda: f"07{digits(draw, 3)} {digits(draw, 6)}",
        lambda: f"+33 6 {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)}",
        lambda: f"400-{digits(draw, 3)}-{digits(draw, 4)}",
    ]
    return draw.choice(forms)()


def resident_id(draw: Random) -> str:
    body = draw.choice(["110105", "440305", "310115", "510107", "330106", "420111"])
    body += f"{draw.randint(1940, 2010)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}{digits(draw, 3)}"
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(body))
    number = body + "10X98765432"[total % 11]
    return number if draw.random() < 0.8 else grouped(number, (6, 8), " ")


def luhn_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(draw: Random) -> str:
    begin, size = draw.choice([("4", 16), ("5" + draw.choice("12345"), 16), ("37", 15), ("62", 16), ("62", 19), ("35", 16)])
    body = begin + digits(draw, size - len(begin) - 1)
    number = body + luhn_digit(body)
    if size == 15:
        return grouped(number, (4, 6), " ") if draw.random() < 0.5 else number
    return draw.choice([number, grouped(number, (4, 4, 4, 4), " "), grouped(number, (4, 4, 4, 4), "-")])


def union_pay(draw: Random) -> str:
    """19 digits or sixteen in fours, whatever their check digit."""
    if draw.random() < 0.5:
        return "62" + digits(draw, 17)
    return grouped("62" + digits(draw, draw.choice([14, 17])), (4, 4, 4, 4), " ")


def email(draw: Random) -> str:
    local = draw.choice(
        [word(draw, 4, 12), f"{word(draw, 3, 8)}.{word(draw, 3, 9)}", f"{word(draw, 3, 8)}_{digits(draw, 2)}", digits(draw, 9)]
    )
    return local + "@" + domain(draw)


def domain(draw: Random) -> str:
    return draw.choice(["qq.com", "163.com", "gmail.com", "example.org", "mail.uni-ulm.de", "firma.co.uk", f"{word(draw, 4, 9)}.cn"])


def spelled_email(draw: Random) -> str:
    local, host = word(draw, 5, 12), domain(draw)
    at = draw.choice(["(at)", " (at) ", "[at]", " [at] ", " at "])
    dot = {" at ": " dot ", "[at]": "[dot]", " [at] ": " [dot] ", " (at) ": " (dot) "}.get(at, draw.choice([".", "(dot)"]))
    if at in ("(at)", "[at]") and draw.random() < 0.5:
        dot = "."
    return local + at + host.replace(".", dot)


def chinese_spelled_email(draw: Random) -> str:
    return (
        draw.choice([word(draw, 5, 10), digits(draw, 9)]) + draw.choice(["艾特", "(at)"]) + draw.choice(["qq点com", "163.com", "126点com"])
    )


def percent_email(draw: Random) -> str:
    return quote(email(draw), safe="")


def ip(draw: Random) -> str:
    if draw.random() < 0.6:
        return str(ipaddress.IPv4Address(draw.randrange(0x0B000000, 0xDF000000)))
    return str(ipaddress.IPv6Address((0x2001_0DB8 << 96) | draw.getrandbits(64)))


def mapped_ip(draw: Random) -> str:
    four = ipaddress.IPv4Address(draw.randrange(0x0B000000, 0xDF000000))
    value = int(four)
    return draw.choice(
        [f"::ffff:{four}", f"::FFFF:{four}", f"::ffff:{value >> 16:x}:{value & 0xFFFF:x}", f"64:ff9b::{four}", f"0:0:0:0:0:ffff:{four}"]
    )


def url(draw: Random) -> str:
    host = f"{word(draw, 4, 9)}.example"
    return draw.choice(
        [
            f"https://{word(draw, 4, 8)}:{word(draw, 5, 9)}{digits(draw, 2)}@{host}/files",
            f"https://{host}/reset?token={word(draw, 8, 14)}{digits(draw, 4)}",
            f"http://{host}/cart?id=7&session={digits(draw, 12)}",
            f"https://{host}/login#access_token={word(draw, 10, 16)}{digits(draw, 5)}",
        ]
    )


def we_chat(draw: Random) -> str:
    return draw.choice(
        [
            f"{word(draw, 4, 8)}_{digits(draw, 3)}",
            f"{word(draw, 5, 9)}{digits(draw, 2)}",
            f"wxid_{word(draw, 4, 6)}{digits(draw, 8)}",
            f"{word(draw, 3, 6)}-{digits(draw, 4)}",
        ]
    )


def qq(draw: Random) -> str:
    return draw.choice(DIGITS[1:]) + digits(draw, draw.randint(5, 9))


def chat_name(draw: Random) -> str:
    return draw.choice(
        [f"{word(draw, 5, 10)}", f"@{word(draw, 5, 10)}", f"{word(draw, 4, 8)}_{word(draw, 3, 6)}", f"{word(draw, 5, 9)}{digits(draw, 3)}"]
    )


def chinese_address(draw: Random) -> str:
    province, city, district = draw.choice(CITIES)
    number = draw.randint(1, 999)
    road = f"{draw.choice(ROADS)}{number}号"
    estate = f"{draw.choice(ESTATES)}{draw.randint(1, 30)}{draw.choice(['栋', '幢', '号楼', '座'])}"
    room = draw.choice(
        [
            f"{draw.randint(1, 6)}单元{draw.randint(1, 30)}0{draw.randint(1, 8)}室",
            f"{draw.randint(1, 30)}0{draw.randint(1, 8)}室",
            f"{draw.randint(1, 30)}0{draw.randint(1, 8)}",
            f"{draw.randint(2, 30)}楼",
        ]
    )
    region = draw.choice(
        [province + city + district, city + district, district, f"{province}{city}{district}{draw.choice(['桃源街道', '南头镇', ''])}"]
    )
    return draw.choice(
        [
            region + road,
            region + road + estate + room,
            region + estate + room,
            f"{region} {road} {estate}{room}",
            road + estate + room,
            f"{region}{road}{draw.randint(1, 20)}栋{room}",
        ]
    )


def english_address(draw: Random) -> str:
    number = f"{draw.randint(1, 999)}{draw.choice(['', '', '', 'b'])}"
    street = draw.choice(STREETS)
    city, code = draw.choice(UK + US)
    unit = draw.choice(["", "", "Apt 4B, ", "Flat 12, ", "Suite 300, "])
    text = f"{number} {street}, {unit}{city} {code}" if draw.random() < 0.7 else f"{number} {street}, {city}, {code}"
    return text.lower() if draw.random() < 0.4 else text


def chinese_name(draw: Random) -> str:
    return draw.choice(SURNAMES) + draw.choice(GIVEN)


def english_name(draw: Random) -> str:
    return draw.choice(["", "", "", "Mr ", "Ms. "]) + f"{draw.choice(FIRST)} {draw.choice(['', '', 'J. '])}{draw.choice(LAST)}"


PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def chinese_plate(draw: Random) -> str:
    begin = draw.choice("京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋陕吉闽贵粤青藏川琼") + draw.choice(PLATE_LETTERS[:12])
    if draw.random() < 0.3:
        rest = draw.choice("DF") + draw.choice(PLATE_LETTERS + DIGITS) + digits(draw, 4)
    else:
        rest = list(digits(draw, 5))
        for place in draw.sample(range(5), draw.choice([0, 1, 1, 2])):
            rest[place] = draw.choice(PLATE_LETTERS)
        rest = "".join(rest)
    return begin + draw.choice(["", "", "·", " "]) + rest


def english_plate(draw: Random) -> str:
    letters = lambda count: "".join(draw.choices(PLATE_LETTERS, k=count))  # noqa: E731
    return draw.choice(
        [
            f"{letters(2)}{digits(draw, 2)} {letters(3)}",
            f"{draw.choice(DIGITS)}{letters(3)}{digits(draw, 3)}",
            f"{letters(3)}-{digits(draw, 4)}",
            f"{letters(2)}{digits(draw, 2)}{letters(3)}",
        ]
    )


def document(draw: Random) -> str:
    return draw.choice(
        [
            draw.choice("EGDSP") + digits(draw, 8),
            "E" + draw.choice("ABCDEFGH") + digits(draw, 7),
            digits(draw, 9),
            draw.choice("HM") + digits(draw, 8),
            draw.choice("HM") + digits(draw, 10),
            digits(draw, 8),
        ]
    )


def order(draw: Random) -> str:
    return draw.choice(
        [
            "SF" + digits(draw, 13), "YT" + digits(draw, 13), "JD" + digits(draw, 13), "1Z999AA1" + digits(draw, 10), digits(draw, 12), f"{digits(draw, 3)}-{digits(draw, 7)}-{digits(draw, 7)}",
            "2026" + digits(draw, 14), f"RR{digits(draw, 9)}CN", "ORD-" + digits(draw, 8),
        ]
    )  # fmt: skip


def token(draw: Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    web_token = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': digits(draw, 8), 'name': word(draw, 4, 8)})}.{base64.urlsafe_b64encode(draw.randbytes(32)).decode().rstrip('=')}"
    return draw.choice(
        [
            web_token,
            draw.randbytes(16).hex(),
            draw.randbytes(32).hex(),
            draw.randbytes(20).hex().upper(),
            "ghp_" + base64.b32encode(draw.randbytes(22)).decode().rstrip("="),
        ]
    )


def numeral_phone(draw: Random) -> str:
    number = "1" + draw.choice("3456789") + digits(draw, 9)
    names = draw.choice(["零一二三四五六七八九", "〇一二三四五六七八九", "零幺二三四五六七八九", "零壹贰叁肆伍陆柒捌玖"])
    text = number.translate(str.maketrans(DIGITS, names))
    return grouped(text, (3, 4, 4), draw.choice(["", "", " ", "-"]))


def local_phone(draw: Random) -> str:
    first = draw.choice("2345678")
    return draw.choice(
        [
            f"{first}{digits(draw, 7)}",
            f"{first}{digits(draw, 2)}-{digits(draw, 4)}",
            f"{first}{digits(draw, 6)}",
            f"{first}{digits(draw, 3)}-{digits(draw, 4)}",
        ]
    )

"""A few thousand items with plausible titles in English and Chinese. Each has the traits that shoppers' tastes refer to."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

# category: (English, Chinese, [(English type, Chinese type)], price from, price to)
_CATEGORIES: tuple[tuple[str, str, tuple[tuple[str, str], ...], float, float], ...] = (
    ("Shoes", "鞋靴", (("running shoes", "跑步鞋"), ("hiking boots", "登山靴"), ("canvas sneakers", "帆布鞋"), ("sandals", "凉鞋")), 25, 160),
    ("Bags", "箱包", (("backpack", "双肩包"), ("tote bag", "托特包"), ("suitcase", "行李箱"), ("wallet", "钱包")), 15, 220),
    ("Audio", "影音", (("wireless headphones", "无线耳机"), ("bluetooth speaker", "蓝牙音箱"), ("soundbar", "回音壁"), ("turntable", "黑胶唱机")), 30, 400),
    ("Kitchen", "厨具", (("frying pan", "平底锅"), ("teapot", "茶壶"), ("chef knife", "菜刀"), ("coffee grinder", "咖啡磨豆机")), 12, 140),
    ("Garden", "园艺", (("watering can", "浇水壶"), ("plant pot", "花盆"), ("pruning shears", "修枝剪"), ("garden lantern", "庭院灯")), 8, 90),
    ("Toys", "玩具", (("building blocks", "积木"), ("jigsaw puzzle", "拼图"), ("plush bear", "毛绒熊"), ("model train", "火车模型")), 9, 120),
    ("Stationery", "文具", (("fountain pen", "钢笔"), ("notebook", "笔记本"), ("desk organiser", "桌面收纳盒"), ("watercolour set", "水彩颜料")), 4, 70),
    ("Lighting", "灯具", (("desk lamp", "台灯"), ("pendant light", "吊灯"), ("string lights", "串灯"), ("candle holder", "烛台")), 10, 180),
    ("Sports", "运动", (("yoga mat", "瑜伽垫"), ("badminton racket", "羽毛球拍"), ("dumbbell set", "哑铃"), ("cycling helmet", "骑行头盔")), 14, 150),
    ("Bedding", "家纺", (("duvet cover", "被套"), ("throw blanket", "盖毯"), ("pillow", "枕头"), ("linen curtain", "亚麻窗帘")), 15, 160),
    ("Beauty", "美妆", (("face cream", "面霜"), ("lip balm", "润唇膏"), ("hair dryer", "吹风机"), ("perfume", "香水")), 6, 130),
    ("Tea", "茶饮", (("green tea", "绿茶"), ("oolong tea", "乌龙茶"), ("herbal infusion", "花草茶"), ("matcha powder", "抹茶粉")), 5, 60),
    ("Clothing", "服饰", (("rain jacket", "冲锋衣"), ("wool sweater", "羊毛衫"), ("linen shirt", "亚麻衬衫"), ("denim jeans", "牛仔裤")), 18, 200),
)  # fmt: skip
_STYLES = (
    ("vintage", "复古"), ("minimalist", "极简"), ("floral", "碎花"), ("retro red", "复古红"), ("Nordic", "北欧"), ("rustic", "田园"),
    ("bamboo", "竹制"), ("lightweight", "轻便"), ("handmade", "手工"), ("waterproof", "防水"), ("classic black", "经典黑"), ("pastel", "马卡龙色"),
)  # fmt: skip
_BRANDS = (
    ("Alderlane", "桤木巷"), ("Kitefold", "折鸢"), ("Mirabay", "米拉湾"), ("Northpine", "北松"), ("Yunhe", "云禾"), ("Quillmoor", "羽泽"),
    ("Santori", "三鸟"), ("Lumenta", "流明"), ("Baicao", "百草"), ("Tidewell", "潮井"),
)  # fmt: skip
_SIZES = ("", "small", "large", "set of 2", "gift box", "pro", "mini")
_SIZES_ZH = ("", "小号", "大号", "两件套", "礼盒装", "专业版", "迷你")


@dataclass(frozen=True, slots=True)
class Traits:
    """What a taste is about."""

    kind: int
    """Type of product, over all categories."""
    category: int
    style: int
    brand: int


@dataclass(frozen=True, slots=True)
class ShopItem:
    """An item, its traits, and the words shoppers use for it."""

    item_id: str
    title: str
    chinese: bool
    traits: Traits
    popularity: float
    """Share of organic attention, by Zipf's law."""
    value: dict[str, Any]
    """Its record for catalogue.items."""


def kinds() -> list[tuple[int, str, str]]:
    """All types of product: category, English name, Chinese name."""
    return [(number, english, chinese) for number, category in enumerate(_CATEGORIES) for english, chinese in category[2]]


def style_names(style: int) -> tuple[str, str]:
    """English and Chinese name of a style."""
    return _STYLES[style]


STYLES = len(_STYLES)
BRANDS = len(_BRANDS)


def make_catalogue(count: int, rng: random.Random) -> list[ShopItem]:
    """``count`` items with different titles, about half of them Chinese. Raises ValueError if there are not so many titles."""
    combinations = [(k, s, b, z) for k in range(len(kinds())) for s in range(STYLES) for b in range(BRANDS) for z in range(len(_SIZES))]
    if count > len(combinations):
        raise ValueError(f"at most {len(combinations)} items have titles of their own")
    rng.shuffle(combinations)
    ranks = list(range(1, count + 1))
    rng.shuffle(ranks)
    items: list[ShopItem] = []
    for number, ((kind, style, brand, size), rank) in enumerate(zip(combinations[:count], ranks, strict=True)):
        category, english, chinese = kinds()[kind]
        is_chinese = rng.random() < 0.5
        if is_chinese:
            title = f"{_BRANDS[brand][1]} {_STYLES[style][1]}{chinese} {_SIZES_ZH[size]}".strip()
        else:
            title = f"{_BRANDS[brand][0]} {_STYLES[style][0]} {english} {_SIZES[size]}".strip()
        name_en, name_zh, _, low, high = _CATEGORIES[category]
        item_id = f"{'C' if is_chinese else 'E'}{number:05d}"
        value: dict[str, Any] = {
            "item_id": item_id,
            "title": title,
            "category": name_zh if is_chinese else name_en,
            "brand": _BRANDS[brand][1 if is_chinese else 0],
            "description": None,
            "price": round(low + (high - low) * rng.random() ** 2, 2),
            "currency": "CNY" if is_chinese else "EUR",
            "in_stock": rng.random() > 0.03,
            "blocked": rng.random() < 0.01,
            "tags": [],
            "updated_at": None,
        }
        items.append(ShopItem(item_id, title, is_chinese, Traits(kind, category, style, brand), 1.0 / rank**0.7, value))
    return items

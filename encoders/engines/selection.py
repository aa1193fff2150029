"""Chooses the engine: tries all on this machine, and takes the fastest whose vectors are close enough to those of fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from encoders.engines.engine import Vectors

LARGEST_ERROR = 1e-3
"""Most that a vector's cosine with that of fp32 may lack of 1."""
_ROUNDS = 3
_ENOUGH_S = 0.3

TEXTS = (
    "red silk scarf",
    "",
    "x",
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "Set of 6 glass storage jars with bamboo lids, airtight, dishwasher safe, 0.5 l to 2 l",
    "无线蓝牙耳机 主动降噪 超长续航 运动跑步",
    "女士羊毛大衣 中长款 双排扣 秋冬新款 驼色",
    "儿童积木玩具 大颗粒 3-6岁 益智拼装",
    "苹果手机壳 iPhone 15 Pro 磁吸 透明 防摔",
    "usb-c charger 65w gan 3 ports",
    "Men's trail running shoes, waterproof membrane, size 44, black/lime 🏃",
    "vintage enamel mug",
    "Espresso machine with grinder. 15 bar pump, 2.5 l tank, milk frother. Stainless steel housing; easy to clean. Includes two baskets "
    "and a tamper. Spare parts are available for ten years. Weight 9.2 kg, cable 1.1 m, 1450 W, 230 V.",
    "ISBN 978-3-16-148410-0 hardcover",
    "cheap running shoes wide feet under 50 euro",
    "Леска для рыбалки 0,25 мм 100 м",
    "café crème bol à soupe en grès",
    "ネイルポリッシュ ベージュ 速乾",
    "????!!!! ---- ....",
    "a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a",
    "GARDEN GNOME WITH LANTERN AND SOLAR LIGHT 40CM",
    "9v battery",
    "Baumwoll-Bettwäsche 155x220 cm, Mako-Satin, bügelleicht, Farbe Salbei",
    "smart watch heart rate monitor sleep tracking gps waterproof android ios",
)
"""The fixed set that errors and times are taken on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine did on ``TEXTS``."""

    name: str
    error: float
    """1 less the smallest cosine with the reference."""
    seconds: float
    """Of the fastest round."""


def attempt(name: str, encode: Callable[[Sequence[str]], Vectors], reference: Vectors, *, is_reference: bool = False) -> Trial:
    """Encode ``TEXTS`` some times over; a slow engine fewer times, since a start must not wait for it. ``reference`` float32
    [len(TEXTS), dimension]; ``is_reference``: ``encode`` has given it, so it needs no first call."""
    vectors = reference if is_reference else encode(TEXTS)  # the first call compiles and allocates
    seconds: list[float] = []
    while len(seconds) < _ROUNDS and sum(seconds) < _ENOUGH_S:
        begun = time.perf_counter()
        encode(TEXTS)
        seconds.append(time.perf_counter() - begun)
    cosines = (vectors.astype("f8") * reference.astype("f8")).sum(axis=1)
    return Trial(name, float(1.0 - cosines.min()), min(seconds))


def fastest(trials: Sequence[Trial], largest_error: float = LARGEST_ERROR) -> str:
    """The name of the fastest engine that is exact enough. An error of NaN does not pass. Raises ValueError if no engine passes."""
    passed = [trial for trial in trials if trial.error <= largest_error]
    if not passed:
        raise ValueError("no engine is exact enough")
    return min(passed, key=lambda trial: trial.seconds).name

"""Shoppers: their ids, their tastes, and the known model of their decisions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.privacy.consent import GATED, PERSONALIZATION
from streams.simulator.catalogue import BRANDS, STYLES, ShopItem, kinds

AGREE, ONLY_PERSONALIZATION = 0.88, 0.06
"""Shares of the shoppers."""
_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建文玉兰"
_FIRST = ("anna", "ben", "clara", "david", "emma", "felix", "greta", "hugo", "ida", "jonas", "klara", "leon", "mia", "noah", "olga", "paul")
_LAST = ("becker", "chen", "dubois", "evans", "fischer", "garcia", "hansen", "ivanova", "jones", "keller", "li", "meyer", "novak", "olsen")


@dataclass(slots=True)
class Taste:
    """What a shopper likes at the moment; 0 to 1 each, most of them near 0."""

    kinds: dict[int, float]
    style: int
    brand: int


@dataclass(slots=True)
class Shopper:
    """One shopper. ``control`` shoppers never see a recommendation."""

    user_id: str
    email: str
    phone: str
    chinese: bool
    control: bool
    taste: Taste
    next_session_ms: int
    sessions: int = 0
    purchases: int = 0
    bought: set[str] = field(default_factory=set)
    allows: tuple[str, ...] = GATED
    """The purposes that the shopper agreed to when the shop asked."""

    def affinity(self, item: ShopItem) -> float:
        """How much the shopper wants the item, 0 to 1: mostly the type of product, then style and brand; once is enough."""
        if item.item_id in self.bought:
            return 0.0
        wanted = self.taste.kinds.get(item.traits.kind, 0.0)
        return (
            0.65 * wanted
            + (0.2 if item.traits.style == self.taste.style else 0.0) * (0.3 + wanted)
            + (0.05 if item.traits.brand == self.taste.brand else 0.0)
        )


def ask(shoppers: Sequence[Shopper], rng: random.Random) -> None:
    """The shop's banner: most agree to everything, some to personalization only, some to nothing."""
    for shopper in shoppers:
        answer = rng.random()
        shopper.allows = GATED if answer < AGREE else (PERSONALIZATION,) if answer < AGREE + ONLY_PERSONALIZATION else ()


def make_shoppers(count: int, rng: random.Random, start_ms: int, spread_ms: int, control_share: float) -> list[Shopper]:
    """Shoppers with ids as shops have them: addresses, numbers, names. A leak of any of them can be searched for."""
    shoppers = []
    for number in range(count):
        name = f"{rng.choice(_SURNAMES)}{rng.choice(_GIVEN)}{rng.choice(_GIVEN)}"
        email = f"{rng.choice(_FIRST)}.{rng.choice(_LAST)}{number}@mail{number % 7}.example"
        phone = f"1{rng.choice('3578')}{rng.randrange(10):d}{10_000_000 + number * 7919 % 89_999_999:08d}"
        user_id = (email, phone, f"{name}{number}", f"customer-{100_000 + number}")[number % 4]
        shoppers.append(
            Shopper(
                user_id,
                email,
                phone,
                rng.random() < 0.5,
                rng.random() < control_share,
                make_taste(rng),
                start_ms + rng.randrange(spread_ms),
            )
        )
    return shoppers


def make_taste(rng: random.Random) -> Taste:
    """Two or three types of product, a style and a brand."""
    liked = rng.sample(range(len(kinds())), rng.choice((2, 3)))
    return Taste({kind: rng.uniform(0.7, 1.0) for kind in liked}, rng.randrange(STYLES), rng.randrange(BRANDS))


def drift(taste: Taste, rng: random.Random) -> None:
    """Now and then an interest ends and another begins."""
    taste.kinds.pop(rng.choice(list(taste.kinds)))
    taste.kinds[rng.randrange(len(kinds()))] = rng.uniform(0.7, 1.0)


def looks_at(position: int) -> float:
    """Probability that an item at a position is seen. It falls down the list as usual."""
    return 0.85**position


def clicks(affinity: float) -> float:
    """Probability of opening what was looked at."""
    return 0.02 + 0.6 * affinity**2


def buys(affinity: float) -> float:
    """Probability of buying what was opened."""
    return 0.35 * affinity**2

"""A made-up shop whose shoppers buy within groups of items, for fitting a ranker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from streams.ranking.item_matrix import ItemMatrix
from streams.serde.records import TrainingPair
from streams.topics import ITEMS_VECTORS
from tests.support.learned_shop import WIDTH, item_record
from tests.support.profile_harness import CODECS, START_MS, VERSION
from tests.support.rules import profile_rules

DAY_MS = 86_400_000
ITEMS, GROUPS, SHOPPERS, DAYS = 60, 6, 300, 60
RULES = replace(profile_rules(), recommend=False)


def group_of(item: str) -> int:
    return int(item[1:]) % GROUPS


def matrix() -> ItemMatrix:
    """The items' texts say nothing of the groups; each has a word of its own."""
    rng = np.random.default_rng(3)
    found = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    vectors = rng.standard_normal((ITEMS, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found.apply([item_record(f"g{n:02d}", vectors[n], category=None, band=None, title=f"thing word{n:02d}") for n in range(ITEMS)])
    return found


def bought(shopper: str, item: str, time_ms: int, kind: str = "purchase") -> TrainingPair:
    return TrainingPair(
        pair_id=blake2b(f"{shopper} {item} {time_ms} {kind}".encode(), digest_size=16).hexdigest(),
        pseudonym=shopper,
        history=[],
        item_id=item,
        outcome=kind,
        reward={"purchase": 1.0, "click": 0.2}[kind],
        recommendation_id=None,
        rank=None,
        model_version=None,
        occurred_at=time_ms,
    )


def purchases(shoppers: int = SHOPPERS, visits: int = 5, items: int = ITEMS, seed: int = 1) -> list[TrainingPair]:
    """Each shopper visits so many times and buys two items of her group, one time of eight of any group."""
    rng: Any = np.random.default_rng(seed)
    found = []
    for number in range(shoppers):
        own = [f"g{n:02d}" for n in range(items) if n % GROUPS == number % GROUPS] or [f"g{n:02d}" for n in range(items)]
        every = [f"g{n:02d}" for n in range(items)]
        for time_ms in sorted(rng.integers(0, DAYS * DAY_MS, visits).tolist()):
            for place in range(2):
                item = str(rng.choice(own if rng.random() > 1 / 8 else every))
                found.append(bought(f"shopper {number}", item, START_MS + time_ms + place))
    return found


def clicks_of_one(item: str, count: int, first_ms: int, every_ms: int) -> Iterable[TrainingPair]:
    return [bought("attacker", item, first_ms + n * every_ms, "click") for n in range(count)]


def searches(shoppers: int = SHOPPERS, visits: int = 5, items: int = ITEMS, seed: int = 7, *, of_use: bool = True) -> list[TrainingPair]:
    """Each shopper searches so many times for an item's word and buys that item; any item where searches are of no use."""
    rng: Any = np.random.default_rng(seed)
    found = []
    for number in range(shoppers):
        for time_ms in sorted(rng.integers(0, DAYS * DAY_MS, visits).tolist()):
            asked, other = rng.integers(0, items, 2).tolist()
            pair = bought(f"shopper {number}", f"g{asked if of_use else other:02d}", START_MS + time_ms + 60_000)
            told = {"kind": "query", "ref": f"word{asked:02d}", "event_type": "search", "age_ms": 60_000}
            found.append({**pair, "history": [told]})
    return found  # type: ignore[return-value]

"""A small shop with all that a ranker reads (categories, prices, words, pairs, counts), random rankers, and requests to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from streams.engine.ports import FloatArray
from streams.engine.records import MemoryRecord
from streams.ranking.item_matrix import ItemMatrix
from streams.ranking.learned.crosses import BINS, Crosses
from streams.ranking.learned.features import FEATURES, LEVELS, PLACE
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import RelatedItems
from streams.ranking.lexical import item_terms
from streams.ranking.popularity import DAY_MS, DecayedCount
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.request import Entry, Request
from streams.ranking.rules import CART, CLICK, DISMISS, PURCHASE, SEARCH, VIEW
from streams.ranking.together_table import Neighbours, TogetherTable
from streams.serde.vectors import to_bytes, vector_key
from streams.topics import ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS
from streams.training.learned.trees import forest_of
from tests.support.profile_harness import CODECS, START_MS, VERSION
from tests.support.rules import profile_rules

WIDTH = 16
ITEMS = tuple(f"s{n:03d}" for n in range(150))
WORDS = ("red", "blue", "lamp", "cup", "chair", "rug")
QUERIES: Mapping[str, FloatArray] = {
    word: vector / np.linalg.norm(vector)
    for word, vector in zip(WORDS, np.random.default_rng(4).standard_normal((len(WORDS), WIDTH)).astype(np.float32), strict=True)
}
RULES = profile_rules(threshold=-100.0, top_k=10)


class Shop(NamedTuple):
    """What ``rank`` needs, and of which a ranker's features are made."""

    matrix: ItemMatrix
    popularity: PopularityTable
    together: TogetherTable
    related: RelatedItems


def item_record(
    item_id: str,
    vector: np.ndarray,
    *,
    category: str | None,
    band: int | None,
    title: str,
    recommendable: bool = True,
    text: str = "0",
    group: str | None = None,
) -> MemoryRecord:
    """One of ``items.vectors``, with all of its fields."""
    value = {
        "item_id": item_id,
        "model_version": VERSION,
        "vector": to_bytes(vector.astype(np.float32)),
        "text_hash": text * 32,
        "recommendable": recommendable,
        "category": category,
        "price_band": band,
        "terms": item_terms(title, item_id),
        "encoded_at": START_MS,
        "group_id": group,
    }
    return MemoryRecord(ITEMS_VECTORS, 0, 0, START_MS, vector_key(VERSION, item_id), CODECS.for_topic(ITEMS_VECTORS).encode(value))


@cache
def shop() -> Shop:
    """Some items have no category, no price or no events; some must not be recommended."""
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((len(ITEMS), WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = ItemMatrix(CODECS.for_topic(ITEMS_VECTORS), VERSION, WIDTH)
    matrix.apply(
        [
            item_record(
                item,
                vectors[n],
                category=None if n % 7 == 0 else f"c{n % 5}",
                band=None if n % 11 == 0 else n % 13,
                title=f"{WORDS[n % 6]} {WORDS[(n // 6) % 6]}",
                recommendable=n % 17 != 3,
            )
            for n, item in enumerate(ITEMS)
        ]
    )
    popularity = PopularityTable(CODECS.for_topic(ITEMS_POPULARITY), RULES.popularity_half_life_ms)
    for n, item in enumerate(ITEMS[: len(ITEMS) // 2]):
        for partition in range(1 + n % 2):
            counts = rng.gamma(1.0, 4.0, 4)
            bought = START_MS - int(rng.integers(9 * DAY_MS)) if n % 3 else -1
            first = START_MS - int(rng.integers(10 * DAY_MS, 90 * DAY_MS))
            others = (float(counts[1]), float(counts[2]), float(counts[3]))
            popularity.put(partition, item, DecayedCount(float(counts[0]), START_MS - n * 1000, n, others, first, bought, n % 6))
    together = TogetherTable(CODECS.for_topic(ITEMS_TOGETHER), RULES.together.half_life_ms)
    for n in range(0, 120):
        others = {
            ITEMS[m]: float(count) for m, count in zip(rng.choice(120, 6, replace=False), rng.integers(1, 9, 6), strict=True) if m != n
        }
        together.put(0, ITEMS[n], 12.0 + n % 5, others, as_of_ms=START_MS - n, source_offset=n)
    together.refresh()
    return Shop(matrix, popularity, together, random_related(rng))


def random_related(rng: np.random.Generator) -> RelatedItems:
    """Weights of either sign, for items of which the shop does not have all."""
    names = [*ITEMS[20:], "gone"]
    counts = rng.integers(0, 9, len(names))
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    others = np.concatenate([rng.choice(len(names), count, replace=False) for count in counts]).astype(np.int64)
    return RelatedItems(names, Neighbours(starts, others, rng.normal(0.1, 0.2, len(others)).astype(np.float32)))


def request_of(seed: int) -> Request:
    """A shopper's: what she liked, dismissed and searched for, items that the shop does not have, sometimes a search; or nothing."""
    rng = np.random.default_rng(seed)
    items = [ITEMS[n] for n in rng.choice(len(ITEMS), max(0, rng.integers(-3, 12)), replace=False)]
    items += ["unknown"] * (len(items) % 2)
    kinds = rng.choice([VIEW, CLICK, CART, PURCHASE, DISMISS], len(items)).tolist()
    entries = [
        Entry((-1 if kind == DISMISS else 1) * float(rng.random() + 0.1), START_MS - int(rng.integers(10**8)), kind) for kind in kinds
    ]
    asked = [str(word) for word in rng.choice(WORDS, rng.integers(0, 3), replace=False)]
    queries = [(word, Entry(0.5, START_MS - int(rng.integers(10**8)), SEARCH)) for word in asked]
    query = str(rng.choice(WORDS)) if rng.random() < 0.3 else None
    return Request(items, entries, queries, query, [*items[:2], "unknown too"], START_MS + int(rng.integers(10**9)))


def random_tree(rng: np.random.Generator, leaves: int) -> dict[str, Any]:
    """As LightGBM tells one: thresholds between levels, counts that add up."""
    if leaves == 1:
        return {"leaf_value": float(rng.normal(0, 0.1)), "leaf_count": int(rng.integers(1, 100))}
    left = int(rng.integers(1, leaves))
    sides = random_tree(rng, left), random_tree(rng, leaves - left)
    return {
        "split_feature": int(rng.integers(len(FEATURES))),
        "threshold": float(rng.integers(0, LEVELS - 1)) + 0.5,
        "internal_count": sum(int(side.get("internal_count", side.get("leaf_count", 0))) for side in sides),
        "left_child": sides[0],
        "right_child": sides[1],
    }


def additive_ranker(seed: int, related: RelatedItems) -> Ranker:
    """Random tables, two of them of two features; some features say nothing. It answers searches."""
    rng = np.random.default_rng(seed)
    tables = rng.normal(0, 0.3, (len(FEATURES), LEVELS)).astype(np.float32)
    said = rng.random(len(FEATURES)) > 0.2
    said[PLACE["match"]] = True
    tables[~said] = 0.0
    crosses = Crosses(
        rng.integers(0, len(FEATURES), (2, 2)).astype(np.uint8),
        np.sort(rng.integers(0, BINS, (2, 2, LEVELS)), axis=2).astype(np.uint8),
        rng.normal(0, 0.3, (2, BINS * BINS)).astype(np.float32),
    )
    return Ranker(tables, float(rng.normal()), 1.5, -2.0, related, no_forest(), crosses=crosses)


def forest_ranker(seed: int, related: RelatedItems) -> Ranker:
    """Random trees of up to eight leaves. It answers searches."""
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, int(rng.integers(2, 9))) for _ in range(12)]
    trees[0]["split_feature"] = PLACE["match"]
    return Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), float(rng.normal()), 0.7, -1.0, related, forest_of(trees))


def rankers(seed: int) -> tuple[Ranker, Ranker]:
    """One of each kind, for the shop."""
    return additive_ranker(seed, shop().related), forest_ranker(seed, shop().related)

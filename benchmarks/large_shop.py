"""A made-up shop of any size whose structure is known: kits of items in communities, popularity by Zipf's law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.ranking.learned.related import RelatedItems
from streams.training.evaluation.metrics import discounts
from streams.training.learned.past import Interactions

COMMUNITY, KIT = 64, 8
"""Items of each."""
OWN = 3
"""Communities that a shopper buys in."""
SHARES = (0.35, 0.45, 0.2)
"""Of her purchases: from a kit that she bought of already, from one of her communities, from the whole shop."""
ZIPF = 0.8
HISTORY = 25
"""Purchases of a shopper, on average; at least five."""
HELD, JUDGED = 5, 2000
"""Last purchases that are held out, and the most shoppers that this is done for; nothing is fitted to them."""
K = 20

Ints = npt.NDArray[np.int64]


class LargeShop(NamedTuple):
    """What is known, and what is to be foretold."""

    known: Interactions
    histories: list[Ints]
    """Items of each judged shopper, without what is held out."""
    wanted: list[Ints]
    """What she bought last, new to her."""


def drawn(items: int, seed: int) -> LargeShop:
    """A shop of so many items, with as many shoppers (at least 5,000)."""
    generator = np.random.default_rng(seed)
    shoppers = max(5_000, items)
    popularity = 1.0 / (1 + generator.permutation(items)) ** ZIPF
    ends = np.concatenate(([0.0], np.cumsum(popularity)))
    counts = HELD + generator.geometric(1 / (HISTORY - HELD), shoppers)
    owners = np.repeat(np.arange(shoppers), counts)
    own = generator.integers(0, -(-items // COMMUNITY), (shoppers, OWN))
    community = own[owners, generator.integers(0, OWN, len(owners))]
    # The kit is that of an earlier purchase of the same community, so the second purchase tells the kit of the third.
    kits = COMMUNITY // KIT
    favourite = generator.integers(0, kits, (shoppers, OWN))
    kit = community * kits + favourite[owners, (own[owners] == community[:, None]).argmax(axis=1)]
    kind = generator.choice(3, len(owners), p=SHARES)
    low = np.select([kind == 0, kind == 1], [kit * KIT, community * COMMUNITY], 0)
    high = np.select([kind == 0, kind == 1], [low + KIT, low + COMMUNITY], items)
    low, high = np.minimum(low, items - 1), np.minimum(high, items)
    chances = ends[low] + generator.random(len(owners)) * (ends[high] - ends[low])
    bought = np.clip(np.searchsorted(ends, chances, side="right") - 1, low, high - 1)
    return _split(owners, bought, shoppers, items)


def _split(owners: Ints, bought: Ints, shoppers: int, items: int) -> LargeShop:
    firsts = np.unique(owners * items + bought, return_index=True)[1]
    firsts.sort()
    owners, bought = owners[firsts], bought[firsts]
    begins = np.searchsorted(owners, np.arange(shoppers + 1))
    judged = np.flatnonzero(np.diff(begins) > 2 * HELD)[:JUDGED]
    histories = [bought[begins[one] : begins[one + 1] - HELD] for one in judged.tolist()]
    wanted = [bought[begins[one + 1] - HELD : begins[one + 1]] for one in judged.tolist()]
    kept = ~np.isin(owners, judged)
    known = Interactions(owners[kept], bought[kept], np.ones(int(kept.sum())), Names(items), shoppers)
    return LargeShop(known, histories, wanted)


class Names(list[str]):
    """Of the items: their numbers."""

    def __init__(self, items: int) -> None:
        super().__init__(f"{number:07}" for number in range(items))


def judge(shop: LargeShop, related: RelatedItems, most: int | None = None) -> dict[str, float]:
    """Recall@20 and NDCG@10 of the held-out purchases by the sums of the histories' weights, and the recall that the sums could have at
    most (``reached``: items with any weight). ``most``: each item's so many largest weights only."""
    starts, others, weights = related.neighbours
    place = np.full(len(shop.known.names), -1, np.int64)
    place[[int(name) for name in related.items]] = np.arange(len(related.items))
    if most is not None:
        weights = cut(starts, weights, most)
    total, gains = np.zeros(max(1, len(related.items))), discounts(10)
    recall, ndcg, reached = [], [], []
    for history, wanted in zip(shop.histories, shop.wanted, strict=True):
        own = place[history]
        own = own[own >= 0]
        ranges = [slice(starts[item], starts[item + 1]) for item in own.tolist()]
        touched = np.unique(np.concatenate([np.zeros(0, np.int64), *(others[one] for one in ranges)]))
        for one in ranges:
            total[others[one]] += weights[one]
        total[own] = 0.0
        # Only what a weight leads to can be among the best; of equal ones the item that comes first.
        best = touched[total[touched] > 0]
        best = best[np.argsort(-total[best], kind="stable")[:K]]
        targets = place[wanted]
        hit = np.isin(best, targets[targets >= 0])
        recall.append(hit.sum() / len(wanted))
        hits = hit[:10]
        ndcg.append((gains[: len(hits)] * hits).sum() / gains[: min(10, len(wanted))].sum())
        reached.append((total[targets[targets >= 0]] > 0).sum() / len(wanted))
        total[touched] = 0.0
    return {"recall": float(np.mean(recall)), "ndcg": float(np.mean(ndcg)), "reached": float(np.mean(reached))}


def cut(starts: Ints, weights: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """The weights, 0 where they are none of their row's ``most`` largest by magnitude."""
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((-np.abs(weights), rows))
    place = np.empty(len(weights), np.int64)
    place[order] = np.arange(len(weights)) - starts[rows[order]]
    return np.where(place < most, weights, np.float32(0))

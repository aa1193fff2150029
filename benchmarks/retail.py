"""The protocol of the shared year of purchases (data/README.md): a cut in time, and for each shopper the next basket's new items."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
DAY_S = 86_400.0
LEAST_ITEMS = 5


class Purchases(NamedTuple):
    """Every purchase line, in order of time."""

    users: Ints
    items: Ints
    seconds: Floats
    baskets: Ints
    user_ids: list[str]
    item_ids: list[str]


class Cut(NamedTuple):
    """What is known at one moment, and what the shoppers bought next."""

    second: float
    past: Purchases
    """The purchases before it; ids as in the whole."""
    shoppers: Ints
    """Those that are judged: at least five distinct items before, and a basket with something new after."""
    targets: list[frozenset[int]]
    """What is new to them in their first basket with anything new; items that nobody bought before the cut are left out."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.past.user_ids), len(self.past.item_ids)

    def matrix(self, half_life_days: float | None = None) -> sparse.csr_matrix:
        """float32 [users, items]: 1 for what was bought; with a half-life the sum of the purchases' decayed weights."""
        past = self.past
        ages = past.seconds - self.second
        weights = np.ones(len(ages)) if half_life_days is None else 2.0 ** (ages / (half_life_days * DAY_S))
        found = sparse.csr_matrix((weights, (past.users, past.items)), self.shape, dtype=np.float32)
        found.sum_duplicates()
        if half_life_days is None:
            found.data[:] = 1.0
        return found

    def last_baskets(self) -> sparse.csr_matrix:
        """float32 [users, items]: 1 for what a shopper's last basket held."""
        past = self.past
        last = np.full(len(past.user_ids), -1, np.int64)
        last[past.users] = past.baskets
        own = past.baskets == last[past.users]
        return sparse.csr_matrix((np.ones(own.sum(), np.float32), (past.users[own], past.items[own])), self.shape)


def read_purchases(folder: Path) -> Purchases:
    """From ``events.csv.gz``; returns are left out. Raises FileNotFoundError where it is not there."""
    with gzip.open(folder / "events.csv.gz", "rt", encoding="utf-8") as file:
        rows = sorted(_rows(csv.DictReader(file)), key=lambda row: row[0])
    user_of: dict[str, int] = {}
    item_of: dict[str, int] = {}
    basket_of: dict[tuple[str, str], int] = {}
    numbers = [
        (user_of.setdefault(u, len(user_of)), item_of.setdefault(i, len(item_of)), basket_of.setdefault((u, b), len(basket_of)))
        for _, u, i, b in rows
    ]
    users, items, baskets = np.array(numbers, np.int64).T
    return Purchases(users, items, np.array([row[0] for row in rows]), baskets, list(user_of), list(item_of))


def cut_at(everything: Purchases, quantile: float) -> Cut:
    """The cut at a quantile of purchase time."""
    second = float(np.quantile(everything.seconds, quantile))
    count = int(np.searchsorted(everything.seconds, second, side="left"))
    past = Purchases(*(column[:count] for column in everything[:4]), *everything[4:])
    bought: dict[int, set[int]] = {}
    for user, item in zip(past.users.tolist(), past.items.tolist(), strict=True):
        bought.setdefault(user, set()).add(item)
    known = set(past.items.tolist())
    baskets: dict[tuple[int, int], set[int]] = {}
    after = (column[count:].tolist() for column in (everything.users, everything.items, everything.baskets))
    for user, item, basket in zip(*after, strict=True):
        baskets.setdefault((user, basket), set()).add(item)
    targets: dict[int, frozenset[int]] = {}
    for (user, _), basket_items in baskets.items():
        mine = bought.get(user, set())
        new = (basket_items & known) - mine
        if user not in targets and len(mine) >= LEAST_ITEMS and new:
            targets[user] = frozenset(new)
    return Cut(second, past, np.array(list(targets), np.int64), list(targets.values()))


def best(cut: Cut, scores: Scores, count: int = 10) -> Ints:
    """The best items [shoppers, count] of scores [shoppers, items]: nothing that the shopper bought, nothing that nobody bought."""
    scores = scores.astype(np.float32, copy=True)
    scores[:, np.bincount(cut.past.items, minlength=scores.shape[1]) == 0] = -np.inf
    seen = cut.matrix()[cut.shoppers].tocoo()
    scores[seen.row, seen.col] = -np.inf
    top = np.argpartition(-scores, count, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int64)


def _rows(reader: csv.DictReader[str]) -> Iterator[tuple[float, str, str, str]]:
    for row in reader:
        if row["event_type"] == "purchase":
            yield datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC).timestamp(), row["user"], row["item"], row["invoice"]

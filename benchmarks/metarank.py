"""A ranker as Metarank builds it: LightGBM's LambdaMART on Metarank's kinds of features, with the settings that it documents.

Its documentation (docs/configuration: "Supported ranking models", "Feature extractors") names the settings, their defaults and the
extractors; each feature below says which one it is. What works in its favour: the same candidates, moments, labels and order of candidates
as the product's ranker; the first stage's score as ``relevancy``; embeddings of the product's own encoder for ``field_match``, between the
shopper's titles (which a client may send as a field of the ranking event) and the item's; ``interacted_with`` over the words of titles
without the default limit of a day; counters in more windows than its examples have. Left out is what the shop has no data for: impressions
(and so rates), categories, referers and devices.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.fitted import Told
from benchmarks.retail import DAY_S, Purchases
from streams.ranking.learned.features import PLACE

SETTINGS: dict[str, Any] = {"iterations": 100, "learningRate": 0.1, "ndcgCutoff": 10, "maxDepth": 8, "sampling": 0.8, "numLeaves": 16}
"""Documented defaults of the LightGBM backend."""
GRID: dict[str, Sequence[Any]] = {
    "numLeaves": (8, 32),
    "iterations": (50, 200),
    "learningRate": (0.05, 0.2),
    "ndcgCutoff": (30,),
    "sampling": (0.5,),
}
WINDOWS = (3, 7, 14, 30, 60)
"""Days; its automatic features have 3, 7, 14 and 30, its documentation's example of a window counter 7, 14, 30 and 60."""
FEATURES = (
    "relevancy",
    *(f"window_count of purchases, item, {days} d" for days in WINDOWS),
    "interaction_count of purchases, item",
    "interaction_count of purchases, user",
    "item_age",
    "number: price",
    "diversity of price",
    "word_count of the title",
    "interacted_with, words of titles, user",
    "interacted_with, words of titles, last 10",
    "interacted_with, words of titles, last session",
    "field_match term, titles of the last session",
    "field_match transformer, titles of the user",
    "field_match transformer, titles of the last session",
)
SESSION_MS = 1_800_000
_WORD = re.compile(r"[a-z0-9]+")
_STOP = {"a", "an", "and", "the", "of", "in", "on", "with", "for", "to", "by", "or", "s"}

Values = npt.NDArray[np.float32]


class Facts(NamedTuple):
    """What is known of items."""

    places: dict[str, int]
    prices: Values
    words: sparse.csr_matrix
    """1 for each word of an item's title, [items, words]."""
    lengths: Values
    items: npt.NDArray[np.int64]
    """Of all purchases, by ``places``."""
    seconds: npt.NDArray[np.float64]


def facts(folder: Path, purchases: Purchases) -> Facts:
    """From the shop's file of items, and its purchases: no feature looks at those after its moment."""
    with gzip.open(folder / "items.csv.gz", "rt", encoding="utf-8") as file:
        rows = [(row["item"], row["title"], float(row["price_median"] or "nan")) for row in csv.DictReader(file)]
    places = {item: place for place, (item, _, _) in enumerate(rows)}
    words, lengths = matrix_of([title for _, title, _ in rows])
    known = np.array([places.get(item, -1) for item in purchases.item_ids], np.int64)[purchases.items]
    prices = np.array([price for _, _, price in rows], np.float32)
    return Facts(places, prices, words, lengths, known[known >= 0], purchases.seconds[known >= 0])


def matrix_of(titles: Sequence[str]) -> tuple[sparse.csr_matrix, Values]:
    """[titles, words], 1 where the title has the word, without the commonest words of English; and words of each title, all of them."""
    numbers: dict[str, int] = {}
    rows, columns, lengths = [], [], []
    for row, title in enumerate(titles):
        found = _WORD.findall(title.lower())
        lengths.append(len(found))
        for word in sorted(set(found) - _STOP):
            rows.append(row)
            columns.append(numbers.setdefault(word.rstrip("s") or word, len(numbers)))
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(titles), max(1, len(numbers))))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix, np.array(lengths, np.float32)


def table(told: Told, known: Facts) -> Values:
    """float32 [pairs, features] of one moment, in the order of ``FEATURES``."""
    lists = told.lists
    item = np.array([known.places[one] for one in told.items], np.int64)
    owner, second = lists.owners, told.at_ms / 1000
    before = known.seconds < second
    columns: list[Any] = [lists.summed]
    for days in WINDOWS:
        recent = before & (known.seconds >= second - days * DAY_S)
        columns.append(np.bincount(known.items[recent], minlength=len(known.prices))[item])
    columns.append(np.bincount(known.items[before], minlength=len(known.prices))[item])
    columns.append(np.array([len(one.request.items) for one in told.wanted])[owner])
    first = np.full(len(known.prices), np.nan)
    items, places = np.unique(known.items[before], return_index=True)  # purchases are in order of time
    first[items] = known.seconds[before][places]
    columns.append(second - first[item])
    columns.append(known.prices[item])
    columns.append(known.prices[item] - medians(known.prices[item], lists.sizes)[owner])
    columns.append(known.lengths[item])
    whole, last_ten, session = (histories(told, known, chosen) for chosen in (all_of, ten_of, session_of))
    for history in (whole, last_ten, session):
        columns.append(overlaps(history, known.words, owner, item))
    had = session.copy()
    had.data = np.minimum(had.data, 1.0)
    both = overlaps(had, known.words, owner, item)
    union = np.asarray(had.sum(axis=1)).ravel()[owner] + np.asarray(known.words.sum(axis=1)).ravel()[item] - both
    columns.append(both / np.maximum(union, 1.0))
    columns += [lists.levels[:, PLACE["text_history"]], lists.levels[:, PLACE["text_session"]]]
    return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)


def all_of(times: Sequence[int]) -> list[int]:
    return list(range(len(times)))


def ten_of(times: Sequence[int]) -> list[int]:
    """Places of the ten latest."""
    return sorted(range(len(times)), key=lambda place: (times[place], place))[-10:]


def session_of(times: Sequence[int]) -> list[int]:
    """Places of those within half an hour of the latest."""
    return [place for place, time in enumerate(times) if time >= max(times) - SESSION_MS]


def histories(told: Told, known: Facts, chosen: Any) -> sparse.csr_matrix:
    """[lists, words]: how often each word is in the titles of a part of the shopper's history."""
    rows, items = [], []
    for row, one in enumerate(told.wanted):
        for place in chosen([entry.time_ms for entry in one.request.item_entries]):
            if (item := known.places.get(one.request.items[place])) is not None:
                rows.append(row)
                items.append(item)
    own = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), (len(told.wanted), len(known.prices)))
    return (own @ known.words).tocsr()


def overlaps(history: sparse.csr_matrix, words: sparse.csr_matrix, owner: Any, item: Any) -> Any:
    """float [pairs]: over the item's words, how often each is in its shopper's history."""
    parts = [
        np.asarray(history[owner[start : start + 50_000]].multiply(words[item[start : start + 50_000]]).sum(axis=1)).ravel()
        for start in range(0, len(owner), 50_000)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def medians(values: Values, sizes: Any) -> Values:
    """float32 [lists]: of each list's values."""
    ends = np.cumsum(sizes).tolist()
    return np.array(
        [np.median(values[end - size : end]) if size else 0.0 for end, size in zip(ends, sizes.tolist(), strict=True)], np.float32
    )


def fitted(told: Sequence[Told], tables: Sequence[Values], settings: dict[str, Any]) -> Any:
    """LightGBM's booster. Lists without an interaction say nothing, and candidates are shuffled, as for the product's own."""
    import lightgbm

    values, labels, sizes, generator = [], [], [], np.random.default_rng(0)
    for one, own in zip(told, tables, strict=True):
        lists = one.lists
        useful = np.bincount(lists.owners, lists.labels > 0, minlength=len(lists.sizes)) > 0
        order = np.lexsort((generator.random(len(lists.labels)), lists.owners))
        order = order[useful[lists.owners[order]]]
        values.append(own[order])
        labels.append(lists.labels[order] > 0)
        sizes.append(lists.sizes[useful])
    params = {
        "objective": "lambdarank",
        "learning_rate": settings["learningRate"],
        "lambdarank_truncation_level": settings["ndcgCutoff"],
        "max_depth": settings["maxDepth"],
        "num_leaves": settings["numLeaves"],
        "feature_fraction": settings["sampling"],
        "seed": 0,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(np.concatenate(values), np.concatenate(labels).astype(np.int8), group=np.concatenate(sizes))
    return lightgbm.train(params, data, settings["iterations"])

"""Compiled loops over (shopper, item) pairs: sums over the neighbours of a history's items, and dot products.

A shopper's sums lie in one array with a place an item, which is filled, read and emptied again shopper by shopper. That costs what her
neighbours are, whatever the size of the catalogue, where a sparse matrix product would sort them first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler

_compiled = compiler((), "pair sums")


@_compiled
def gathered(
    begins: Any,
    numbers: Any,
    weights: Any,
    starts: Any,
    others: Any,
    strengths: Any,
    rows_of: Any,
    total: Any,
    sum_begins: Any,
    sum_rows: Any,
    sums: Any,
) -> None:
    """Σ over the user's history of weight · strength(history item, row), for all rows where it is not 0: rows in ``sum_rows`` and sums in
    ``sums``, user after user, each row once, in no order; where they begin in ``sum_begins`` [users + 1]. There is a place for each
    neighbour and one more. ``total`` float64 [rows] of zeros."""
    items = len(starts) - 1
    end = 0
    sum_begins[0] = 0
    for user in range(len(begins) - 1):
        for place in range(begins[user], begins[user + 1]):
            number, weight = numbers[place], weights[place]
            if weight != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if row >= 0:
                        total[row] += weight * strengths[at]
        for place in range(begins[user], begins[user + 1]):
            number = numbers[place]
            if weights[place] != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if row >= 0:
                        # Written in any case and kept if it counts: a processor can't guess which row comes for the first time. Emptied
                        # when it is read, so no row is found twice.
                        sum_rows[end], sums[end] = row, total[row]
                        end += int(total[row] != 0)
                        total[row] = 0.0
        sum_begins[user + 1] = end


@_compiled
def at(sum_begins: Any, sum_rows: Any, sums: Any, total: Any, pair_begins: Any, pair_rows: Any, out: Any) -> None:
    """out[pair] = the user's sum of the pair's row. ``total`` float64 [rows] of zeros."""
    for user in range(len(sum_begins) - 1):
        if pair_begins[user] == pair_begins[user + 1]:
            continue
        for place in range(sum_begins[user], sum_begins[user + 1]):
            total[sum_rows[place]] = sums[place]
        for pair in range(pair_begins[user], pair_begins[user + 1]):
            out[pair] = total[pair_rows[pair]]
        for place in range(sum_begins[user], sum_begins[user + 1]):
            total[sum_rows[place]] = 0.0


@_compiled
def strongest(
    sum_begins: Any, sum_rows: Any, sums: Any, open_rows: Any, shut_begins: Any, shut_rows: Any, most: Any, counts: Any, out: Any
) -> None:
    """Each user's ``most`` rows with the largest sums above 0, and those equal to the last, but none of these where they would make more
    than twice as many: ``counts`` [users], rows in ``out`` [users · 2 · most], user after user. Rows of a user are in no order. Only rows
    that are open to all, and not among the user's shut ones."""
    end = 0
    widest = 0
    for user in range(len(sum_begins) - 1):
        widest = max(widest, sum_begins[user + 1] - sum_begins[user])
    found, values = np.empty(widest + 1, np.int64), np.empty(widest + 1, np.float64)
    open_to, heap = open_rows.copy(), np.empty(most, np.float64)
    for user in range(len(sum_begins) - 1):
        for place in range(shut_begins[user], shut_begins[user + 1]):
            open_to[shut_rows[place]] = False
        kept = 0
        for place in range(sum_begins[user], sum_begins[user + 1]):
            # Written in any case and kept if it counts: which sums are above 0 is anybody's guess, a processor's too.
            row, value = sum_rows[place], sums[place]
            found[kept], values[kept] = row, value
            kept += int((value > 1e-12) & open_to[row])
        for place in range(shut_begins[user], shut_begins[user + 1]):
            open_to[shut_rows[place]] = open_rows[shut_rows[place]]
        least = _least(values[:kept], heap)
        # The place in ``out`` of one user must not be taken by another's many equals.
        crowded = kept > most and (values[:kept] >= least).sum() > 2 * most
        first = end
        for place in range(kept):
            if values[place] > least or (values[place] == least and not crowded):
                out[end] = found[place]
                end += 1
        counts[user] = end - first


@_compiled
def _least(values: Any, heap: Any) -> Any:
    """The smallest of the largest values, as many as the heap has places; 0 if all have a place. ``heap`` is overwritten."""
    if len(values) <= len(heap):
        return 0.0
    for number in range(len(values)):
        value = values[number]
        if number < len(heap):
            # Up, while the one above is larger.
            at = number
            while at > 0 and heap[(at - 1) // 2] > value:
                heap[at] = heap[(at - 1) // 2]
                at = (at - 1) // 2
            heap[at] = value
        elif value > heap[0]:
            # In place of the smallest, then down.
            at = 0
            while True:
                below = 2 * at + 1
                if below >= len(heap):
                    break
                if below + 1 < len(heap) and heap[below + 1] < heap[below]:
                    below += 1
                if heap[below] >= value:
                    break
                heap[at] = heap[below]
                at = below
            heap[at] = value
    return heap[0]


@compiler((), "pair dots", fastmath={"reassoc", "contract", "nsz"})
def dots(users: Any, vectors: Any, pair_begins: Any, pair_rows: Any, out: Any) -> None:
    """out[pair] = users[its user] · vectors[its row]."""
    dimension = users.shape[1]
    for user in range(len(pair_begins) - 1):
        for pair in range(pair_begins[user], pair_begins[user + 1]):
            row = pair_rows[pair]
            total = np.float32(0)
            for at in range(dimension):
                total += users[user, at] * vectors[row, at]
            out[pair] = total


@compiler((), "pair dots", fastmath={"reassoc", "contract", "nsz"})
def directions(begins: Any, rows: Any, weights: Any, vectors: Any, out: Any) -> None:
    """out[user] = Σ weight · vector over the user's items, of unit length; it is left as it is where all weights are 0 or the sum is."""
    for user in range(len(begins) - 1):
        total = np.zeros(vectors.shape[1], np.float32)
        for place in range(begins[user], begins[user + 1]):
            weight = np.float32(weights[place])
            if weight != 0:
                row = rows[place]
                for at in range(len(total)):
                    total[at] += weight * vectors[row, at]
        square = np.float32(0)
        for at in range(len(total)):
            square += total[at] * total[at]
        if square > 0:
            scale = np.float32(1) / max(np.sqrt(square), np.float32(1e-12))
            for at in range(len(total)):
                out[user, at] = total[at] * scale


@_compiled
def own(
    begins: Any,
    rows: Any,
    signed: Any,
    weights: Any,
    shares: Any,
    categories: Any,
    bands: Any,
    no_category: Any,
    no_band: Any,
    pair_begins: Any,
    pair_rows: Any,
    seen: Any,
    category: Any,
    price: Any,
) -> None:
    """What a history says of a pair's item without any table: the signed weight of the item itself, the share of the history in its
    category, and how many bands its price is above the history's mean."""
    by_row = np.zeros(len(categories))
    by_category = np.zeros(max(categories.max() + 1, 1) if len(categories) else 1)
    for user in range(len(begins) - 1):
        total, middle = 0.0, 0.0
        for place in range(begins[user], begins[user + 1]):
            row = rows[place]
            by_row[row] += signed[place]
            if categories[row] != no_category:
                by_category[categories[row]] += shares[place]
            if bands[row] != no_band:
                total += weights[place]
                middle += weights[place] * bands[row]
        middle /= max(total, 1e-12)
        for pair in range(pair_begins[user], pair_begins[user + 1]):
            row = pair_rows[pair]
            seen[pair] = by_row[row]
            category[pair] = by_category[categories[row]] if categories[row] != no_category else 0.0
            price[pair] = bands[row] - middle if total > 0 and bands[row] != no_band else 0.0
        for place in range(begins[user], begins[user + 1]):
            row = rows[place]
            by_row[row] = 0.0
            if categories[row] != no_category:
                by_category[categories[row]] = 0.0


_BLOCK = 1024
"""Pairs whose answers to one tree are found together; they stay in the processor's first cache."""


@_compiled
def forest(levels: Any, features: Any, thresholds: Any, values: Any, patterns: Any, out: Any) -> None:
    """out[pair] += Σ over trees of the value of the pattern that the pair's levels make at the tree's nodes; the patterns [pairs, trees]
    are kept. It is fastest where levels [pairs, features] and patterns lie column by column in memory."""
    trees, nodes = features.shape
    pairs = len(out)
    for first in range(0, pairs, _BLOCK):
        end = min(first + _BLOCK, pairs)
        total = np.zeros(end - first)
        for tree in range(trees):
            pattern = np.zeros(end - first, np.uint8)
            for node in range(nodes):
                column, threshold = levels[first:end, features[tree, node]], thresholds[tree, node]
                bit = np.uint8(1 << node)
                for place in range(end - first):
                    pattern[place] |= bit if column[place] > threshold else np.uint8(0)
            patterns[first:end, tree] = pattern
            for place in range(end - first):
                total[place] += values[tree, pattern[place]]
        out[first:end] += total


@_compiled
def forest_shares(patterns: Any, features: Any, values: Any, shapley: Any, out: Any) -> None:
    """out[pair, feature] += what the feature adds in all trees; out[pair, -1] += what a tree says whatever is known."""
    trees, nodes = features.shape
    for pair in range(len(out)):
        for tree in range(trees):
            pattern = patterns[pair, tree]
            total = 0.0
            for node in range(nodes):
                share = np.float64(shapley[tree, pattern, node])
                out[pair, features[tree, node]] += share
                total += share
            out[pair, -1] += values[tree, pattern] - total


@_compiled
def parts(
    begins: Any,
    numbers: Any,
    weights: Any,
    starts: Any,
    others: Any,
    strengths: Any,
    rows_of: Any,
    pair_users: Any,
    pair_rows: Any,
    out: Any,
) -> None:
    """out[pair, n] += weight · strength(the n-th item of the user's history, the pair's row). Pairs go user by user."""
    items = len(starts) - 1
    # Of each row the last of the user's pairs, counted from 1, and of each pair the one before it with the same row.
    size = pair_rows.max() + 1 if len(pair_rows) else 0
    last, before = np.zeros(size, np.int64), np.zeros(len(pair_rows), np.int64)
    first = 0
    while first < len(pair_rows):
        user, end = pair_users[first], first
        while end < len(pair_rows) and pair_users[end] == user:
            before[end] = last[pair_rows[end]]
            end += 1
            last[pair_rows[end - 1]] = end
        for place in range(begins[user], begins[user + 1]):
            number, weight = numbers[place], weights[place]
            if weight != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if 0 <= row < size:
                        pair = last[row]
                        while pair:
                            out[pair - 1, place - begins[user]] += weight * strengths[at]
                            pair = before[pair - 1]
        for pair in range(first, end):
            last[pair_rows[pair]] = 0
        first = end

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
def sums(
    begins: Any,
    numbers: Any,
    weights: Any,
    starts: Any,
    others: Any,
    strengths: Any,
    rows_of: Any,
    total: Any,
    pair_begins: Any,
    pair_rows: Any,
    out: Any,
) -> None:
    """out[pair] = Σ over the user's history of weight · strength(history item, the pair's row). ``total`` float64 [rows] of zeros."""
    items = len(starts) - 1
    for user in range(len(begins) - 1):
        if pair_begins[user] == pair_begins[user + 1]:
            continue
        for place in range(begins[user], begins[user + 1]):
            number, weight = numbers[place], weights[place]
            if weight != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if row >= 0:
                        total[row] += weight * strengths[at]
        for pair in range(pair_begins[user], pair_begins[user + 1]):
            out[pair] = total[pair_rows[pair]]
        for place in range(begins[user], begins[user + 1]):
            number = numbers[place]
            if 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if row >= 0:
                        total[row] = 0.0


@_compiled
def strongest(
    begins: Any,
    numbers: Any,
    weights: Any,
    starts: Any,
    others: Any,
    strengths: Any,
    rows_of: Any,
    total: Any,
    open_rows: Any,
    shut_begins: Any,
    shut_rows: Any,
    most: Any,
    counts: Any,
    out: Any,
) -> None:
    """Each user's ``most`` rows with the largest sums above 0, and those equal to the last, but none of these where they would make more
    than twice as many: ``counts`` [users], rows in ``out`` [users · 2 · most], user after user. Rows of a user are in no order. Only rows
    that are open to all, and not among the user's shut ones."""
    items = len(starts) - 1
    end = 0
    touched = np.empty(len(total), np.int64)
    values = np.empty(len(total), np.float64)
    known, shut = np.zeros(len(total), np.bool_), np.zeros(len(total), np.bool_)
    for user in range(len(begins) - 1):
        reached = 0
        for place in range(shut_begins[user], shut_begins[user + 1]):
            shut[shut_rows[place]] = True
        for place in range(begins[user], begins[user + 1]):
            number, weight = numbers[place], weights[place]
            if weight != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    row = rows_of[others[at]]
                    if row >= 0 and open_rows[row] and not shut[row]:
                        if not known[row]:
                            known[row] = True
                            touched[reached] = row
                            reached += 1
                        total[row] += weight * strengths[at]
        kept = 0
        for place in range(reached):
            if total[touched[place]] > 1e-12:
                values[kept] = total[touched[place]]
                kept += 1
        least, crowded = 0.0, False
        if kept > most:
            least = np.partition(values[:kept], kept - most)[kept - most]
            # The place in ``out`` of one user must not be taken by another's many equals.
            crowded = (values[:kept] >= least).sum() > 2 * most
        first = end
        for place in range(reached):
            row = touched[place]
            if total[row] > 1e-12 and (total[row] > least or (total[row] == least and not crowded)):
                out[end] = row
                end += 1
            total[row] = 0.0
            known[row] = False
        for place in range(shut_begins[user], shut_begins[user + 1]):
            shut[shut_rows[place]] = False
        counts[user] = end - first


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


@_compiled
def forest(levels: Any, features: Any, thresholds: Any, values: Any, patterns: Any, out: Any) -> None:
    """out[pair] += Σ over trees of the value of the pattern that the pair's levels make at the tree's nodes; the patterns are kept."""
    trees, nodes = features.shape
    for pair in range(len(levels)):
        total = 0.0
        for tree in range(trees):
            pattern = 0
            for node in range(nodes):
                if levels[pair, features[tree, node]] > thresholds[tree, node]:
                    pattern |= 1 << node
            patterns[pair, tree] = pattern
            total += values[tree, pattern]
        out[pair] += total


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
    """out[pair, n] += weight · strength(the n-th item of the user's history, the pair's row)."""
    items = len(starts) - 1
    for pair in range(len(pair_rows)):
        user, row = pair_users[pair], pair_rows[pair]
        for place in range(begins[user], begins[user + 1]):
            number, weight = numbers[place], weights[place]
            if weight != 0 and 0 <= number < items:
                for at in range(starts[number], starts[number + 1]):
                    if rows_of[others[at]] == row:
                        out[pair, place - begins[user]] += weight * strengths[at]

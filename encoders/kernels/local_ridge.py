"""Compiled loops for weights between items in a catalogue whose matrix of items by items fits nowhere: which items go together, and one
small ridge regression an item.

All matrices are in rows (starts, others, values) as scipy's CSR. Nothing depends on threads or on the order of equal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler

_compiled = compiler((), "local ridge")


@_compiled
def companions(
    item_starts: Any,
    item_shoppers: Any,
    item_weights: Any,
    shopper_starts: Any,
    shopper_items: Any,
    shopper_weights: Any,
    squares: Any,
    ridge: Any,
    least: Any,
    first: Any,
    out_counts: Any,
    out_others: Any,
    out_values: Any,
) -> None:
    """The items that go with each of ``len(out_counts)`` items from ``first``: of those that at least ``least`` shoppers share with it, as
    many as ``out_others`` [items, most] has places, by Σ over shoppers of the weights' product, divided by √((square + ridge) of both).

    ``item_*`` is the matrix of weights by item, ``shopper_*`` the same by shopper, ``squares`` [items] each item's Σ weight². Out come
    counts, then by ascending item the others and the sums themselves (Σ of products, undivided).
    """
    items = len(item_starts) - 1
    most = out_others.shape[1]
    total, shared = np.zeros(items), np.zeros(items, np.int32)
    reached, strength = np.empty(items, np.int32), np.empty(items)
    roots = np.sqrt(squares + ridge)
    for place in range(len(out_counts)):
        item = first + place
        count = 0
        for at in range(item_starts[item], item_starts[item + 1]):
            shopper, weight = item_shoppers[at], item_weights[at]
            for near in range(shopper_starts[shopper], shopper_starts[shopper + 1]):
                other = shopper_items[near]
                if shared[other] == 0:
                    reached[count] = other
                    count += 1
                shared[other] += 1
                total[other] += weight * shopper_weights[near]
        kept = 0
        for at in range(count):
            other = reached[at]
            if shared[other] >= least and other != item and total[other] > 0:
                reached[kept], strength[kept] = other, total[other] / roots[other]
                kept += 1
            else:
                total[other] = 0.0
            shared[other] = 0
        # Of equal ones the smaller item.
        own = np.sort(reached[:kept])
        for at in range(kept):
            strength[at] = total[own[at]] / roots[own[at]]
        bound, equal = -1.0, 0
        if kept > most:
            bound = np.partition(strength[:kept], kept - most)[kept - most]
            equal = most
            for at in range(kept):
                equal -= int(strength[at] > bound)
        end = 0
        for at in range(kept):
            take = strength[at] > bound
            if not take and equal > 0:
                take = True
                equal -= 1
            if take:
                out_others[place, end], out_values[place, end] = own[at], total[own[at]]
                end += 1
            total[own[at]] = 0.0
        out_counts[place] = end


@_compiled
def solve(
    starts: Any,
    others: Any,
    values: Any,
    squares: Any,
    ridge: Any,
    most: Any,
    first: Any,
    out_counts: Any,
    out_others: Any,
    out_weights: Any,
) -> None:
    """For each of ``len(out_counts)`` items from ``first``: the weights b with (G + ridge · I) b = g, where G are the sums between its
    ``most`` nearest companions and g those with the item (rows as ``companions`` gives them, ``squares`` the diagonal).

    A sum that is in neither's row counts as 0. Where that leaves a matrix without a Cholesky factor, the ridge is doubled until there is
    one. Out come counts, the companions in ascending order, and the weights.
    """
    items = len(starts) - 1
    local = np.full(items, -1, np.int32)
    matrix, factor = np.empty((most, most)), np.empty((most, most))
    right = np.empty(most)
    chosen = np.empty(most, np.int32)
    for place in range(len(out_counts)):
        item = first + place
        size = _nearest(others[starts[item] : starts[item + 1]], values[starts[item] : starts[item + 1]], squares, ridge, chosen, right)
        for at in range(size):
            local[chosen[at]] = at
            matrix[at, :size] = 0.0
        for at in range(size):
            near = chosen[at]
            matrix[at, at] = squares[near]
            for edge in range(starts[near], starts[near + 1]):
                other = local[others[edge]]
                if other >= 0:
                    matrix[at, other] = values[edge]
                    matrix[other, at] = values[edge]
        own = ridge
        while not _cholesky(matrix, size, own, factor):
            own *= 2.0
        _substitute(factor, size, right)
        for at in range(size):
            local[chosen[at]] = -1
            out_others[place, at], out_weights[place, at] = chosen[at], right[at]
        out_counts[place] = size


@_compiled
def _nearest(others: Any, values: Any, squares: Any, ridge: Any, chosen: Any, sums: Any) -> Any:
    """How many were chosen: at most ``len(chosen)``, those with the largest sum / √(square + ridge), of equal ones the first."""
    most, count = len(chosen), len(others)
    if count <= most:
        for at in range(count):
            chosen[at], sums[at] = others[at], values[at]
        return count
    strength = np.empty(count)
    for at in range(count):
        strength[at] = values[at] / np.sqrt(squares[others[at]] + ridge)
    bound = np.partition(strength, count - most)[count - most]
    equal = most
    for at in range(count):
        equal -= int(strength[at] > bound)
    end = 0
    for at in range(count):
        take = strength[at] > bound
        if not take and strength[at] == bound and equal > 0:
            take = True
            equal -= 1
        if take:
            chosen[end], sums[end] = others[at], values[at]
            end += 1
    return end


@compiler((), "local ridge factor", fastmath={"reassoc", "contract", "nsz"})
def _cholesky(matrix: Any, size: Any, ridge: Any, factor: Any) -> Any:
    """Whether matrix + ridge · I has a lower Cholesky factor; it is in ``factor`` then."""
    for row in range(size):
        for column in range(row + 1):
            total = matrix[row, column]
            if row == column:
                total += ridge
            rest = 0.0
            for at in range(column):
                rest += factor[row, at] * factor[column, at]
            total -= rest
            if row == column:
                if not total > 1e-9 * ridge:
                    return False
                factor[row, row] = np.sqrt(total)
            else:
                factor[row, column] = total / factor[column, column]
    return True


@_compiled
def _substitute(factor: Any, size: Any, right: Any) -> None:
    """``right`` becomes the solution of factor · factorᵀ · x = right."""
    for row in range(size):
        total = right[row]
        for at in range(row):
            total -= factor[row, at] * right[at]
        right[row] = total / factor[row, row]
    for row in range(size - 1, -1, -1):
        total = right[row] / factor[row, row]
        right[row] = total
        for at in range(row):
            right[at] -= factor[row, at] * total


@_compiled
def keep(counts: Any, targets: Any, weights: Any, first: Any, kept: Any, kept_others: Any, kept_weights: Any) -> None:
    """Turns weights by target (as ``solve`` gives them, for the items from ``first``) into each item's largest by magnitude: a heap a row
    of ``kept_others`` and ``kept_weights`` [items, most], the smallest on top, ``kept`` [items] how many. Of equal ones the smaller
    target stays."""
    most = kept_others.shape[1]
    for place in range(len(counts)):
        for edge in range(counts[place]):
            item, weight = targets[place, edge], np.float32(weights[place, edge])
            if weight == 0:
                continue
            heap_others, heap_weights = kept_others[item], kept_weights[item]
            if kept[item] < most:
                at = kept[item]
                kept[item] += 1
                while at > 0 and abs(heap_weights[(at - 1) // 2]) > abs(weight):
                    heap_others[at], heap_weights[at] = heap_others[(at - 1) // 2], heap_weights[(at - 1) // 2]
                    at = (at - 1) // 2
                heap_others[at], heap_weights[at] = first + place, weight
            elif abs(weight) > abs(heap_weights[0]):
                at = 0
                while True:
                    below = 2 * at + 1
                    if below >= most:
                        break
                    if below + 1 < most and abs(heap_weights[below + 1]) < abs(heap_weights[below]):
                        below += 1
                    if abs(heap_weights[below]) >= abs(weight):
                        break
                    heap_others[at], heap_weights[at] = heap_others[below], heap_weights[below]
                    at = below
                heap_others[at], heap_weights[at] = first + place, weight

"""A compiled loop over recommended items: how the shares of a score are split over the parts of a history, and which are the largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler


@compiler((), "reason shares", fastmath={"reassoc", "contract", "nsz"})
def largest(
    row_begins: Any,
    rows: Any,
    groups: Any,
    text: Any,
    pairs: Any,
    part_begins: Any,
    coefficients: Any,
    item_begins: Any,
    item_rows: Any,
    queries: Any,
    vectors: Any,
    owners: Any,
    places: Any,
    values: Any,
) -> None:
    """For each of the rows of user after user the largest shares, largest first, equal ones by place: ``places`` int64 and ``values``
    float32, both [rows, most]. A place is first one of the user's parts, then one of her items, then one of the groups; -1 where there
    are fewer.

    A user's parts are her items, then the vectors of her queries; ``queries`` float32 [all queries, dimension] go user by user.
    ``groups`` float64 [rows, groups] are the shares before anything is split: that of column ``text`` goes to the parts in proportion to
    coefficient · (part · row's vector), that of column ``pairs`` to the items in proportion to ``owners`` [rows, longest history]. Only
    what is above 0 is split, and only over what is above 0; what can't be split stays with its group.
    """
    most, count = places.shape[1], groups.shape[1]
    dimension = vectors.shape[1]
    asked = 0
    for user in range(len(row_begins) - 1):
        first_part, first_item = part_begins[user], item_begins[user]
        parts, items = part_begins[user + 1] - first_part, item_begins[user + 1] - first_item
        shares = np.zeros(parts + items + count, np.float32)
        for place in range(row_begins[user], row_begins[user + 1]):
            row = rows[place]
            for group in range(count):
                shares[parts + items + group] = groups[place, group]
            total = 0.0
            amount = groups[place, text]
            if amount > 0:
                for part in range(parts):
                    product = np.float32(0)
                    if part < items:
                        own = item_rows[first_item + part]
                        for at in range(dimension):
                            product += vectors[own, at] * vectors[row, at]
                    else:
                        own = asked + part - items
                        for at in range(dimension):
                            product += queries[own, at] * vectors[row, at]
                    product *= coefficients[first_part + part]
                    shares[part] = max(product, np.float32(0))
                    total += shares[part]
            rest = amount
            for part in range(parts):
                if amount > 0 and total > 0:
                    shares[part] = shares[part] * (amount / total)
                    rest -= shares[part]
                else:
                    shares[part] = 0
            shares[parts + items + text] = rest
            total, amount = 0.0, groups[place, pairs]
            for item in range(items):
                total += max(owners[place, item], 0.0)
            rest = amount
            for item in range(items):
                share = np.float32(0)
                if amount > 0 and total > 0:
                    share = np.float32(max(owners[place, item], 0.0) * (amount / total))
                shares[parts + item] = share
                rest -= share
            shares[parts + items + pairs] = rest
            # Sorted as they come: nearly all are smaller than the few that are kept.
            kept = 0
            for at in range(len(shares)):
                value = shares[at]
                if kept == most and value <= values[place, most - 1]:
                    continue
                below = min(kept, most - 1)
                while below > 0 and values[place, below - 1] < value:
                    values[place, below], places[place, below] = values[place, below - 1], places[place, below - 1]
                    below -= 1
                values[place, below], places[place, below] = value, at
                kept = min(kept + 1, most)
            for at in range(kept, most):
                values[place, at], places[place, at] = 0, -1
        asked += parts - items


@compiler((), "reason shares")
def numbered(row_begins: Any, places: Any, width: Any, numbers: Any, counts: Any, distinct: Any) -> None:
    """Each user's different ``places`` [rows, most], below ``width``, in order of appearance: ``distinct`` int64 [rows · most], user
    after user, so many as ``counts`` [users] says; ``numbers`` uint16 [rows, most] says which of them each place is."""
    known = np.full(width, -1, np.int64)
    end = 0
    for user in range(len(row_begins) - 1):
        first = end
        for row in range(row_begins[user], row_begins[user + 1]):
            for column in range(places.shape[1]):
                place = places[row, column]
                if place < 0:
                    continue
                if known[place] < 0:
                    known[place] = end - first
                    distinct[end] = place
                    end += 1
                numbers[row, column] = known[place]
        for at in range(first, end):
            known[distinct[at]] = -1
        counts[user] = end - first

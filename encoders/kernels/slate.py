"""A compiled loop that fills a list place by place: maximal marginal relevance, variants once, drawn places for new items.

Carbonell and Goldstein, "The use of MMR, diversity-based reranking", 1998: score - weight · largest similarity to what is above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from encoders.kernels.compiling import compiler

_compiled = compiler((), "slate")


@compiler((), "slate", fastmath={"reassoc", "contract"})
def _dot(vectors: Any, one: Any, other: Any) -> Any:
    """The product of two rows, added up in whatever order is fastest: the same one for every pair."""
    total = np.float32(0)
    for at in range(vectors.shape[1]):
        total += vectors[one, at] * vectors[other, at]
    return total


@_compiled
def fill(
    begins: Any,
    pool: Any,
    new_begins: Any,
    new_pool: Any,
    rows: Any,
    scores: Any,
    is_new: Any,
    draws: Any,
    drawn: Any,
    vectors: Any,
    products: Any,
    weight: Any,
    once: Any,
    out: Any,
    by_chance: Any,
    counts: Any,
) -> None:
    """User by user: out[user, place] is a place in rows, scores, is_new and draws (one entry a candidate).

    ``pool`` holds each user's candidates, best first; ``new_pool`` her new ones. At a place that is ``drawn`` [users, places] the new item
    of the largest draw comes, unless as many new items as were drawn so far are above already; at the others, what is worth most. A user
    without a pool gets nothing.
    """
    taken = np.zeros(len(rows), np.bool_)
    nearest = np.zeros(len(rows), np.float64)
    for user in range(len(begins) - 1):
        asked, placed = 0, 0
        for place in range(out.shape[1]):
            pick, chance = -1, False
            if drawn[user, place] and begins[user + 1] > begins[user]:
                asked += 1
                if placed < asked:
                    for at in range(new_begins[user], new_begins[user + 1]):
                        candidate = new_pool[at]
                        if not taken[candidate] and (pick < 0 or draws[candidate] > draws[pick]):
                            pick = candidate
                    chance = pick >= 0
            if pick < 0:
                best = 0.0
                for at in range(begins[user], begins[user + 1]):
                    candidate = pool[at]
                    if not taken[candidate]:
                        value = scores[candidate] - weight * nearest[candidate]
                        if pick < 0 or value > best:
                            pick, best = candidate, value
            if pick < 0:
                break
            taken[pick] = True
            out[user, place] = pick
            by_chance[user, place] = chance
            counts[user] += 1
            if is_new[pick]:
                placed += 1
            row = rows[pick]
            if once:
                for at in range(new_begins[user], new_begins[user + 1]):
                    if products[rows[new_pool[at]]] == products[row]:
                        taken[new_pool[at]] = True
            for at in range(begins[user], begins[user + 1]):
                candidate = pool[at]
                if taken[candidate]:
                    continue
                other = rows[candidate]
                if once and products[other] == products[row]:
                    taken[candidate] = True
                elif weight > 0:
                    nearest[candidate] = max(nearest[candidate], np.float64(_dot(vectors, row, other)))

"""The compiled loops of the scan: score a block of items for all users, and keep candidates for each user.


Candidates are kept in a bounded buffer per user. When a buffer is full, everything clearly below the user's k-th best so far is removed,
and the user's lower bound rises. So after the first few thousand items, almost every block is only compared with the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from encoders.kernels import scan_tile
from encoders.kernels.compiling import compiler
from encoders.kernels.scan_tile import host_shape, lowest_bit, tail_for, tile_for

_SHAPE = host_shape()
if _SHAPE is None:
    raise ImportError("this processor has no AVX2")
ITEMS, USERS = _SHAPE.items, _SHAPE.users
"""Items and users of a tile on this processor."""
BLOCK = 12 * ITEMS
"""Items that all groups of users are compared with in turn: they stay in the first-level cache."""
MASKED = -32768
"""As a bias: nobody may have this item."""
TAIL_STEP = 2 * _SHAPE.lanes
"""Tails have a width that is a multiple of it."""
_tile = tile_for(_SHAPE)
_tail = tail_for(_SHAPE)
_lowest_bit = cast(Callable[[Any], int], lowest_bit)


_compiled = compiler((scan_tile,), _SHAPE)


@_compiled
def turn(vectors: Any, rotation: Any, out: Any) -> None:
    """out = vectors [n, d] · rotation [d, d]. Not by BLAS, whose threads would go on waiting, busily, while the scan needs their cores."""
    for i in range(len(vectors)):
        line = out[i]
        line[:] = 0
        for k in range(len(rotation)):
            value, row = vectors[i, k], rotation[k]
            for c in range(len(line)):
                line[c] += value * row[c]


@_compiled
def keep(row: int, value: Any, at: int, wanted: Any, slack: Any, bounds: Any, kept: Any) -> None:
    """Put ``value`` [of item ``row``, for user ``at``] into the buffer, and raise the bound when that is full.

    ``kept`` is rows int32 [users, capacity], their scores, and how many int64 [users]; ``bounds`` [users] are of the scores' type.
    ``wanted`` int64 [users] is each one's k, below half the capacity. A score within ``slack`` of the k-th best stays as well, unless that
    fills more than half a buffer: then its best half stays, equal ones by row.
    """
    rows, values, counts = kept
    capacity = rows.shape[1]
    count = counts[at]
    rows[at, count], values[at, count] = row, value
    count += 1
    if count == capacity:
        order = np.argsort(-values[at].astype(np.float64), kind="mergesort")
        bound = np.float64(values[at, order[wanted[at] - 1]]) - slack
        count = 0
        for place in order[: capacity // 2]:
            if values[at, place] >= bound:
                count += 1
        if count == capacity // 2:
            bound = np.float64(values[at, order[count - 1]])
        chosen = np.sort(order[:count])  # as they came, so that the next time equal ones are by row again
        for place in range(count):
            rows[at, place], values[at, place] = rows[at, chosen[place]], values[at, chosen[place]]
        # What is as good as the bound is let in, but for a full half.
        if count < capacity // 2:
            bound -= 1
        bounds[at] = max(np.float64(bounds[at]), bound)
    counts[at] = count


@_compiled
def scan(catalogue: Any, first: int, last: int, users: Any, wanted: Any, slack: int, bounds: Any, kept: Any) -> None:
    """``keep`` the items ``first`` to ``last`` (whole tiles) that are above their user's bound.

    ``catalogue``: the items' heads uint8 [rows · width], their tails uint8 [rows · tail width], the prior int16 [rows], both widths.
    ``users``: heads int8 [groups, width / 2, USERS, 2], tails int8 [users · tail width], and of each user what the items' offset adds to
    the head's and the tail's product, taken back, int16, the head's share of the user, and the slack of a head alone. A pair is
    looked at if its head, the prior times the share added, comes near enough to the share of the bound.
    """
    items, tails, prior, width, tail_width = catalogue
    panels, user_tails, start, tail_start, share, head_slack = users
    scores, masks = np.empty(ITEMS * USERS, np.int16), np.empty(ITEMS, np.uint64)
    near, added = np.empty(start.size, np.int16), np.zeros(ITEMS, np.int16)
    for block in range(first, last, BLOCK):
        for user in range(0, start.size, USERS):
            # The same part of the prior for all users of a group: the largest share. It lets in some items that are checked without need.
            most = np.float32(0.0)
            for u in range(USERS):
                most = max(most, share[user + u])
            for u in range(USERS):
                near[user + u] = _near(bounds[user + u], share[user + u], head_slack[user + u])
            for item in range(block, min(block + BLOCK, last), ITEMS):
                for i in range(ITEMS):
                    added[i] = MASKED if prior[item + i] == MASKED else np.int16(np.ceil(most * np.float32(max(prior[item + i], 0))))
                if not _tile(items, item * width, width, panels, user * width, start, near, user, added, 0, scores, masks):
                    continue
                for i in range(ITEMS):
                    mask = masks[i]
                    while mask and prior[item + i] != MASKED:
                        u = _lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        at = user + u
                        value = np.int64(scores[i * USERS + u]) - added[i]
                        if tail_width:
                            rest = _tail(tails, (item + i) * tail_width, user_tails, at * tail_width, tail_width)
                            value = np.int64(np.int16(value + tail_start[at] + rest))
                        value += prior[item + i]
                        if value > bounds[at]:
                            keep(item + i, np.int16(min(value, 32767)), at, wanted, slack, bounds, kept)
                            near[at] = _near(bounds[at], share[at], head_slack[at])


@_compiled
def _near(bound: Any, share: Any, slack: Any) -> Any:
    """The bound for a head. The largest bound, above which there is nothing, stays so."""
    if bound == 32767:
        return np.int16(32767)
    return np.int16(max(-32768.0, np.floor(share * bound) - slack))

"""Hard negatives: items that the model takes for the user's and that are not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from encoders.finetune.examples import Ints

_SCANNED = 50_000
"""Of a larger catalogue, so many items drawn by chance are looked at each time."""


def mine(
    users: npt.NDArray[np.float32],
    items: npt.NDArray[np.float32],
    item_texts: Ints,
    positives: list[Ints],
    *,
    count: int,
    pool: int,
    random: np.random.Generator,
) -> list[Ints]:
    """For each user, ``count`` different texts drawn from the ``pool`` items nearest to it that are none of its positives; fewer where
    there are fewer. float32 [B, D] and [items, D] of the last refresh, int64 [items] and for each user the texts that are its own."""
    if count == 0 or len(item_texts) == 0:
        return [np.zeros(0, np.int64) for _ in positives]
    if len(item_texts) > _SCANNED:
        some = random.choice(len(item_texts), _SCANNED, replace=False)
        items, item_texts = items[some], item_texts[some]
    scores = users @ items.T
    owned = np.zeros(int(max(item_texts.max(), *(int(own.max(initial=0)) for own in positives))) + 1, dtype=bool)
    found = []
    for row, own in zip(scores, positives, strict=True):
        owned[own] = True
        row[owned[item_texts]] = -np.inf
        owned[own] = False
        size = min(pool, len(row))
        nearest = np.argpartition(-row, size - 1)[:size]
        nearest = np.sort(nearest[np.isfinite(row[nearest])])
        found.append(item_texts[random.permutation(nearest)[:count]])
    return found

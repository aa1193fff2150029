"""The vectors of all texts at the last refresh.

They give the catalogue's space, the stale part of histories, hard negatives, and the previous model's vectors.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch

from encoders.finetune.config import FinetuneConfig
from encoders.finetune.distributed import Group
from encoders.finetune.examples import Ints, TrainingSet
from encoders.finetune.text_model import TextModel
from encoders.item_space import fit, identity

_SCANNED = 50_000
"""Of a larger catalogue, so many items drawn by chance are looked at each time."""

Floats = npt.NDArray[np.float32]


class Memory:
    """Filled by ``refresh``; empty, and costing nothing, where no setting asks for it."""

    def __init__(self, data: TrainingSet, config: FinetuneConfig, text_model: TextModel, group: Group) -> None:
        self._data, self._config, self._text_model, self._group = data, config, text_model, group
        dimension = text_model.dimension
        self.wanted = bool(config.whiten or config.drift_weight or config.hard_negatives or config.stale_items)
        self.space = identity(dimension)
        self.placed: Floats = np.zeros((0, dimension), np.float32)
        """float32 [texts, dimension], in the items' space, without gradient."""
        self.items: Floats = np.zeros((0, dimension), np.float32)
        """The catalogue's rows of it, together, so that one product scans them."""
        self.before: Floats = np.zeros((0, dimension), np.float32)
        """float32 [texts, dimension]: the previous model's vectors, as they are."""
        self.vectors: Floats = self.before
        self.seconds = 0.0
        """That the last refresh took here."""

    def start(self) -> None:
        """The first refresh, by the model as it was."""
        if self.wanted:
            self.refresh()
            self.before = self.vectors

    def refresh(self) -> None:
        """Encode every text; each process its share."""
        begun = time.monotonic()
        shares = self._group.shares(np.fromiter((len(text) + 8 for text in self._data.texts), np.int64, len(self._data.texts)))
        mine = self._text_model.encode([self._data.texts[row] for row in shares[self._group.rank]])
        self.put(self._group.gather(torch.from_numpy(mine).to(self._group.device), shares).cpu().numpy())
        self.seconds = time.monotonic() - begun

    def put(self, vectors: Floats) -> None:
        """float32 [texts, dimension], unit length: of a refresh, or from a checkpoint."""
        self.vectors = vectors
        items = self._data.items
        if self._config.whiten:
            self.space = fit(vectors[items])
        self.placed = self.space.transform(vectors)
        self.items = self.placed[items]


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
    """For each user, ``count`` different texts drawn from the ``pool`` items nearest to the user, without the user's positives. Fewer
    if there are fewer. Input: float32 [B, D] and [items, D] of the last refresh, int64 [items], and for each user the user's own
    texts.
    """
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

"""Which examples a step learns from: a function of the seed and the step's number, so that a resumed training goes on exactly."""

from __future__ import annotations

import numpy as np

from encoders.finetune.examples import Ints


class Sampler:
    """Passes over the newest examples in random order, with a share of each batch drawn from the older ones."""

    def __init__(self, times: Ints, *, batch_size: int, newest_from_ms: int | None, replay_share: float, seed: int) -> None:
        """``times``: int64 [examples], milliseconds."""
        newest = np.ones(len(times), bool) if newest_from_ms is None else times >= newest_from_ms
        if not newest.any():
            newest[:] = True
        self._newest, self._older = np.flatnonzero(newest), np.flatnonzero(~newest)
        self._seed = seed
        self._replayed = min(round(replay_share * batch_size), batch_size - 1) if len(self._older) else 0
        self._fresh = batch_size - self._replayed

    def epochs(self, step: int) -> float:
        """Passes over the newest window that end before this step."""
        return step * self._fresh / len(self._newest)

    def batch(self, step: int) -> Ints:
        """int64 [batch_size]: rows of the examples."""
        size = len(self._newest)
        places = np.arange(step * self._fresh, (step + 1) * self._fresh)
        rows = np.empty(len(places), np.int64)
        for epoch in np.unique(places // size):
            here = places // size == epoch
            rows[here] = self._newest[self._order(int(epoch))[places[here] % size]]
        if not self._replayed:
            return rows
        random = np.random.default_rng((self._seed, 1, step))
        older = random.choice(self._older, self._replayed, replace=self._replayed > len(self._older))
        return np.concatenate([rows, older])

    def _order(self, epoch: int) -> Ints:
        return np.random.default_rng((self._seed, 0, epoch)).permutation(len(self._newest))

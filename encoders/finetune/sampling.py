"""The examples and the learning rate of a step: functions of the seed, the step's number and the progress of the training."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

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


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps, seconds, or both: what is nearest to its end counts. So a wall clock budget needs no guess of a step's time: a machine that
    slows down makes fewer steps of the same schedule."""

    steps: int | None
    seconds: float | None

    def fraction(self, step: int, seconds: float) -> float:
        """0 at the start, 1 at the end."""
        of_steps = 0.0 if self.steps is None else step / self.steps
        of_time = 0.0 if self.seconds is None else seconds / self.seconds
        return min(1.0, max(of_steps, of_time))

    def planned_steps(self, step: int, seconds: float) -> int:
        """How many there will be if they go on taking as long as so far; at least ``step``."""
        fraction = self.fraction(step, seconds)
        return max(step, round(step / fraction)) if fraction > 0 else self.steps or 0


def learning_rate(fraction: float, *, peak: float, warmup: float) -> float:
    """A line from near 0 to ``peak`` over the first ``warmup``, then half a cosine to 0."""
    if fraction < warmup:
        return peak * max(fraction / warmup, 0.01)
    return peak * 0.5 * (1 + cos(pi * (fraction - warmup) / max(1e-9, 1 - warmup)))

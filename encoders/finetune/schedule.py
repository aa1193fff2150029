"""How far a training is, and the learning rate there."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi


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

"""Logistic regression on one number: from scores to probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def logistic(scores: Floats, hits: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope, at least 0, and intercept of the logistic regression of hits on scores; one hit and one miss more, half a standard
    deviation about the mean, keep both finite (Platt, "Probabilistic outputs for support vector machines", 1999, for the targets)."""
    middle, spread = float(scores.mean()), max(float(scores.std()), 1e-9)
    at = (scores - middle) / spread
    positives, negatives = float(hits.sum()), float((~hits).sum())
    targets = np.where(hits, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    level = float(np.log(targets.mean() / (1 - targets.mean())))
    found, loss = np.array([0.0, level]), _loss(level * np.ones_like(at), targets)
    for _ in range(50):
        guess = 1 / (1 + np.exp(-np.clip(found[0] * at + found[1], -500, 500)))
        weight = guess * (1 - guess) + 1e-9
        gradient = np.array([((targets - guess) * at).sum(), (targets - guess).sum()])
        hessian = np.array([[(weight * at * at).sum() + 1e-6, (weight * at).sum()], [(weight * at).sum(), weight.sum()]])
        step = np.linalg.solve(hessian, gradient)
        # Newton's step may go too far, and then ever farther, where few scores differ from the rest.
        while np.abs(step).max() > 1e-9 and _loss((found[0] + step[0]) * at + found[1] + step[1], targets) > loss:
            step = step / 2
        if np.abs(step).max() <= 1e-9:
            break
        found = found + step
        loss = _loss(found[0] * at + found[1], targets)
    slope, intercept = found.tolist() if found[0] > 0 else (0.0, level)
    return slope / spread, intercept - slope * middle / spread


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())

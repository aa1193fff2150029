"""The loss: among all candidates, the next item must be nearest to the user's vector, computed as it is served."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

_NEVER = -1e9


def placed(vectors: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """normalise((v - mean) · scale), as encoders/item_space.py does it. [n, dimension], [dimension], [dimension, dimension]."""
    moved = vectors - mean
    return normalize(moved if scale is None else moved @ scale, dim=1, eps=1e-6)


def contrastive(
    users: torch.Tensor,
    candidates: torch.Tensor,
    targets: torch.Tensor,
    allowed: torch.Tensor,
    log_inclusion: torch.Tensor,
    weights: torch.Tensor,
    *,
    temperature: float,
) -> torch.Tensor:
    """Σ wᵢ · -ln softmax over the allowed candidates c of (uᵢ · v_c / temperature - ln Q_ic), at the target, divided by Σ wᵢ.

    InfoNCE (van den Oord et al., 2018) with the logQ correction of Yi et al. ("Sampling-bias-corrected neural modeling for large corpus
    item recommendations", RecSys 2019). float32 [B, D], [C, D], int64 [B] columns, bool [B, C] (the target's own column counts as allowed),
    float32 [B, C], float32 [B]. Zero, with zero gradients, where no example has weight.
    """
    logits = users @ candidates.T / temperature - log_inclusion
    own = torch.zeros_like(allowed).scatter_(1, targets[:, None], True)
    logits = logits.masked_fill(~(allowed | own), _NEVER)
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    return (weights * each).sum() / weights.sum().clamp_min(1e-12)


def drift(vectors: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cos(vector, the previous model's); both of unit length, [n, dimension]."""
    return (1 - (vectors * before).sum(1)).mean()


def example_weights(outcome: torch.Tensor, propensity: torch.Tensor, clip: float) -> torch.Tensor:
    """outcome · min(1 / propensity, clip): inverse propensity scoring, clipped (Ionides, "Truncated importance sampling", 2008)."""
    return outcome * (1.0 / propensity).clamp_max(clip)

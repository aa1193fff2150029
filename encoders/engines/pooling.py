"""From the last layer's states to one unit vector a row: the same on every device."""

from __future__ import annotations

import torch


def unit_vectors(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """float32 [rows, dimension] of ``hidden`` [rows, width, dimension] in any precision and ``mask`` bool [rows, width], on their device.

    ``pooling`` is mean or cls. A row must have a token: the mean of none is NaN.
    """
    states = hidden.float()
    if pooling == "cls":
        pooled = states[:, 0]
    else:
        weight = mask[:, :, None].float()
        pooled = (states * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1)

"""Any Hugging Face encoder with torch on a CPU: the reference for every other engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from encoders.engines.engine import Vectors


class TorchEngine:
    """One forward pass at a time; torch's own threads share it."""

    lanes = 1

    def __init__(self, model: Any, *, name: str, pooling: str, padding_id: int, batch_tokens: int) -> None:
        """``pooling`` is mean or cls. ``padding_id`` is the token that fills rows up; a mask hides it."""
        self._model = model
        self._pooling = pooling
        self._padding_id = padding_id
        self.name = name
        self.dimension = int(model.config.hidden_size)
        self.batch_tokens = batch_tokens

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """See ``Engine.forward``. Rows of one length cost no padding."""
        width = max(len(row) for row in rows)
        ids = torch.tensor([[*row, *[self._padding_id] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(width)[None, :] < lengths[:, None]
        padding = len(rows) * width - int(lengths.sum())
        with torch.inference_mode():
            # Rows of one length need no mask, and without one attention takes its faster path.
            hidden = self._model(input_ids=ids, attention_mask=mask.long() if padding else None).last_hidden_state
            return cast(Vectors, unit_vectors(hidden, mask, self._pooling).numpy()), padding


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

"""Any Hugging Face encoder by torch, on a CPU or a GPU: the reference for every other engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
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
        self._device = next(model.parameters()).device
        self.name = name
        self.dimension = int(model.config.hidden_size)
        self.batch_tokens = batch_tokens

    def widths(self, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """See ``Engine.widths``."""
        return lengths

    def forward(self, rows: Sequence[Sequence[int]]) -> tuple[Vectors, int]:
        """See ``Engine.forward``. Rows of one length cost no padding."""
        width = max(len(row) for row in rows)
        ids = torch.tensor([[*row, *[self._padding_id] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(width)[None, :] < lengths[:, None]
        padding = len(rows) * width - int(lengths.sum())
        with torch.inference_mode():
            ids, mask = ids.to(self._device, non_blocking=True), mask.to(self._device, non_blocking=True)
            # Rows of one length need no mask, and without one attention takes its faster path.
            unit = unit_vectors(self._model, ids, mask, masked=padding > 0, pooling=self._pooling)
            return cast(Vectors, unit.cpu().numpy()), padding


def unit_vectors(model: Any, ids: torch.Tensor, mask: torch.Tensor, *, masked: bool, pooling: str) -> torch.Tensor:
    """float32 [rows, dimension]: the pooled last layer, of unit length; ``ids`` int64 and ``mask`` bool [rows, width]."""
    hidden = model(input_ids=ids, attention_mask=mask.long() if masked else None).last_hidden_state.float()
    if pooling == "cls":
        pooled = hidden[:, 0]
    else:
        weight = mask[:, :, None].float()
        pooled = (hidden * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1)

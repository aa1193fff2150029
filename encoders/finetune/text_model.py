"""The model in training: a function from texts to vectors with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from encoders.encoder import token_batches
from encoders.engines.torch_engine import unit_vectors
from encoders.folder import check_files, locate, sentence_config
from encoders.loading import DEFAULT_MAX_TOKENS, positions, read_model
from encoders.tokens import Tokens

Rows = Sequence[Sequence[int]]
_ENCODED_AT_ONCE = 4096
"""Texts tokenized at a time where no gradient is wanted."""


@dataclass(slots=True)
class TextModel:
    """A BERT-family model in fp32, what turns texts into its tokens, and how it computes."""

    model: Any
    tokens: Tokens
    pooling: str
    padding_id: int
    pooler: Any
    """Taken out, since sentence vectors do not use it; saved with the rest."""
    device: torch.device
    autocast: torch.dtype | None
    token_budget: int

    @classmethod
    def open(cls, folder: Path, *, precision: str, device: torch.device, token_budget: int, dropout: float) -> TextModel:
        """Raises UnusableError as ``load_encoder`` does."""
        folder = locate(str(folder))
        check_files(folder)
        config = sentence_config(folder)
        tokenizer, model = read_model(folder, torch.float32)
        longest = min(config.max_tokens or DEFAULT_MAX_TOKENS, positions(model), tokenizer.model_max_length)
        pooler, model.pooler = getattr(model, "pooler", None), None
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        tokens = Tokens(tokenizer, max_tokens=longest, lower_case=config.lower_case, prompt=config.prompt)
        native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        autocast = torch.bfloat16 if precision == "bf16" or (precision == "auto" and native) else None
        return cls(model.to(device), tokens, config.pooling, tokenizer.pad_token_id or 0, pooler, device, autocast, token_budget)

    @property
    def dimension(self) -> int:
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 [n, dimension], unit length, in input order, without gradient or dropout."""
        found = np.empty((len(texts), self.dimension), np.float32)
        training = self.model.training
        self.model.eval()
        for start in range(0, len(texts), _ENCODED_AT_ONCE):
            rows = self.tokens(texts[start : start + _ENCODED_AT_ONCE])
            found[start : start + len(rows)] = self.forward(rows, keep=False, seed=0).vectors.cpu().numpy()
        self.model.train(training)
        return found

    def forward(self, rows: Rows, *, keep: bool, seed: int) -> Encoded:
        """Vectors of rows of tokens, in sub-batches of similar length. With ``keep`` what the gradient needs is kept; without, ``backward``
        computes it again with the same dropout, which ``seed`` decides."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        batches = [torch.from_numpy(batch) for batch in token_batches(lengths, self.token_budget)]
        vectors = torch.empty(len(rows), self.dimension, device=self.device)
        outputs: list[torch.Tensor] = []
        # One context for all sub-batches: the weights are cast to bf16 once.
        with torch.set_grad_enabled(keep), self._cast():
            for number, batch in enumerate(batches):
                output = self._unit(rows, batch, seed + number)
                vectors[batch] = output.detach()
                if keep:
                    outputs.append(output)
        return Encoded(vectors, batches, outputs, lambda number, batch: self._again(rows, batch, seed + number))

    def _again(self, rows: Rows, batch: torch.Tensor, seed: int) -> torch.Tensor:
        with torch.enable_grad(), self._cast():
            return self._unit(rows, batch, seed)

    def _unit(self, rows: Rows, batch: torch.Tensor, seed: int) -> torch.Tensor:
        chosen = [rows[row] for row in batch.tolist()]
        width = max(len(row) for row in chosen)
        ids = torch.tensor([[*row, *[self.padding_id] * (width - len(row))] for row in chosen], device=self.device)
        lengths = torch.tensor([len(row) for row in chosen], device=self.device)
        mask = torch.arange(width, device=self.device)[None, :] < lengths[:, None]
        torch.manual_seed(seed)
        padded = bool((lengths < width).any())
        hidden = self.model(input_ids=ids, attention_mask=mask.long() if padded else None).last_hidden_state
        return unit_vectors(hidden, mask, self.pooling)

    def _cast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None)


@dataclass(slots=True)
class Encoded:
    """Vectors, and the way back from their gradients to those of the weights."""

    vectors: torch.Tensor
    """float32 [rows, dimension], detached."""
    batches: list[torch.Tensor]
    outputs: list[torch.Tensor]
    """Empty if nothing was kept."""
    again: Callable[[int, torch.Tensor], torch.Tensor]

    def backward(self, gradient: torch.Tensor) -> None:
        """Add to the weights' gradients; ``gradient`` is the loss's, [rows, dimension]."""
        if self.outputs:
            torch.autograd.backward(self.outputs, [gradient[batch] for batch in self.batches])
            self.outputs = []
            return
        for number, batch in enumerate(self.batches):
            torch.autograd.backward(self.again(number, batch), gradient[batch])

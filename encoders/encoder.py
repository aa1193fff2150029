"""A BERT-family model as a function from texts to unit vectors, in length-sorted batches under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from encoders.texts import check_texts

MAX_CHARACTERS = 20_000
"""Characters of a text that are tokenized at all; the model reads far fewer tokens."""

Vectors = npt.NDArray[np.float32]


class Encoder:
    """Immutable after construction; ``encode`` may be called from one thread at a time."""

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        *,
        pooling: str,
        max_tokens: int,
        lower_case: bool,
        prompt: str,
        version: str,
        token_budget: int,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._max_tokens = max_tokens
        self._lower_case = lower_case
        self._prompt = prompt
        self._token_budget = token_budget
        self._device = next(model.parameters()).device
        self.version = version
        """Twelve hexadecimal characters of the weights and of what else decides the vectors."""
        self.dimension = int(cast(Any, model).config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, dimension], unit length, in input order. An empty text has a vector too (that of no words).

        Raises TypeError that names the index where an element is not text. Lone surrogates count as no characters, and only the
        first MAX_CHARACTERS are read.
        """
        check_texts(texts)
        prepared = [self._prepare(text) for text in texts]
        vectors = np.empty((len(prepared), self.dimension), dtype=np.float32)
        if not prepared:
            return vectors
        tokens = self._tokenizer(prepared, truncation=True, max_length=self._max_tokens, padding=False, return_attention_mask=False)[
            "input_ids"
        ]
        lengths = np.fromiter((len(ids) for ids in tokens), dtype=np.int64, count=len(tokens))
        for rows in token_batches(lengths, self._token_budget):
            vectors[rows] = self._forward([tokens[row] for row in rows])
        return vectors

    def _prepare(self, text: str) -> str:
        text = self._prompt + text[:MAX_CHARACTERS]
        if not text.isascii():
            text = text.encode("utf-8", "ignore").decode("utf-8")
        return text.lower() if self._lower_case else text

    def _forward(self, tokens: list[list[int]]) -> Vectors:
        width = max(len(ids) for ids in tokens)
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [padding] * (width - len(row)) for row in tokens])
        lengths = torch.tensor([len(row) for row in tokens])
        mask = torch.arange(width)[None, :] < lengths[:, None]
        with torch.inference_mode():
            ids, mask = ids.to(self._device, non_blocking=True), mask.to(self._device, non_blocking=True)
            # Rows of one length need no mask, and without one attention takes its faster path.
            attention = None if bool((lengths == width).all()) else mask.long()
            hidden = self._model(input_ids=ids, attention_mask=attention).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask[:, :, None].float()
                pooled = (hidden * weight).sum(1) / weight.sum(1)
            unit = torch.nn.functional.normalize(pooled, dim=1)
            return cast(Vectors, unit.cpu().numpy())


def token_batches(lengths: npt.NDArray[np.int64], budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches of similar length, longest first, each of at most ``budget`` padded tokens (or one row)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size

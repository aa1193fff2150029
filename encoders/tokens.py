"""Texts to rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_CHARACTERS = 20_000
"""Characters of a text that are tokenized at all; the model reads far fewer tokens."""


class Tokens:
    """A transformers tokenizer with its length, case and prompt; may be called by several threads at once."""

    def __init__(self, tokenizer: Any, *, max_tokens: int, lower_case: bool, prompt: str) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._lower_case = lower_case
        self._prompt = prompt
        self._fast = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        if self._fast is not None:
            # Set once: setting it with each call, as transformers does, is no work for two threads at once.
            self._fast.enable_truncation(max_tokens)
            self._fast.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """One row a text, special tokens included, at most ``max_tokens`` long."""
        prepared = [self._prepare(text) for text in texts]
        if self._fast is not None:
            return [encoding.ids for encoding in self._fast.encode_batch_fast(prepared)]
        rows: list[list[int]] = self._tokenizer(
            prepared, truncation=True, max_length=self._max_tokens, padding=False, return_attention_mask=False
        )["input_ids"]
        return rows

    def _prepare(self, text: str) -> str:
        text = self._prompt + text[:MAX_CHARACTERS]
        if not text.isascii():
            text = text.encode("utf-8", "ignore").decode("utf-8")
        return text.lower() if self._lower_case else text


def check_texts(texts: Sequence[str]) -> None:
    """Raises TypeError for a single text instead of a list, and for an element that is not text. The message has its index."""
    if isinstance(texts, str):
        raise TypeError("texts is one str; give a list of them")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is {type(text).__name__}, not str")

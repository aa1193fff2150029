"""Other wordings of a text that mean the same, so that the model does not learn the wording."""

from __future__ import annotations

import re

import numpy as np

_ATTRIBUTES = ". "
"""Between title, category, brand and description, as the catalogue stage writes them."""
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Chinese and Japanese characters: they stand without spaces."""


def augment(text: str, random: np.random.Generator) -> str:
    """The text without an attribute behind the first, or without a word or two, or with two neighbouring words in the other order;
    of a text without spaces, without a span of characters. Never empty unless the text is; never anything that was not in it."""
    kind = random.integers(3)
    attributes = text.split(_ATTRIBUTES)
    if kind == 0 and len(attributes) > 1:
        left_out = int(random.integers(1, len(attributes)))
        return _ATTRIBUTES.join(part for place, part in enumerate(attributes) if place != left_out)
    words = text.split()
    if len(words) < 3 and len(_UNSPACED.findall(text)) >= 4:
        return _without_span(text, random)
    if len(words) < 2:
        return text
    if kind == 1:
        place = int(random.integers(len(words) - 1))
        words[place], words[place + 1] = words[place + 1], words[place]
        return " ".join(words)
    drops = int(random.integers(1, 1 + max(1, len(words) // 4)))
    kept = sorted(random.permutation(len(words))[: len(words) - drops].tolist())
    return " ".join(words[place] for place in kept)


def _without_span(text: str, random: np.random.Generator) -> str:
    """Without a run of one to a quarter of its characters."""
    length = int(random.integers(1, 1 + max(1, len(text) // 4)))
    start = int(random.integers(0, len(text) - length + 1))
    return (text[:start] + text[start + length :]).strip() or text

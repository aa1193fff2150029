"""Other wordings: parts of the text, never empty, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.finetune.batches import augment

seeds = st.integers(0, 2**32 - 1)
words = st.lists(st.text("abcdefg", min_size=1, max_size=6), min_size=1, max_size=12)


@given(st.text(max_size=60), seeds)
def test_same_seed_same_wording(text: str, seed: int) -> None:
    assert augment(text, np.random.default_rng(seed)) == augment(text, np.random.default_rng(seed))


@given(st.text(max_size=60), seeds)
def test_never_empty_nothing_invented(text: str, seed: int) -> None:
    found = augment(text, np.random.default_rng(seed))
    assert bool(found.strip()) or not text.strip()
    assert Counter("".join(found.split())) <= Counter(text)


@given(words, seeds)
def test_most_words_stay(parts: list[str], seed: int) -> None:
    found = augment(" ".join(parts), np.random.default_rng(seed)).split()
    assert not Counter(found) - Counter(parts)
    assert len(found) >= len(parts) - max(1, len(parts) // 4)


@given(seeds)
def test_attributes_are_left_out_but_not_the_title(seed: int) -> None:
    random = np.random.default_rng(seed)
    seen = {augment("scarf. silk. acme", random) for _ in range(60)}
    assert {"scarf. acme", "scarf. silk"} <= seen
    assert all("scarf" in text or len(text.split()) == 2 for text in seen)


@given(st.text("红色丝绸围巾无线蓝牙耳机", min_size=4, max_size=20), seeds)
def test_chinese_loses_a_span(text: str, seed: int) -> None:
    found = augment(text, np.random.default_rng(seed))
    start = next((i for i, (a, b) in enumerate(zip(text, found, strict=False)) if a != b), len(found))
    gone = len(text) - len(found)
    assert 1 <= gone <= max(1, len(text) // 4)
    assert any(text[:at] + text[at + gone :] == found for at in range(start + 1))

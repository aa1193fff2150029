"""Only the texts that fail, fail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.batching.micro_batcher import encode_each
from encoders.engines.engine import Vectors


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=60))
def test_each_good_text_has_its_vector(texts: list[tuple[int, bool]]) -> None:
    calls = 0

    def encode(names: Sequence[str]) -> Vectors:
        nonlocal calls
        calls += 1
        if any(name.startswith("bad") for name in names):
            raise ArithmeticError
        return np.array([[int(name)] for name in names], np.float32)

    outcomes = encode_each(encode, [f"bad{number}" if bad else str(number) for number, bad in texts])
    for (number, bad), outcome in zip(texts, outcomes, strict=True):
        assert isinstance(outcome, ArithmeticError) if bad else outcome[0] == number  # type: ignore[index]
    assert calls <= 1 + 14 * sum(bad for _, bad in texts)


def test_a_wrong_number_of_vectors_is_an_error() -> None:
    outcomes = encode_each(lambda texts: np.zeros((1 + len(texts), 2), np.float32), ["a", "b"])
    assert [str(outcome) for outcome in outcomes] == ["the encoder gave 2 vectors for 1 texts"] * 2

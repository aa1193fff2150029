"""The cache never holds more than its bound, and gives what was put last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.batching.cache import VectorCache

KEYS = st.tuples(st.sampled_from(["v1", "v2"]), st.text(max_size=3))


@given(st.lists(st.tuples(KEYS, st.booleans()), max_size=80), st.integers(0, 4000))
def test_like_a_dictionary_within_its_bound(steps: list[tuple[tuple[str, str], bool]], bound: int) -> None:
    cache, all_put = VectorCache(bound), {}
    for number, ((version, text), write) in enumerate(steps):
        if write:
            vector = np.full(8, number, np.float32)
            cache.put(version, text, vector)
            vector[:] = -1
            all_put[version, text] = number
        else:
            found = cache.get(version, text)
            assert found is None or (found == all_put[version, text]).all()
        assert cache.bytes <= bound
        assert (cache.bytes == 0) == (len(cache) == 0)


def test_the_least_recently_used_goes_first() -> None:
    cache = VectorCache(800)
    for text in "ab":
        cache.put("v", text, np.zeros(8, np.float32))
    cache.get("v", "a")
    cache.put("v", "c", np.zeros(8, np.float32))
    assert [cache.get("v", text) is not None for text in "abc"] == [True, False, True]

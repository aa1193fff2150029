"""The asynchronous front: each text once, never more than the bound, right answers whoever asks at the same time."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from encoders.async_encoder import AsyncEncoder, Vectors
from encoders.hashing import HashingEncoder


class Recording(HashingEncoder):
    """Knows what it was asked, and waits where it is told to."""

    def __init__(self) -> None:
        super().__init__(16)
        self.asked: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()

    def encode(self, texts):  # type: ignore[no-untyped-def]
        self.asked.append(list(texts))
        assert self.go.wait(10)
        return super().encode(texts)


async def test_least_recently_used_texts_go_first() -> None:
    inner = Recording()
    front = AsyncEncoder(inner, cached_texts=2)
    for texts in (["a", "b"], ["a"], ["c"], ["a"], ["b"]):
        await front.encode_many(texts)
    assert inner.asked == [["a", "b"], ["c"], ["b"]], "c pushed b out, since a had been asked for again"


async def test_a_text_pushed_out_by_another_task_meanwhile() -> None:
    inner = Recording()
    front = AsyncEncoder(inner, cached_texts=1)
    await front.encode_many(["known"])
    inner.go.clear()
    waiting = [asyncio.create_task(front.encode_many(["other"])), asyncio.create_task(front.encode_many(["known", "new"]))]
    await asyncio.sleep(0)
    inner.go.set()
    other, both = await asyncio.gather(*waiting)
    expected: Vectors = HashingEncoder(16).encode(["other", "known", "new"])
    assert np.array_equal(np.concatenate([other, both]), expected)


async def test_more_texts_than_the_cache_holds() -> None:
    texts = [f"text {number}" for number in range(50)]
    front = AsyncEncoder(Recording(), cached_texts=3)
    assert np.array_equal(await front.encode_many(texts), HashingEncoder(16).encode(texts))
    assert (await front.encode_many([])).shape == (0, 16)


async def test_the_loop_goes_on_while_the_model_works() -> None:
    inner = Recording()
    inner.go.clear()
    task = asyncio.create_task(AsyncEncoder(inner).encode_many(["slow"]))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    inner.go.set()
    assert (await task).shape == (1, 16)


@pytest.mark.parametrize(
    ("texts", "said"), [("one text", "give a list"), (["a", "a", 7], r"texts\[2\] is int"), (["a", []], r"texts\[1\] is list")]
)
async def test_what_is_not_text_is_named_by_its_own_index(texts: list[str], said: str) -> None:
    front = AsyncEncoder(Recording())
    await front.encode_many(["a"])
    with pytest.raises(TypeError, match=said):
        await front.encode_many(texts)


async def test_an_error_of_the_encoder_reaches_the_caller_and_nothing_is_kept() -> None:
    inner = Recording()
    front = AsyncEncoder(inner)
    inner.dimension = 0
    with pytest.raises(ZeroDivisionError):
        await front.encode_many(["a"])
    inner.dimension = 16
    assert (await front.encode_many(["a"])).shape == (1, 16)

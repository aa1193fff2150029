"""The asynchronous front: each text once, never more than the bound, right answers whoever asks at the same time."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from encoders.batching.cache import VectorCache
from encoders.batching.micro_batcher import MicroBatcher
from encoders.engines.engine import Vectors
from encoders.hashing import HashingEncoder


class Recording(HashingEncoder):
    """Knows what it was asked, and waits where it is told to."""

    def __init__(self) -> None:
        super().__init__(16)
        self.asked: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def encode(self, texts):  # type: ignore[no-untyped-def]
        self.asked.append(list(texts))
        self.begun.set()
        assert self.go.wait(10)
        return super().encode(texts)


async def test_least_recently_used_texts_go_first() -> None:
    inner = Recording()
    front = MicroBatcher(inner, cache=VectorCache(800))
    for texts in (["a", "b"], ["a"], ["c"], ["a"], ["b"]):
        await front.encode_many(texts)
    assert inner.asked == [["a", "b"], ["c"], ["b"]], "c pushed b out, since a had been asked for again"


async def test_a_text_pushed_out_by_another_task_meanwhile() -> None:
    inner = Recording()
    front = MicroBatcher(inner, cache=VectorCache(500))
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
    front = MicroBatcher(Recording(), cache=VectorCache(1200))
    assert np.array_equal(await front.encode_many(texts), HashingEncoder(16).encode(texts))
    assert (await front.encode_many([])).shape == (0, 16)


async def test_the_loop_goes_on_while_the_model_works() -> None:
    inner = Recording()
    inner.go.clear()
    task = asyncio.create_task(MicroBatcher(inner).encode_many(["slow"]))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    inner.go.set()
    assert (await task).shape == (1, 16)


@pytest.mark.parametrize(
    ("texts", "said"), [("one text", "give a list"), (["a", "a", 7], r"texts\[2\] is int"), (["a", []], r"texts\[1\] is list")]
)
async def test_what_is_not_text_is_named_by_its_own_index(texts: list[str], said: str) -> None:
    front = MicroBatcher(Recording())
    await front.encode_many(["a"])
    with pytest.raises(TypeError, match=said):
        await front.encode_many(texts)


async def test_an_error_of_the_encoder_reaches_the_caller_and_nothing_is_kept() -> None:
    inner = Recording()
    front = MicroBatcher(inner)
    inner.dimension = 0
    with pytest.raises(ZeroDivisionError):
        await front.encode_many(["a"])
    inner.dimension = 16
    assert (await front.encode_many(["a"])).shape == (1, 16)


async def test_requests_gather_while_a_batch_computes() -> None:
    inner = Recording()
    front = MicroBatcher(inner)
    inner.go.clear()
    first = asyncio.create_task(front.encode_many(["first"]))
    await asyncio.to_thread(inner.begun.wait, 10)
    others = [asyncio.create_task(front.encode_many([f"text {n % 10}"])) for n in range(64)]
    await asyncio.sleep(0)
    inner.go.set()
    rows = np.concatenate(await asyncio.gather(first, *others))
    assert inner.asked == [["first"], [f"text {n}" for n in range(10)]], "one batch, each text once"
    assert np.array_equal(rows[1:], HashingEncoder(16).encode([f"text {n % 10}" for n in range(64)]))


class Poisoned(Recording):
    """Fails for some texts, as a batch does."""

    def encode(self, texts):  # type: ignore[no-untyped-def]
        if any(text.startswith("bad") for text in texts):
            self.asked.append(list(texts))
            raise ArithmeticError("no vector")
        return super().encode(texts)


async def test_a_poisonous_text_fails_alone() -> None:
    inner = Poisoned()
    front = MicroBatcher(inner)
    requests = [["good 1", "bad 1"], ["good 1", "good 2"], *([f"good {n}"] for n in range(3, 60))]
    answers = await asyncio.gather(*(front.encode_many(texts) for texts in requests), return_exceptions=True)
    assert isinstance(answers[0], ArithmeticError)
    for texts, answer in zip(requests[1:], answers[1:], strict=True):
        assert np.array_equal(answer, HashingEncoder(16).encode(texts))
    assert len(inner.asked) < 20
    assert (await front.encode_many(["good 1"])).shape == (1, 16)


async def test_a_cancelled_request_takes_nothing_from_others_and_is_not_computed() -> None:
    inner = Recording()
    front = MicroBatcher(inner)
    inner.go.clear()
    first = asyncio.create_task(front.encode_many(["first"]))
    await asyncio.to_thread(inner.begun.wait, 10)
    gone = asyncio.create_task(front.encode_many(["shared", "only his"]))
    stays = asyncio.create_task(front.encode_many(["shared"]))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    inner.go.set()
    await asyncio.gather(first, stays)
    assert inner.asked == [["first"], ["shared"]]
    again = await front.encode_many(["only his"])
    assert np.array_equal(again, HashingEncoder(16).encode(["only his"]))


async def test_closing_answers_what_was_accepted() -> None:
    inner = Recording()
    front = MicroBatcher(inner, max_batch_texts=2)
    inner.go.clear()
    requests = [asyncio.create_task(front.encode_many([f"a {n}", f"b {n}"])) for n in range(20)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(front.close())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not closing.done()
    with pytest.raises(RuntimeError, match="closed"):
        await front.encode_many(["late"])
    inner.go.set()
    await closing
    assert [request.result().shape for request in requests] == [(2, 16)] * 20


async def test_a_full_queue_makes_requests_wait() -> None:
    inner = Recording()
    front = MicroBatcher(inner, max_waiting_texts=10, max_batch_texts=4)
    inner.go.clear()
    requests = [asyncio.create_task(front.encode_many([f"text {n}"])) for n in range(100)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(front._queue.entries) <= 10
    inner.go.set()
    rows = np.concatenate(await asyncio.gather(*requests))
    assert np.array_equal(rows, HashingEncoder(16).encode([f"text {n}" for n in range(100)]))
    assert max(len(texts) for texts in inner.asked) == 4

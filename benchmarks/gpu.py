"""What the product does on a GPU, in one run of less than eight minutes: ``python -m benchmarks.gpu``.

Parity with the CPU, texts per second beside sentence-transformers and the GPU's own product rate, fine-tuning, the ten best of a million
and of ten million items, and the latency of the micro-batcher. Without a GPU it says so and fails.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.encoder import rate, shop_texts
from benchmarks.finetune import BATCH, WARM, shop_pairs, training_set
from benchmarks.harness import interleave, ratio, save
from encoders.batching.cache import VectorCache
from encoders.batching.micro_batcher import MicroBatcher
from encoders.encoder import Encoder
from encoders.finetune.config import FinetuneConfig
from encoders.finetune.loop import finetune
from encoders.folder import locate
from encoders.loading import load
from streams.ranking.select import margin, propose

TEXTS, PARITY_TEXTS = 20_000, 500
RUNS = 5
STEPS = 20
DIMENSION, USERS, BEST = 384, 64, 10
BLOCK = 1_000_000
"""Items whose scores are on the GPU at a time."""


def main() -> None:
    """Measure and save; exits with 1 where there is no GPU."""
    if not torch.cuda.is_available():
        print(
            "error: torch sees no GPU here, so nothing is measured; run this on a machine with CUDA",
            file=sys.stderr,
        )
        raise SystemExit(1)
    begun = time.perf_counter()
    result: dict[str, Any] = {"gpu": torch.cuda.get_device_name(0), "cuda": torch.version.cuda, "models": {}}
    for name in ("bundled-en", "bundled-multilingual"):
        result["models"][name] = encoding(name)
    result["gemm_tflops"] = {str(dtype).removeprefix("torch."): gemm(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    result["finetune_pairs_per_second"] = learning()
    result["search"] = {f"{items:,}": search(items) for items in (1_000_000, 10_000_000)}
    result["seconds"] = time.perf_counter() - begun
    print(f"wrote {save('gpu', result)} in {result['seconds']:.0f} s")


def encoding(name: str) -> dict[str, Any]:
    """Parity, speed and latency of one model."""
    texts = shop_texts(TEXTS, seed=20)
    cpu = load(name, device="cpu", precision="fp32", token_budget=2048)
    gpu = load(name, device="cuda", precision="auto", token_budget=32_768)
    peer = SentenceTransformer(str(locate(name)), device="cuda", model_kwargs={"dtype": torch.bfloat16})
    expected = cpu.encode(texts[:PARITY_TEXTS]).astype("f8")
    error = 1 - float((gpu.encode(texts[:PARITY_TEXTS]).astype("f8") * expected).sum(1).min())
    cpu.close()
    peer.encode(texts[:256], batch_size=256)
    gpu.encode(texts)  # every shape once
    measured = interleave(
        {
            "veilstream": lambda _: rate(lambda: gpu.encode(texts), TEXTS),
            "sentence_transformers": lambda _: rate(lambda: peer.encode(texts, batch_size=256, show_progress_bar=False), TEXTS),
        },
        RUNS,
    )
    waits = asyncio.run(latencies(gpu, texts[:4_000]))
    found = {
        "engine": gpu.engine,
        "worst_cosine_error": error,
        "runs": measured,
        "to_sentence_transformers": ratio(measured, "veilstream", "sentence_transformers"),
        "micro_batcher_ms": {"p50": waits[len(waits) // 2], "p99": waits[int(0.99 * len(waits))]},
    }
    gpu.close()
    return found


async def latencies(encoder: Encoder, texts: list[str]) -> list[float]:
    """What 64 callers, who ask for one text at a time, wait, milliseconds, ascending; nothing is cached."""
    front, left, waits = MicroBatcher(encoder, cache=VectorCache(0)), iter(texts), []

    async def ask() -> None:
        for text in left:
            begun = time.perf_counter()
            await front.encode_many([text])
            waits.append(1e3 * (time.perf_counter() - begun))

    await asyncio.gather(*(ask() for _ in range(64)))
    await front.close()
    return sorted(waits)


def gemm(dtype: torch.dtype) -> float:
    """TFLOP/s of a square product of 8,192."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    seconds = timed(lambda: a @ b, 10)
    return 2 * 8192**3 / seconds / 1e12


def learning() -> float:
    """Pairs per second of fine-tuning steps behind the first ones."""
    data = training_set(shop_pairs(BATCH * (STEPS + WARM), seed=20))
    ends: list[float] = []
    config = FinetuneConfig(steps=STEPS + WARM, batch_size=BATCH, adapter="full", device="cuda")
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            locate("bundled-en"),
            data,
            config,
            Path(folder) / "model",
            checkpoints=None,
            on_progress=lambda _: ends.append(time.perf_counter()),
        )
    return STEPS * BATCH / (ends[-1] - ends[WARM - 1])


def search(items: int) -> dict[str, float]:
    """Milliseconds for the ten best of 64 users by a blocked half-precision product, and how many of them the exact product confirms."""
    generator = torch.Generator("cuda").manual_seed(20)
    parts = []
    for _ in range(items // BLOCK):
        block = torch.randn(BLOCK, DIMENSION, device="cuda", generator=generator)
        parts.append(torch.nn.functional.normalize(block, dim=1).half())
    users = torch.nn.functional.normalize(torch.randn(USERS, DIMENSION, device="cuda", generator=generator), dim=1).half()

    def best() -> torch.Tensor:
        tops = [torch.topk(users @ part.T, BEST, dim=1) for part in parts]
        scores = torch.cat([top.values for top in tops], dim=1)
        rows = torch.cat([top.indices + BLOCK * number for number, top in enumerate(tops)], dim=1)
        return rows.gather(1, torch.topk(scores, BEST, dim=1).indices)

    milliseconds = 1e3 * timed(best, RUNS)
    found, exact = best().cpu().numpy(), users.float().cpu().numpy()
    scores = np.concatenate([exact @ part.float().cpu().numpy().T for part in parts[:1]], axis=1)
    pairs = propose(scores, BEST, float("-inf"), margin(DIMENSION))
    wanted = {(int(u), int(r)) for u, r in zip(pairs.users, pairs.rows, strict=True)}
    if items > BLOCK:
        return {"milliseconds": milliseconds}
    return {"milliseconds": milliseconds, "recall": statistics.mean((u, int(r)) in wanted for u in range(USERS) for r in found[u])}


def timed(work: Callable[[], object], times: int) -> float:
    """Seconds, the median of several calls, each waited for."""
    work()
    seconds = []
    for _ in range(times):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()

"""How fast the encoder is, beside sentence-transformers and one text at a time, and behind its front: ``python -m benchmarks.encoder``."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoTokenizer

from benchmarks.harness import RESULTS, interleave, ratio, save
from encoders.batching.cache import VectorCache
from encoders.batching.micro_batcher import MicroBatcher
from encoders.encoder import Encoder
from encoders.folder import locate
from encoders.loading import load
from streams.simulator.catalogue import make_catalogue

TEXTS = 2_000
ONE_BY_ONE = 200
CALLERS = 64


def shop_texts(count: int, seed: int) -> list[str]:
    """A third queries of one to three words, a third titles, a quarter items as the catalogue stage encodes them (title, category, brand),
    the rest descriptions of three to eight titles' length; English and Chinese.
    """
    rng = random.Random(seed)
    items = make_catalogue(3_000, rng)

    def text() -> str:
        item, kind = rng.choice(items), rng.random()
        if kind < 1 / 3:
            words = item.title.split()
            return " ".join(words[: rng.randint(1, 3)])
        if kind < 2 / 3:
            return item.title
        if kind < 11 / 12:
            return ". ".join(str(item.value[field]) for field in ("title", "category", "brand") if item.value.get(field))
        return ". ".join(rng.choice(items).title for _ in range(rng.randint(3, 8)))

    return [text() for _ in range(count)]


def main() -> None:
    """Measure, save, draw."""
    runs = int(os.environ.get("BENCH_RUNS", "7"))
    sys.setswitchinterval(0.0005)  # as a worker does
    models = {name: measure(name, runs) for name in ("bundled-en", "bundled-multilingual")}
    print(f"wrote {save('encoder', {'models': models})}")
    draw({name: found["runs"] for name, found in models.items()})


def measure(name: str, runs: int) -> dict[str, Any]:
    """One model beside its peers."""
    texts = shop_texts(TEXTS, seed=20)
    folder = str(locate(name))
    ours = load(name, device="cpu", precision="auto", token_budget=2048)
    exact = load(name, device="cpu", precision="fp32", token_budget=2048)
    prompt, lower = ("query: ", True) if name == "bundled-multilingual" else ("", False)
    prepared = [prompt + (text.lower() if lower else text) for text in texts]
    peer = SentenceTransformer(folder, device="cpu")
    vectors, counts = ours.encode_counted(texts)
    # The peer is given the texts as its model wants them.
    theirs = peer.encode(prepared, prompt="", show_progress_bar=False, normalize_embeddings=True)
    error = 1 - float((vectors.astype("f8") * exact.encode(texts).astype("f8")).sum(1).min())
    assert 1 - float((vectors * theirs).sum(1).min()) < 1e-3, "the two do not compute the same"
    exact.close()
    tutorial = one_by_one(folder)
    stalls: list[float] = []
    measured = interleave(
        {
            "veilstream": lambda _: rate(lambda: ours.encode(texts), TEXTS),
            "front": lambda _: rate(lambda: stalls.append(asyncio.run(behind_front(ours, texts))), TEXTS),
            "sentence_transformers": lambda _: rate(lambda: peer.encode(prepared, prompt="", show_progress_bar=False), TEXTS),
            "one_by_one": lambda _: rate(lambda: [tutorial(text) for text in prepared[:ONE_BY_ONE]], ONE_BY_ONE),
            "gemm": lambda _: gemm(),
        },
        runs,
    )
    useful = [value * counts.tokens / TEXTS * flops_per_token(folder) / 1e9 for value in measured["veilstream"]]
    result: dict[str, Any] = {
        "engine": ours.engine,
        "trials": [{"name": trial.name, "error": trial.error, "seconds": trial.seconds} for trial in ours.trials],
        "threads": torch.get_num_threads(),
        "texts": TEXTS,
        "gemm_dtype": str(gemm_dtype()).removeprefix("torch."),
        "tokens": counts.tokens,
        "padding_share": counts.padding / (counts.tokens + counts.padding),
        "worst_cosine_error": error,
        "callers": CALLERS,
        "longest_stall_ms": stalls,
        "longest_stall_ms_median": statistics.median(stalls),
        "front_to_offline": ratio(measured, "front", "veilstream"),
        "runs": measured,
        "medians": {name: statistics.median(values) for name, values in measured.items()},
        "useful_gflops": useful,
        "share_of_gemm_median": statistics.median(a / b for a, b in zip(useful, measured["gemm"], strict=True)),
        "to_sentence_transformers": ratio(measured, "veilstream", "sentence_transformers"),
        "to_one_by_one": ratio(measured, "veilstream", "one_by_one"),
    }
    ours.close()
    return result


async def behind_front(encoder: Encoder, texts: list[str]) -> float:
    """Every text asked for by one of ``CALLERS`` tasks, one at a time, nothing cached. The event loop's longest stall, milliseconds: how
    much later than due a task that sleeps 1 ms over and over wakes up.
    """
    front, left, longest = MicroBatcher(encoder, cache=VectorCache(0)), iter(texts), 0.0

    async def ask() -> None:
        for text in left:
            await front.encode_many([text])

    async def watch() -> None:
        nonlocal longest
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - begun - 0.001)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(ask() for _ in range(CALLERS)))
    watching.cancel()
    await front.close()
    return 1e3 * longest


def one_by_one(folder: str) -> Callable[[str], np.ndarray[Any, Any]]:
    """A text alone, padded to 128 tokens."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def encode(text: str) -> np.ndarray[Any, Any]:
        given = tokenizer(text, padding="max_length", truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**given).last_hidden_state
        weight = given["attention_mask"][:, :, None].float()
        vector: np.ndarray[Any, Any] = torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)[0].numpy()
        return vector

    return encode


def flops_per_token(folder: str) -> float:
    """Of all products with weights: 2 · layers · (4 · width² + 2 · width · inner). Attention's own come on top."""
    config = AutoConfig.from_pretrained(folder)
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return 2.0 * layers * (4 * width * width + 2 * width * inner)


def gemm_dtype() -> torch.dtype:
    """bf16 where it is native, else fp32."""
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def gemm() -> float:
    """GFLOP/s of torch's product at the encoder's largest, [2048, 384] x [384, 1536], in bf16 where the processor multiplies that."""
    dtype = gemm_dtype()
    a, b, times = torch.randn(2048, 384, dtype=dtype), torch.randn(1536, 384, dtype=dtype), 60
    torch.nn.functional.linear(a, b)
    begun = time.perf_counter()
    for _ in range(times):
        torch.nn.functional.linear(a, b)
    return 2.0 * 2048 * 384 * 1536 * times / (time.perf_counter() - begun) / 1e9


def rate(work: Callable[[], object], count: int) -> float:
    """Texts per second."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def draw(models: dict[str, dict[str, list[float]]]) -> None:
    """Every run as a dot beside its median."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(len(models), 1, figsize=(7, 2.2 * len(models)), layout="constrained")
    names = ["one_by_one", "sentence_transformers", "veilstream"]
    for axes, (model, measured) in zip(both, models.items(), strict=True):
        axes.barh(names, [statistics.median(measured[name]) for name in names], color=["#b8c4ce", "#8fa3b5", "#2f6f8f"], height=0.6)
        for place, name in enumerate(names):
            axes.plot(measured[name], [place] * len(measured[name]), "o", color="#16324a", markersize=3.5)
        axes.set_xlabel(f"{model}: texts per second (bar: median, dots: runs)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "encoder.png", dpi=150)


if __name__ == "__main__":
    main()

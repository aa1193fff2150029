"""The ten nearest of 100,000 and of 1,000,000 items for 64 users, beside faiss: ``python -m benchmarks.search``."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import faiss
import matplotlib as mpl
import numpy as np

from benchmarks.harness import RESULTS, interleave, ratio, save
from encoders.nearest.nearest import NearestItems

DIMENSION, USERS, K = 384, 64, 10
FEW, MANY = 100_000, 1_000_000


def isotropic(generator: np.random.Generator, count: int) -> Any:
    """Directions without any structure: the hardest case for an index."""
    return unit(generator.standard_normal((count, DIMENSION), np.float32))


def clustered(generator: np.random.Generator, count: int) -> Any:
    """Items around 2,000 kinds of unlike size."""
    kinds = isotropic(np.random.default_rng(99), 2_000)
    sizes = 1.0 / np.arange(1, 2_001)
    return unit(kinds[generator.choice(2_000, count, p=sizes / sizes.sum())] + 0.7 * isotropic(generator, count))


def unit(vectors: Any) -> Any:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    """Measure, save, draw."""
    runs, seed = int(os.environ.get("BENCH_RUNS", "7")), int(os.environ.get("BENCH_SEED", "20"))
    result: dict[str, Any] = {"dimension": DIMENSION, "users": USERS, "k": K, "faiss": faiss.__version__}
    for kind, make in (("isotropic", isotropic), ("clustered", clustered)):
        print(f"{kind}: making {MANY:,} vectors", flush=True)
        result[kind] = measure(make, np.random.default_rng(seed), runs)
    print(f"wrote {save('search', result)}")
    draw(result)


def measure(make: Callable[[np.random.Generator, int], Any], generator: np.random.Generator, runs: int) -> dict[str, Any]:
    """Seconds, as milliseconds, of a search for all users, interleaved."""
    vectors, users = make(generator, MANY), make(generator, USERS)
    ids = [f"{number:07}" for number in range(MANY)]
    few = vectors[:FEW]
    flat, all_flat = faiss.IndexFlatIP(DIMENSION), faiss.IndexFlatIP(DIMENSION)
    flat.add(few)
    all_flat.add(vectors)
    block = best_block(flat, users)
    truth = all_flat.search(users, K)
    del all_flat
    exact, scan = NearestItems(few, ids[:FEW]), NearestItems(vectors, ids)
    assert exact.exact
    assert not scan.exact
    found = exact.search(users, K)
    same = float(np.mean(found.scores >= flat.search(users, K)[0][:, -1:] - 1e-6))
    recall = float(np.mean(scan.search(users, K).scores >= truth[0][:, -1:] - 1e-6))
    measured = interleave(
        {
            "exact_100k": lambda _: milliseconds(lambda: exact.search(users, K)),
            "faiss_flat_100k": lambda _: milliseconds(lambda: flat.search(users, K)),
            "scan_1m": lambda _: milliseconds(lambda: scan.search(users, K)),
        },
        runs,
    )
    return {
        "runs_ms": measured,
        "faiss_database_block": block,
        "exact_recall_at_10": same,
        "scan_recall_at_10": recall,
        "scan_recall_measured_on_probes": scan.recall,
        "faster_than_faiss": ratio(measured, "faiss_flat_100k", "exact_100k"),
        "million_to_100k": ratio(measured, "scan_1m", "exact_100k"),
    }


def best_block(index: Any, users: Any) -> int:
    """faiss multiplies blocks of this many items; its fastest here is set (the default is 1,024)."""
    seconds = {}
    for block in (1024, 4096, 16_384, 65_536):
        faiss.cvar.distance_compute_blas_database_bs = block
        seconds[block] = min(milliseconds(lambda: index.search(users, K)) for _ in range(3))
    best = min(seconds, key=seconds.__getitem__)
    faiss.cvar.distance_compute_blas_database_bs = best
    return best


def milliseconds(work: Callable[[], object]) -> float:
    """After a pause, in which the threads of the library before stop waiting busily."""
    time.sleep(0.2)
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)


def draw(result: dict[str, Any]) -> None:
    """Every run as a dot beside its median."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    names = {"scan_1m": "veilstream, 1,000,000", "exact_100k": "veilstream, 100,000", "faiss_flat_100k": "faiss IndexFlatIP, 100,000"}
    bars = [(f"{kind}: {label}", result[kind]["runs_ms"][name]) for kind in ("clustered", "isotropic") for name, label in names.items()]
    colours = ["#2f6f8f", "#5b93ad", "#b8c4ce"] * 2
    axes.barh([name for name, _ in bars], [statistics.median(values) for _, values in bars], color=colours, height=0.6)
    for place, (_, values) in enumerate(bars):
        axes.plot(values, [place] * len(values), "o", color="#16324a", markersize=3)
    axes.set_xlabel("ms for 64 users' ten best (bar: median, dots: runs)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "search.png", dpi=150)


if __name__ == "__main__":
    main()

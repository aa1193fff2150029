"""Weights between items from 3,000 to 1,000,000 of them: time, memory and quality: ``python -m benchmarks.large_catalogues``.

The shop is made up (``large_shop.py``), so what belongs together is known. Each method is run on each size in a process of its own; what
would be too large for it is left out (``large_methods.py``). Of what the product does, the ranker's file and an answer's candidates are
measured too.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np

from benchmarks.harness import RESULTS, save
from benchmarks.large_methods import METHODS
from benchmarks.large_shop import drawn, judge
from streams.ranking.learned.batch import Batch, Pairs, gathered, strongest, sums_at
from streams.ranking.learned.candidates import SOURCES
from streams.ranking.learned.features import FEATURES, LEVELS
from streams.ranking.learned.file import ranker_bytes, ranker_from
from streams.ranking.learned.model import Ranker, no_forest
from streams.ranking.learned.related import RelatedItems
from streams.training.learned.past import Interactions

SIZES = (3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
SEED = 20
MEMORY_GIB = 8
SHOPPERS, HISTORY, ROUNDS = 64, 20, 5
FEWER = (64, 32, 16)


@click.command()
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Items, after one another.")
@click.option("--methods", default=",".join(f'"{name}"' for name in METHODS), help='Some of the methods, as in "local","counts".')
@click.option("--one", nargs=2, type=(int, str), help="Size and method: measure these in this process and print JSON.")
def main(sizes: str, methods: str, one: tuple[int, str] | None) -> None:
    """Measure, save, draw. What was measured before and is not measured now stays in the results."""
    if one is not None:
        print(json.dumps(measure(*one)))
        return
    chosen = json.loads(f"[{methods}]")
    if unknown := set(chosen) - set(METHODS):
        raise click.UsageError(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    path = RESULTS / "large_catalogues.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["sizes"] if path.exists() else {}
    for size in map(int, sizes.split(",")):
        for name in chosen:
            if size <= METHODS[name].most:
                told = apart(size, name)
                found.setdefault(str(size), {})[name] = told
                print(f"{size:,} {name}: {told}", flush=True)
                result = {"seed": SEED, "memory_limit_gib": MEMORY_GIB, "sizes": dict(sorted(found.items(), key=lambda of: int(of[0])))}
                save("large_catalogues", result)
    draw(found)
    print(f"wrote {path}")


def apart(size: int, method: str) -> dict[str, Any]:
    """Measured in a process of its own, so that none keeps the memory of another."""
    command = [sys.executable, "-m", "benchmarks.large_catalogues", "--one", str(size), method]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(size: int, method: str) -> dict[str, Any]:
    """One method at one size, within the memory that is allowed."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_GIB << 30, MEMORY_GIB << 30))
    METHODS[method].fit(drawn(300, SEED).known)  # compiles
    shop = drawn(size, SEED)
    # What drawing left free would be used again unseen.
    ctypes.CDLL(None).malloc_trim(0)
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    begun, processor = time.perf_counter(), time.process_time()
    related = METHODS[method].fit(shop.known)
    found: dict[str, Any] = {
        "seconds": time.perf_counter() - begun,
        "processor_seconds": time.process_time() - processor,
        "memory_mb": memory_mb("VmHWM") - before,
        "interactions": len(shop.known.items),
        "items": int((np.diff(related.neighbours.starts) > 0).sum()),
        "pairs": len(related.neighbours.others),
        **judge(shop, related),
    }
    if method == "local":
        found |= {f"recall_of_{most}": judge(shop, related, most)["recall"] for most in FEWER}
        found |= file(related) | answers(shop.known, related)
    return found


def memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def file(related: RelatedItems) -> dict[str, float]:
    """Size of the ranker's file, seconds to make it and to read it."""
    ranker = Ranker(np.zeros((len(FEATURES), LEVELS), np.float32), 0.0, 1.0, 0.0, related, no_forest())
    begun = time.perf_counter()
    data = ranker_bytes(ranker)
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    ranker_from(data)
    return {"file_mb": len(data) / 1e6, "write_s": made, "read_s": time.perf_counter() - begun}


class Rows:
    """As much of an item matrix as the sums ask for."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.rows = {item: row for row, item in enumerate(ids)}
        self.layout = 0


def answers(known: Interactions, related: RelatedItems) -> dict[str, float]:
    """Microseconds of the processor a shopper, 64 at a time: the candidates of the source ``related``, and the sums over two hundred
    candidates; and seconds for what is looked up once (each item's row)."""
    matrix: Any = Rows(list(known.names))
    generator = np.random.default_rng(SEED)
    batches = [batch(known, generator) for _ in range(ROUNDS + 1)]
    begun = time.process_time()
    related.numbers_of(matrix)
    once = time.process_time() - begun
    open_rows = np.ones(len(matrix.ids), np.bool_)
    shut = Pairs(np.zeros(SHOPPERS + 1, np.int64), np.zeros(0, np.int64))
    rows = np.sort(generator.integers(0, len(matrix.ids), (SHOPPERS, 200)), axis=1).ravel()
    pairs = Pairs(np.arange(SHOPPERS + 1, dtype=np.int64) * 200, rows.astype(np.int64))
    took: dict[str, list[float]] = {"related_us": [], "sums_us": []}
    for own in batches:
        begun = time.process_time()
        sums = gathered(own, own.weights, related, matrix)
        strongest(sums, open_rows, shut, SOURCES["related"])
        then = time.process_time()
        sums_at(sums, matrix, pairs)
        took["related_us"].append(1e6 * (then - begun) / SHOPPERS)
        took["sums_us"].append(1e6 * (time.process_time() - then) / SHOPPERS)
    return {"rows_s": once, **{name: float(np.median(own[1:])) for name, own in took.items()}}  # the first compiles


def batch(known: Interactions, generator: np.random.Generator) -> Batch:
    """Histories of items drawn as often as they are bought."""
    some = known.items[generator.integers(0, len(known.items), SHOPPERS * HISTORY)]
    weights = np.ones(len(some))
    empty = np.zeros((SHOPPERS, 0), np.float32)
    begins = np.arange(SHOPPERS + 1, dtype=np.int64) * HISTORY
    names = [known.names[item] for item in some.tolist()]
    return Batch(begins, names, some, weights, weights, weights / HISTORY, weights > 0, empty, empty, np.zeros(SHOPPERS))


def draw(found: dict[str, Any]) -> None:
    """Time, memory and recall by size, a line a method."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    told = (("processor_seconds", "processor, s"), ("memory_mb", "memory more, MB"), ("recall", "recall@20 of what was held out"))
    for axis, (key, label) in zip(axes, told, strict=True):
        for name in METHODS:
            points = [(int(size), own[name][key]) for size, own in found.items() if key in own.get(name, {})]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", label=name, linewidth=2.5 if name == "local" else 1.2, markersize=4)
        axis.set_xscale("log")
        axis.set_xlabel("items")
        axis.set_title(label, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        if key == "recall":
            axis.set_ylim(bottom=0)
        else:
            axis.set_yscale("log")
    axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(RESULTS / "large_catalogues.png", dpi=150)


if __name__ == "__main__":
    main()

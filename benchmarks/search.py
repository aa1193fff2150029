"""How long 64 shoppers' recommendations take by the size of the catalogue, beside other indexes: ``python -m benchmarks.search``.

Everything goes through ``streams.ranking.ranking.rank``, as it serves: histories are embedded, popularity is added, what a shopper owns or
saw is left out, ten items above the threshold remain, with reasons. Only where the candidates come from differs: the product's fp32
product or its scan, or a peer's index (search_peers.py).
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import matplotlib as mpl
import numpy as np

from benchmarks import search_peers
from benchmarks.harness import RESULTS, interleave, save
from benchmarks.search_peers import Made
from streams.engine.ports import CandidateScan
from streams.engine.records import MemoryRecord
from streams.ranking.popularity import prior
from streams.ranking.popularity_table import PopularityTable
from streams.ranking.ranking import rank
from streams.ranking.request import Entry, Request
from streams.ranking.rules import CODES, DAY_MS, ProfileRules
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.codec import local_codecs
from streams.serde.vectors import to_bytes, vector_key
from streams.settings import Settings
from streams.topics import ITEMS_POPULARITY, ITEMS_VECTORS
from streams.wiring.models import item_scan

DIMENSION, USERS, K = 384, 64, 10
SIZES = (3_000, 100_000, 1_000_000)
NOW_MS = 1_700_000_000_000
KINDS, FOUND_ENOUGH = 2_000, 0.98
"""Kinds of items; the recall to which an approximate index is set, which is what the product asks of its scan."""
PRODUCT, SCAN, REST = "veilstream, fp32 product", "veilstream, scan", "all but the search"
VERSION = "bench"


class Shop(WhitenedItemMatrix):
    """The item matrix as it serves, with whatever index is put in."""

    chosen: CandidateScan | None = None

    @property
    def scan(self) -> CandidateScan | None:
        return self.chosen


class Known:
    """Proposes what is known to be right: what is left of the time is all but the search."""

    def __init__(self, found: Mapping[bytes, Any]) -> None:
        self._found = found

    def put(self, rows: Any, vectors: Any, /) -> None:
        raise NotImplementedError

    def candidates(self, users: Any, wanted: Any, **_: Any) -> search_peers.CandidatePairs:
        rows = [self._found[user.tobytes()] for user in users]
        return search_peers.CandidatePairs(np.repeat(np.arange(len(rows)), [len(own) for own in rows]), np.concatenate(rows))


def main() -> None:
    """Measure, save, draw."""
    runs, seed = int(os.environ.get("BENCH_RUNS", "5")), int(os.environ.get("BENCH_SEED", "20"))
    most_build_s = float(os.environ.get("BENCH_BUILD_SECONDS", "150"))
    sizes = [int(size) for size in os.environ.get("BENCH_ITEMS", ",".join(map(str, SIZES))).split(",")]
    result: dict[str, Any] = {"dimension": DIMENSION, "users": USERS, "k": K}
    result["versions"] = {name: version(name) for name in ("faiss-cpu", "usearch")}
    built: dict[str, tuple[int, float]] = {}
    item_scan(unit(np.random.default_rng(0).standard_normal((1_000, DIMENSION), np.float32)))  # compiles itself
    result["sizes"] = {}
    for size in sizes:
        result["sizes"][str(size)] = measure(size, np.random.default_rng(seed), runs, built, most_build_s)
        print(f"wrote {save('search', result)}")
    draw(result)


def measure(
    items: int, generator: np.random.Generator, runs: int, built: dict[str, tuple[int, float]], most_build_s: float
) -> dict[str, Any]:
    """One size: milliseconds for all users by candidate, interleaved. ``built`` holds each index's last size and seconds, from which is
    told whether it can be made in time."""
    print(f"{items:,} items", flush=True)
    rules = ProfileRules.from_settings(Settings())
    shop, board, kinds = filled(items, generator, rules)
    batches = [requests(shop, kinds, generator) for _ in range(runs + 1)]
    tuning = batches.pop()
    counts = board.counts(shop, board.cell(NOW_MS))
    catalogue = search_peers.Catalogue(shop.vectors, prior(counts, rules.popularity_weight))

    def ranked(some: Sequence[Request], index: CandidateScan | None) -> list[list[str]]:
        shop.chosen = index
        return [one.items for one in rank(some, shop, board, {}, rules)]

    made: dict[str, Made] = {}
    figures: dict[str, dict[str, Any]] = {PRODUCT: {"memory_mb": 0.0, "build_s": 0.0}}
    for name, make in ({SCAN: scan_of} | search_peers.EXACT | search_peers.INDEXES).items():
        expected = expected_seconds(built.get(name), items) if name in search_peers.INDEXES else 0.0
        if expected > most_build_s:
            figures[name] = {"not_built_would_take_s": expected}
            continue
        before, begun = resident_mb(), time.perf_counter()
        made[name] = make(catalogue)
        seconds = time.perf_counter() - begun
        built[name] = items, seconds
        figures[name] = {"build_s": seconds, "memory_mb": resident_mb() - before}
        print(f"made {name}: {seconds:.1f} s, {figures[name]['memory_mb']:.0f} MB", flush=True)

    blas = made["numpy, in blocks"].index
    figures["faiss IndexFlatIP"]["database_block"] = best_block(lambda: ranked(tuning, made["faiss IndexFlatIP"].index))
    right = ranked(tuning, blas)
    for name, (index, look_at) in made.items():
        if look_at is not None:
            figures[name] |= set_to_recall(look_at, lambda i=index: recall(ranked(tuning, i), right))  # type: ignore[misc]

    truth = [ranked(batch, blas) for batch in batches]
    candidates: dict[str, CandidateScan | None] = {PRODUCT: None} | {name: own.index for name, own in made.items()}
    for name, index in candidates.items():
        figures[name]["recall"] = statistics.mean(recall(ranked(b, index), t) for b, t in zip(batches, truth, strict=True))
    candidates[REST] = known(shop, board, rules, batches)
    figures[REST] = {}
    processor: dict[str, list[float]] = {name: [] for name in candidates}

    def timed(name: str, number: int) -> float:
        own: list[float] = []

        def work() -> None:
            begun = time.process_time()
            ranked(batches[number], candidates[name])
            own.append(1e3 * (time.process_time() - begun))

        took = milliseconds(work)
        processor[name] += own
        return took

    measured = interleave({name: partial(timed, name) for name in candidates}, runs)
    for name, values in measured.items():
        figures[name] |= {"runs_ms": values, "ms": statistics.median(values), "cpu_ms": statistics.median(processor[name])}
    return {"candidates": figures, "excluded_mean": statistics.mean(len(one.excluded) for batch in batches for one in batch)}


def filled(items: int, generator: np.random.Generator, rules: ProfileRules) -> tuple[Shop, PopularityTable, Any]:
    """A catalogue in kinds of unlike size, of which three in ten items sell (a few of them well), read from records as a worker reads it;
    and each item's kind."""
    directions = directions_of(generator, KINDS)
    sizes = 1.0 / np.arange(1, KINDS + 1)
    kinds = generator.choice(KINDS, items, p=sizes / sizes.sum())
    codecs = local_codecs()
    shop = Shop(codecs.for_topic(ITEMS_VECTORS), VERSION, DIMENSION)
    encode = codecs.for_topic(ITEMS_VECTORS).encode
    value = {"model_version": VERSION, "text_hash": "0" * 32, "recommendable": True, "category": None, "price_band": None}
    for first in range(0, items, 10_000):
        own = kinds[first : first + 10_000]
        vectors = unit(directions[own] + directions_of(generator, len(own)))
        records = []
        for item, vector in zip(map(name_of, range(first, first + len(own))), vectors, strict=True):
            encoded = encode({"item_id": item, "vector": to_bytes(vector), "encoded_at": NOW_MS, **value})
            records.append(MemoryRecord(ITEMS_VECTORS, 0, 0, NOW_MS, vector_key(VERSION, item), encoded))
        shop.apply(records)
    board = PopularityTable(codecs.for_topic(ITEMS_POPULARITY), rules.popularity_half_life_ms)
    encode = codecs.for_topic(ITEMS_POPULARITY).encode
    sold = generator.choice(items, items * 3 // 10, replace=False)
    for offset, (item, count) in enumerate(zip(sold.tolist(), 300.0 / np.arange(1, len(sold) + 1) ** 0.7, strict=True)):
        entry = {"item_id": name_of(item), "count": float(count), "as_of": NOW_MS, "source_offset": offset}
        board.apply([MemoryRecord(ITEMS_POPULARITY, 0, 0, NOW_MS, b"", encode(entry))])
    return shop, board, kinds


def directions_of(generator: np.random.Generator, count: int) -> Any:
    """Unit vectors whose variances fall as those of a shop's titles do. Of a kind and an item's own added up, the participation ratio (82)
    and the cosine to the tenth nearest of 3,000 items (0.42) are near those of the shared year's titles under the bundled model (80,
    0.44). Directions without any structure would be harder for graphs and lists than what they are made for."""
    spread = np.arange(1, DIMENSION + 1, dtype=np.float32) ** np.float32(-0.3)
    return unit(generator.standard_normal((count, DIMENSION), np.float32) * spread)


def requests(shop: Shop, kinds: Any, generator: np.random.Generator) -> list[Request]:
    """Shoppers with one to thirty items of a few kinds, who must not be shown those, nor up to seventy that were shown lately."""
    found = []
    for _ in range(USERS):
        own = np.concatenate([np.flatnonzero(kinds == kind) for kind in kinds[generator.integers(0, len(kinds), 3)]])
        history = generator.choice(own, min(len(own), int(generator.integers(1, 31))), replace=False).tolist()
        shown = generator.choice(own, min(len(own), int(generator.integers(0, 71))), replace=False).tolist()
        entries = [Entry(0.3, NOW_MS - int(generator.integers(60 * DAY_MS)), CODES["click"]) for _ in history]
        excluded = [name_of(item) for item in dict.fromkeys(history + shown)]
        found.append(Request([name_of(item) for item in history], entries, [], None, excluded, NOW_MS))
    assert all(item in shop.rows for one in found for item in one.excluded)
    return found


def name_of(item: int) -> str:
    return f"{item:07}"


def scan_of(catalogue: search_peers.Catalogue) -> Made:
    """As a worker makes it, its recall measured."""
    scan = item_scan(catalogue.vectors)
    assert scan is not None
    return Made(scan)


def known(shop: Shop, board: PopularityTable, rules: ProfileRules, batches: Sequence[Sequence[Request]]) -> Known:
    """What the scan proposes, by heart."""
    found: dict[bytes, Any] = {}
    scan = scan_of(search_peers.Catalogue(shop.vectors, None)).index

    class Recorder(Known):
        def candidates(self, users: Any, wanted: Any, **rest: Any) -> search_peers.CandidatePairs:
            pairs = scan.candidates(users, wanted, **rest)
            for number, user in enumerate(users):
                found[user.tobytes()] = pairs.rows[pairs.users == number]
            return search_peers.CandidatePairs(pairs.users, pairs.rows)

    shop.chosen = Recorder({})
    for batch in batches:
        rank(batch, shop, board, {}, rules)
    return Known(found)


def recall(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """The share of the right items that is there."""
    return sum(len(set(a) & set(b)) for a, b in zip(found, right, strict=True)) / max(1, sum(map(len, right)))


def set_to_recall(look_at: Callable[[int], None], reached: Callable[[], float]) -> dict[str, Any]:
    """As little as is enough, by doubling."""
    number = 8
    while True:
        look_at(number)
        if (now := reached()) >= FOUND_ENOUGH or number >= 4096:
            return {"looks_at": number, "recall_when_set": now}
        number *= 2


def expected_seconds(last: tuple[int, float] | None, items: int) -> float:
    """To make an index, from the last size: as n·log n."""
    if last is None:
        return 0.0
    before, seconds = last
    return seconds * items * math.log(items) / (before * math.log(before))


def best_block(search: Callable[[], object]) -> int:
    """faiss multiplies blocks of this many items; its fastest here is set (the default is 1,024)."""
    seconds = {}
    for block in (1024, 4096, 16_384, 65_536):
        faiss.cvar.distance_compute_blas_database_bs = block
        seconds[block] = min(milliseconds(search) for _ in range(2))
    best = min(seconds, key=seconds.__getitem__)
    faiss.cvar.distance_compute_blas_database_bs = best
    return best


def milliseconds(work: Callable[[], object]) -> float:
    """After a pause, in which the threads of the library before stop waiting busily."""
    time.sleep(0.2)
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)


def resident_mb() -> float:
    """Of this process, after what is free has gone back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def unit(vectors: Any) -> Any:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def draw(result: dict[str, Any]) -> None:
    """A line a candidate: milliseconds by size, every run a dot."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    names = dict.fromkeys(name for part in result["sizes"].values() for name in part["candidates"])
    for number, name in enumerate(names):
        points = [(int(s), part["candidates"].get(name, {})) for s, part in result["sizes"].items()]
        points = [(size, own) for size, own in points if "ms" in own]
        ours = name.startswith("veilstream")
        colour = ["#2f6f8f", "#16324a"][number] if ours else f"C{number}"
        style = "-" if ours else ":" if name == REST else "--"
        axes.plot([s for s, _ in points], [own["ms"] for _, own in points], style, color=colour, label=name, linewidth=2 if ours else 1)
        for size, own in points:
            axes.plot([size] * len(own["runs_ms"]), own["runs_ms"], ".", color=colour, markersize=3)
    axes.set(xscale="log", yscale="log", xlabel="items", ylabel=f"ms for {result['users']} shoppers (line: median, dots: runs)")
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "search.png", dpi=150)


if __name__ == "__main__":
    main()

"""How good the recommendations are on the shared year, beside published rankers: ``python -m benchmarks.quality``.

Two results: ``--part published`` measures the hand-set sum beside published rankers, ``--part ranker`` what the fitted ranker is made of
(``--ranker recall`` its candidates, ``ablation`` its groups of features, ``peer`` a ranker as Metarank builds it); all by default.
``--data FOLDER`` (or ``BENCH_DATA``) says where the year is; ``--finetuned out.csv`` adds what ``veilstream backtest --finetune`` wrote at
the 80% cut. Everything that can be chosen is chosen at the 70% cut; the 80% cut is looked at once.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import baselines
from benchmarks.harness import RESULTS, save
from benchmarks.quality_ranker import PARTS, measure
from benchmarks.retail import Cut, Ints, Purchases, Scores, best, cut_at, read_purchases
from benchmarks.tune import tune
from streams.training.evaluation.bootstrap import interval, paired
from streams.training.evaluation.metrics import discounts

K = 10
VALIDATION, TEST = 0.7, 0.8
SASREC = "SASRec (RecTools)"
DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "online_retail_2010_2011"

GRIDS: dict[str, tuple[Callable[..., Scores], dict[str, Any], dict[str, Sequence[Any]]]] = {
    "item-kNN, full history": (
        lambda cut, neighbours: baselines.item_knn(cut, neighbours, last_basket=False),
        {"neighbours": 100},
        {"neighbours": (20, 50, 100, 200, 500, 4000)},
    ),
    "item-kNN, last basket": (
        lambda cut, neighbours: baselines.item_knn(cut, neighbours, last_basket=True),
        {"neighbours": 100},
        {"neighbours": (20, 50, 100, 200, 500, 4000)},
    ),
    "ALS (implicit)": (
        baselines.als,
        {"factors": 64, "regularization": 1.0, "alpha": 10.0, "iterations": 15, "half_life_days": None},
        {
            "half_life_days": (None, 15.0, 30.0, 60.0, 120.0),
            "factors": (16, 32, 64, 128, 256),
            "regularization": (0.01, 0.1, 1.0, 10.0, 30.0, 100.0),
            "alpha": (1.0, 3.0, 10.0, 30.0),
            "iterations": (8, 15, 30),
        },
    ),
    "BPR (implicit)": (
        baselines.bpr,
        {"factors": 64, "learning_rate": 0.05, "regularization": 0.01, "iterations": 100},
        {"learning_rate": (0.01, 0.02, 0.1), "regularization": (0.001, 0.03, 0.1), "factors": (16, 32, 128), "iterations": (50, 200)},
    ),
    "EASE": (
        baselines.ease,
        {"l2": 500.0, "half_life_days": None},
        {"l2": (100.0, 250.0, 1000.0, 2000.0, 4000.0), "half_life_days": (None, 30.0, 60.0, 120.0)},
    ),
}
"""Ranker, first settings, what is tried."""


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), envvar="BENCH_DATA", default=DATA, help="Folder of the year.")
@click.option("--finetuned", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="CSV of `backtest --finetune`, 80% cut.")
@click.option("--part", "parts", type=click.Choice(["published", "ranker"]), multiple=True, default=("published", "ranker"), help="Which.")
@click.option("--ranker", "of_ranker", type=click.Choice(PARTS), multiple=True, default=PARTS, help="Of the ranker's part, only these.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps the ranker's lists between runs.")
def main(data: Path, finetuned: Path | None, parts: Sequence[str], of_ranker: Sequence[str], keep: Path | None) -> None:
    """Measure, save, draw."""
    if not (data / "events.csv.gz").exists():
        raise click.UsageError(f"the shared year is not at {data}; say --data FOLDER or BENCH_DATA=FOLDER")
    torch.set_num_threads(1)
    purchases = read_purchases(data)
    with threadpool_limits(1):
        if "published" in parts:
            beside_published(data, purchases, finetuned)
        if "ranker" in parts:
            print(f"wrote {save('quality_ranker', measure(data, purchases, VALIDATION, TEST, of_ranker, keep))}")


def beside_published(data: Path, purchases: Purchases, finetuned: Path | None) -> None:
    """The hand-set sum, and the rankers of others."""
    validation, test = cut_at(purchases, VALIDATION), cut_at(purchases, TEST)
    rows = dict(published(validation, test))
    rows["veilstream, encoder as it ships"] = row("veilstream", product(data, purchases, validation), product(data, purchases, test))
    if finetuned is not None:
        with finetuned.open(newline="", encoding="utf-8") as file:
            listed = from_rows([(r["user"], r["item"]) for r in csv.DictReader(file)], purchases, test)
        rows["veilstream, fine-tuned"] = row("veilstream fine-tuned", None, (test, listed))
    result = summary(rows, test)
    print(f"wrote {save('quality', result)}")
    draw(result)


def published(validation: Cut, test: Cut) -> Mapping[str, dict[str, Any]]:
    """The rows of all published rankers."""
    rows = {}
    for days, name in ((None, "popularity, whole history"), (30.0, "popularity, last 30 days")):
        rows[name] = row(name, *((cut, best(cut, baselines.popularity(cut, days), K)) for cut in (validation, test)))
    for name, (ranker, start, grid) in GRIDS.items():
        begun = time.perf_counter()
        chosen = tune(lambda settings, r=ranker: objective(validation, r(validation, **settings)), start, grid)  # type: ignore[misc]
        rows[name] = row(name, *((cut, best(cut, ranker(cut, **chosen), K)) for cut in (validation, test)))
        rows[name] |= {"settings": chosen, "seconds": round(time.perf_counter() - begun)}
    rows[SASREC] = transformer(validation, test)
    return rows


def objective(cut: Cut, scores: Scores) -> float:
    """HR@10 + NDCG@10, as for the product's own fitting."""
    hit, ndcg = judge(cut, best(cut, scores, K))
    return float(hit.mean() + ndcg.mean())


def transformer(validation: Cut, test: Cut) -> dict[str, Any]:
    """RecTools' SASRec, which finds its epoch on a validation slice of each cut's own past."""
    from benchmarks.sasrec import SETTINGS, sasrec

    begun, judged, told = time.perf_counter(), [], {}
    for name, cut in (("validation", validation), ("test", test)):
        scores, told[name] = sasrec(cut)
        judged.append((cut, best(cut, scores, K)))
    found = row(SASREC, *judged)
    return found | {"settings": SETTINGS, "training": told, "seconds": round(time.perf_counter() - begun)}


def product(data: Path, purchases: Purchases, cut: Cut, model: str = "bundled") -> tuple[Cut, Ints]:
    """Through the code of ``veilstream backtest``, with the product's default settings and the model that it carries, or another."""
    from encoders import load_encoder
    from encoders.batching.micro_batcher import MicroBatcher
    from streams.backtest.history import EventsBefore
    from streams.backtest.runner import Backtest
    from streams.producers.csv_files import ReadReport, read_events, read_items
    from streams.serde.codec import local_codecs
    from streams.settings import Settings

    settings, report, cutoff_ms = Settings(), ReadReport(), round(cut.second * 1000)
    encoder = MicroBatcher(load_encoder(model, device="cpu", precision="auto", token_budget=settings.encoder_token_budget))
    backtest = Backtest(settings, local_codecs(), encoder, cutoff_ms)
    backtest.load_items(read_items(data / "items.csv.gz", report), lambda _: None)
    before = EventsBefore(read_events(data / "events.csv.gz", report), cutoff_ms)
    backtest.learn(before.events, lambda _: None)
    users = [purchases.user_ids[user] for user in cut.shoppers]
    listed = [(r.user, r.item) for r in backtest.recommend(users, before.seen, K, lambda _: None)]
    return cut, from_rows(listed, purchases, cut)


def from_rows(listed: Sequence[tuple[str, str]], purchases: Purchases, cut: Cut) -> Ints:
    """Items [shoppers, K] from (user, item), best first; -1 for items that nobody bought, and after the last."""
    items = {item: number for number, item in enumerate(purchases.item_ids)}
    places = {purchases.user_ids[user]: place for place, user in enumerate(cut.shoppers)}
    found, counts = np.full((len(places), K), -1, np.int64), [0] * len(places)
    for user, item in listed:
        place = places.get(user)
        if place is not None and counts[place] < K:
            found[place, counts[place]] = items.get(item, -1)
            counts[place] += 1
    return found


def judge(cut: Cut, listed: Ints) -> tuple[Any, Any]:
    """Hit and NDCG, float64 [shoppers] each."""
    found = np.array([[item in wanted for item in mine] for mine, wanted in zip(listed.tolist(), cut.targets, strict=True)])
    ideal = np.cumsum(discounts(K))[[min(K, len(wanted)) - 1 for wanted in cut.targets]]
    return found.any(axis=1).astype(np.float64), (found @ discounts(K)) / ideal


def row(name: str, validation: tuple[Cut, Ints] | None, test: tuple[Cut, Ints]) -> dict[str, Any]:
    """What was measured, with the single shoppers' values."""
    values = {"test": judge(*test)} | ({} if validation is None else {"validation": judge(*validation)})
    print(name, {cut: [round(float(v.mean()), 4) for v in both] for cut, both in values.items()}, flush=True)
    return {"values": values}


def summary(rows: Mapping[str, dict[str, Any]], test: Cut) -> dict[str, Any]:
    """Means, intervals over shoppers, and each ranker's paired difference from the product as it ships."""
    users = [str(user) for user in test.shoppers]
    ours = rows["veilstream, encoder as it ships"]["values"]["test"]
    found: dict[str, Any] = {}
    for name, measured in rows.items():
        values = measured.pop("values")
        entry = found[name] = dict(measured)
        for metric, own, reference in zip(("hr", "ndcg"), values["test"], ours, strict=True):
            entry[metric] = interval(own, users)._asdict()
            entry[f"{metric}_veilstream_less_this"] = paired(reference, own, users)._asdict()
        if "validation" in values:
            entry["validation"] = {m: float(v.mean()) for m, v in zip(("hr", "ndcg"), values["validation"], strict=True)}
    return {"users": len(users), "k": K, "cuts": {"validation": VALIDATION, "test": TEST}, "rankers": found}


def draw(result: dict[str, Any]) -> None:
    """A dot and its interval a ranker, for both metrics."""
    mpl.use("Agg")
    from matplotlib import pyplot

    names = list(result["rankers"])[::-1]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
    for axis, (metric, label) in zip(axes, (("hr", "HR@10"), ("ndcg", "NDCG@10")), strict=True):
        for place, name in enumerate(names):
            own, colour = result["rankers"][name][metric], "#2f6f8f" if name.startswith("veilstream") else "#8a97a3"
            axis.plot([own["low"], own["high"]], [place, place], color=colour, linewidth=2)
            axis.plot([own["mean"]], [place], "o", color=colour)
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel(f"{label}, 95% interval")
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "quality.png", dpi=150)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

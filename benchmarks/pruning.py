"""What whole layers less would cost and save: texts/s and HR@10 of the bundled model without some: ``python -m benchmarks.pruning``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder import TEXTS, rate, shop_texts
from benchmarks.harness import interleave, save
from benchmarks.quality import DATA, judge, product
from benchmarks.retail import cut_at, read_purchases
from encoders import load_encoder
from encoders.pruning import keep_layers

KEPT = {
    "all six": (0, 1, 2, 3, 4, 5),
    "not the last": (0, 1, 2, 3, 4),
    "not the fourth": (0, 1, 2, 4, 5),
    "four": (0, 1, 3, 5),
    "three": (0, 2, 4),
}
CUTS = (0.5, 0.6, 0.7)
"""Validation cuts only."""


def main() -> None:
    """Measure and save."""
    data, runs = Path(os.environ.get("BENCH_DATA", str(DATA))), int(os.environ.get("BENCH_RUNS", "5"))
    purchases = read_purchases(data)
    texts = shop_texts(TEXTS, seed=20)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / str(number) for number, name in enumerate(KEPT)}
        for name, layers in KEPT.items():
            keep_layers("bundled-en", layers, folders[name])
        encoders = {name: load_encoder(str(folder)) for name, folder in folders.items()}
        result["texts_per_second"] = interleave(
            {name: lambda _, encoder=encoder: rate(lambda: encoder.encode(texts), TEXTS) for name, encoder in encoders.items()},  # type: ignore[misc]
            runs,
        )
        for encoder in encoders.values():
            encoder.close()
        for name, folder in folders.items():
            scores = []
            for quantile in CUTS:
                hits, ndcg = judge(*product(data, purchases, cut_at(purchases, quantile), str(folder)))
                scores.append({"cut": quantile, "hr": float(np.mean(hits)), "ndcg": float(np.mean(ndcg))})
                print(f"{name}: {scores[-1]}", flush=True)
            result[name] = scores
    print(f"wrote {save('pruning', result)}")


if __name__ == "__main__":
    main()

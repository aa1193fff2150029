"""Events per second through ingest, profile and feedback with a fitted ranker, beside the same without.

The shop, the broker and the clock are those of ``benchmarks/pipeline.py``. The encoder is a transformer of one layer with random weights
that gives vectors as long as those of the models in use: texts cost little, and what is ranked costs what it costs in a shop. The ranker
is fitted to the very events, by the stages over memory, before anything is timed. ``make bench-ranker-pipeline``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from shutil import copytree
from typing import Any

from benchmarks.harness import interleave, ratio, save
from benchmarks.pipeline import SETTINGS, STAGES, Rounds, make_events, records_of
from streams.serde.codec import local_codecs
from streams.simulator.shop import Emission, Shop
from tests.support.apache_kafka import ApacheKafka

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
DIMENSION = 384
THRESHOLD = -10.0
"""Every answer is full: with and without a ranker as much is recommended, as after a round, which fits the threshold for that."""


def encoder(folder: Path, texts: list[str]) -> Path:
    """A BERT of one layer with random weights whose words are those of the texts."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(1)
    words = sorted({word for text in texts for word in text.lower().split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    shape = {"hidden_size": DIMENSION, "num_hidden_layers": 1, "num_attention_heads": 6, "intermediate_size": 384}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, attn_implementation="sdpa", **shape)
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab={word: place for place, word in enumerate(vocabulary)}).save_pretrained(folder)
    (folder / "modules.json").write_text(json.dumps([{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "1_Pooling"}]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": True}))
    return folder


def add_ranker(folder: Path, shop: Shop, events: list[Emission]) -> dict[str, Any]:
    """Fits a ranker to the events and puts it beside the encoder in ``folder``; what is told of the fit."""
    from encoders import load_encoder
    from encoders.batching.micro_batcher import MicroBatcher
    from streams.backtest.finetune import pair_rules
    from streams.backtest.pairs import PairMaker
    from streams.backtest.runner import Backtest
    from streams.models.registry.ranker_file import write_ranker
    from streams.settings import Settings
    from streams.training.learned.fit import RankerRule

    settings = Settings(model=str(folder), threshold=THRESHOLD)
    backtest = Backtest(settings, local_codecs(), MicroBatcher(load_encoder(str(folder))), time.time_ns() // 1_000_000)
    backtest.load_items([item.value for item in shop.items], lambda _: None)
    maker = PairMaker(pair_rules(settings))
    # Those that are wrong on purpose become dead letters in either case.
    backtest.learn([e.value for e in events if isinstance(e.value, dict) and e.expected is None], lambda _: None, maker.add)
    fitted = backtest.fit(maker.pairs(), RankerRule(), include_seen=True, on_step=lambda step: print(step, flush=True))
    if fitted is None:
        raise SystemExit("too few shoppers came back to fit a ranker to; raise BENCH_EVENTS")
    write_ranker(folder, fitted.ranker)
    return {"shape": fitted.shape, "lists": fitted.lists, "validation": fitted.validation}


def main() -> None:
    shop, events = make_events()
    catalogue, behaviour = records_of(shop, events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = [str(value) for i in shop.items for value in i.value.values()]
        models = {"without_ranker": encoder(folder / "without_ranker", texts)}
        models["with_ranker"] = Path(copytree(models["without_ranker"], folder / "with_ranker"))
        told = add_ranker(models["with_ranker"], shop, events)
        broker = ApacheKafka(folder / "kafka")
        broker.start()
        rounds = Rounds(folder, broker, catalogue, behaviour)

        def run(which: str) -> float:
            changes = {"VEILSTREAM_MODEL": str(models[which]), "VEILSTREAM_THRESHOLD": str(THRESHOLD)}
            return rounds.run(which, {**SETTINGS, **changes}, lambda deployment: deployment.start(*STAGES))

        try:
            measured = interleave({"with_ranker": lambda _: run("with_ranker"), "without_ranker": lambda _: run("without_ranker")}, RUNS)
        finally:
            broker.stop()
    found = ratio(measured, "with_ranker", "without_ranker")
    result = {"events": len(behaviour), "unit": "events/s", "runs": measured, "records_written": rounds.written, "ranker": told, **found}
    path = save("ranker_pipeline", result)
    print(
        f"{found['with_ranker_median']:,.0f} events/s with a ranker, {found['without_ranker_median']:,.0f} without: "
        f"{found['ratio_median']:.2f} ×; wrote {path}"
    )


if __name__ == "__main__":
    main()

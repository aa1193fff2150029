"""Fine-tuning a tiny model: it learns, what is saved is what was trained, and what goes wrong is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders import load_encoder
from encoders.errors import TrainingDiverged, UnusableError
from encoders.finetune.adapters import attach, merged, save
from encoders.finetune.config import FinetuneConfig
from encoders.finetune.examples import TrainingSet
from encoders.finetune.loop import finetune
from encoders.finetune.progress import Encode, Progress, TensorBoard, Validate
from encoders.finetune.text_model import TextModel
from tests.support.tiny_bert import KINDS, tiny_bert, tiny_shop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::DeprecationWarning:peft")
FAST = FinetuneConfig(steps=40, batch_size=64, learning_rate=5e-3, precision="fp32", drift_weight=0.0, validations=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def shop() -> TrainingSet:
    return tiny_shop()


def recall(shop: TrainingSet) -> Validate:
    """How many of an item's three nearest are of its kind, on average."""

    def validate(encode: Encode) -> float:
        vectors = encode(shop.texts)
        vectors = vectors - vectors.mean(0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        near = vectors @ vectors.T - 2 * np.eye(len(vectors))
        found = np.argsort(-near, axis=1)[:, :3] % KINDS == (np.arange(len(vectors)) % KINDS)[:, None]
        return float(found.mean())

    return validate


@pytest.mark.parametrize("adapter", ["lora", "full"])
@pytest.mark.slow
def test_it_learns_and_what_is_saved_loads(base: Path, shop: TrainingSet, tmp_path: Path, adapter: str) -> None:
    reports: list[Progress] = []
    rate = 1e-2 if adapter == "lora" else 1e-3
    config = replace(FAST, steps=80, adapter=adapter, learning_rate=rate)
    validate = recall(shop)
    result = finetune(base, shop, config, tmp_path / "out", checkpoints=None, validate=validate, on_progress=reports.append)
    assert result.validations[0][1] < 0.3
    assert result.best is not None
    assert result.best > 0.6, result.validations
    assert [progress.step for progress in reports] == list(range(1, 81))
    assert reports[-1].steps == 80
    assert reports[-1].seconds_left == 0
    assert reports[-1].learning_rate < reports[20].learning_rate
    encoder = load_encoder(str(tmp_path / "out"), precision="fp32")
    assert encoder.version != load_encoder(str(base), precision="fp32").version
    assert validate(encoder.encode) == pytest.approx(result.best, abs=0.02)
    assert (tmp_path / "out" / "1_Pooling" / "config.json").is_file()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_merged_adapters_give_the_adapters_vectors(base: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        model = TextModel.open(base, precision="fp32", device=torch.device("cpu"), token_budget=512, dropout=0.0)
        attach(model, FAST)
        with torch.no_grad():
            for name, parameter in model.model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
    texts = ["word1 word2", "word7", "word3 word4 word5 word9"]
    expected = model.encode(texts)
    save(model, base, tmp_path / "out")
    assert not any("lora" in name for name in merged(model).state_dict())
    found = load_encoder(str(tmp_path / "out"), precision="fp32").encode(texts)
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(load_encoder(str(base), precision="fp32").encode(texts) - expected).max() > 1e-2


@pytest.mark.parametrize("change", [{"activation_tokens": 1}, {"token_budget": 16}, {"gradient_checkpointing": True}])
@pytest.mark.slow
def test_how_it_is_computed_changes_nothing(base: Path, shop: TrainingSet, tmp_path: Path, change: dict[str, int]) -> None:
    config = replace(FAST, steps=4)
    expected = finetune(base, shop, config, tmp_path / "a", checkpoints=None)
    found = finetune(base, shop, replace(config, **change), tmp_path / "b", checkpoints=None)
    assert np.allclose(expected.losses, found.losses, atol=1e-4)


def test_computing_twice_repeats_the_dropout(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    config = replace(FAST, steps=4, dropout=0.2)
    expected = finetune(base, shop, config, tmp_path / "a", checkpoints=None)
    found = finetune(base, shop, replace(config, activation_tokens=1), tmp_path / "b", checkpoints=None)
    assert np.allclose(expected.losses, found.losses, atol=1e-4)


def test_a_worse_model_is_not_kept(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    values = iter([0.5, 0.4, 0.3, 0.2])
    config = replace(FAST, steps=30, validations=10, patience=2)
    result = finetune(base, shop, config, tmp_path / "out", checkpoints=None, validate=lambda _: next(values))
    assert (result.best_step, result.best, result.steps) == (0, 0.5, 6)
    texts = ["word1 word2", "word5"]
    expected = load_encoder(str(base), precision="fp32").encode(texts)
    assert np.allclose(load_encoder(str(tmp_path / "out"), precision="fp32").encode(texts), expected, atol=1e-5)


def test_minutes_bound_it(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    reports: list[Progress] = []
    result = finetune(base, shop, replace(FAST, steps=None, minutes=0.03), tmp_path / "out", checkpoints=None, on_progress=reports.append)
    assert result.seconds >= 1.8
    assert reports[-1].learning_rate < reports[len(reports) // 2].learning_rate, "the schedule ends with the budget"


def test_steps_without_a_finite_loss(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    """Weights of single examples that no float32 holds: those steps are skipped; nothing but such steps is an error that names the fix."""
    broken = [replace(example, weight=3.4e38) if place < 3 else example for place, example in enumerate(shop.examples)]
    data = TrainingSet(shop.texts, shop.item_counts, broken)
    result = finetune(base, data, replace(FAST, steps=12), tmp_path / "out", checkpoints=None)
    assert 1 <= result.skipped_steps <= 6
    assert np.isfinite(load_encoder(str(tmp_path / "out"), precision="fp32").encode(["word1"])).all()
    data = TrainingSet(shop.texts, shop.item_counts, [replace(example, weight=3.4e38) for example in shop.examples])
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        finetune(base, data, replace(FAST, max_bad_steps=3), tmp_path / "none", checkpoints=None)
    assert not (tmp_path / "none").exists()


def test_accumulated_batches(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    result = finetune(base, shop, replace(FAST, steps=3, batch_size=16, accumulate=4), tmp_path / "out", checkpoints=None)
    assert len(result.losses) == 3
    assert np.isfinite(result.losses).all()


def test_wrong_use(base: Path, shop: TrainingSet, tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="no example"):
        finetune(base, TrainingSet(shop.texts, shop.item_counts, []), FAST, tmp_path / "out", checkpoints=None)
    with pytest.raises(UnusableError, match="name a new folder"):
        finetune(base, shop, FAST, tmp_path, checkpoints=None)
    with pytest.raises(UnusableError, match="steps, epochs or minutes"):
        FinetuneConfig()
    with pytest.raises(UnusableError, match="logq must be between"):
        FinetuneConfig(steps=1, logq=2.0)
    with pytest.raises(UnusableError, match="adapter must be one of"):
        FinetuneConfig(steps=1, adapter="prefix")


def test_a_training_set_on_the_disk(shop: TrainingSet, tmp_path: Path) -> None:
    shop.save(tmp_path / "set")
    found = TrainingSet.load(tmp_path / "set")
    assert found.texts == shop.texts
    assert found.examples == shop.examples
    assert np.array_equal(found.items, shop.items)
    (tmp_path / "set" / "examples.npz").write_bytes(b"PK")
    with pytest.raises(UnusableError, match="make it again"):
        TrainingSet.load(tmp_path / "set")
    with pytest.raises(UnusableError, match="names a text that is none"):
        TrainingSet(["a"], np.array([1]), shop.examples)


def test_tensorboard_logs(tmp_path: Path) -> None:
    tensorboard = TensorBoard(tmp_path)
    tensorboard.write(Progress(1, 10, 0.5, 1e-3, 100.0, 9.0, 0.1))
    tensorboard.close()
    assert list(tmp_path.glob("events.out.tfevents.*"))

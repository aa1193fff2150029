"""SASRec as others publish it: ``SASRecModel`` of RecTools (MTS), with the settings that it documents, trained until it no longer improves.

Kang and McAuley, "Self-attentive sequential recommendation" (ICDM 2018), with a softmax over the whole catalogue, as Klenitskiy and Vasilev
recommend, "Turning dross into gold loss: is BERT4Rec really better than SASRec?" (RecSys 2023); the authors' layers, 2 blocks of 4 heads.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.retail import Cut, Purchases, Scores

SEED = 20
SETTINGS: dict[str, Any] = {"n_factors": 64, "session_max_len": 50}
"""What is not RecTools' default (256 and 100), about six times the operations: two cores are what the benchmarks have."""
PATIENCE, MOST_EPOCHS = 10, 200
MONITORED = "mrr"
MOST_MINUTES = float(os.environ.get("BENCH_SASREC_MINUTES", "45"))
"""For a cut. Whether it was enough is in the result."""
HELD_OUT = 5
"""Every fifth shopper's last basket is the validation slice."""
MOST = 100
"""Items that are asked for; the rest has no score."""


def sasrec(cut: Cut) -> tuple[Scores, dict[str, Any]]:
    """Scores [shoppers, items], minus infinity for what is not among a shopper's best hundred; and how the training went."""
    # Lightning seeds the module-level generators, warns of few workers, and tells of devices.
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|rectools|torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _trained(cut, folder)
    finally:
        torch.set_num_threads(threads)


def _trained(cut: Cut, folder: str) -> tuple[Scores, dict[str, Any]]:
    seed_everything(SEED, verbose=False)
    dataset = Dataset.construct(interactions(cut.past))
    model = SASRecModel(
        get_val_mask_func=last_baskets,
        get_trainer_func=trainer,
        get_trainer_func_kwargs={"folder": folder},
        recommend_torch_device="cpu",
        **SETTINGS,
    )
    model.fit(dataset)
    kept = next(Path(folder).glob("*.ckpt"))
    model.load_weights_from_checkpoint(kept)
    assert model.fit_trainer is not None
    stopping = model.fit_trainer.early_stopping_callback
    assert isinstance(stopping, EarlyStopping)
    told = {
        "epochs": model.fit_trainer.current_epoch,
        "converged": stopping.stopped_epoch > 0,
        "best_validation_loss": float(stopping.best_score),
    }
    found = model.recommend(cut.shoppers, dataset, k=MOST, filter_viewed=True)
    scores = np.full((len(cut.shoppers), cut.shape[1]), -np.inf, np.float32)
    places = pd.Series(np.arange(len(cut.shoppers)), index=cut.shoppers)[found[Columns.User]].to_numpy()
    scores[places, found[Columns.Item].to_numpy()] = found[Columns.Score].to_numpy()
    return scores, told


def interactions(past: Purchases) -> pd.DataFrame:
    """As RecTools wants them. Lines of one basket have no order of their own; what is new to the shopper stands first, and so is what is
    foretold of a held-out basket, as in the protocol."""
    lines = pd.DataFrame({Columns.User: past.users, Columns.Item: past.items, "second": past.seconds.round()})
    first = lines.groupby([Columns.User, Columns.Item])["second"].transform("min")
    lines["old"] = lines["second"] > first
    lines = lines.sort_values(["second", "old"], kind="stable", ignore_index=True)
    # A place in the basket, as milliseconds: more would reach into the next second.
    place = lines.groupby([Columns.User, "second"]).cumcount().clip(upper=999)
    lines[Columns.Datetime] = pd.to_datetime(lines["second"] * 1000 + place, unit="ms")
    lines[Columns.Weight] = 1.0
    return lines[[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime]]


def last_baskets(lines: pd.DataFrame) -> np.ndarray:
    """The lines of the validation slice: the last basket, whole, of every fifth shopper who has an earlier one."""
    seconds = lines[Columns.Datetime].dt.floor("s")
    by_user = seconds.groupby(lines[Columns.User])
    first, last = by_user.transform("min"), by_user.transform("max")
    return np.asarray((lines[Columns.User] % HELD_OUT == 0) & (seconds == last) & (first < last))


class ReciprocalRank(Callback):
    """Logs the mean reciprocal rank of what the held-out shoppers took next, among what they didn't have.

    The loss would not do: it falls by foretelling what a shopper buys again, and the benchmark, as a recommender, is about what is new."""

    def __init__(self) -> None:
        self._ranks: list[torch.Tensor] = []

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        wanted = batch["y"].reshape(-1, 1)
        logits = outputs["logits"].detach().reshape(len(wanted), -1)
        own = logits.gather(1, wanted)
        others = logits.scatter(1, batch["x"], -torch.inf)
        self._ranks.append(1 + (others > own).sum(dim=1))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        ranks = torch.cat(self._ranks)
        self._ranks.clear()
        pl_module.log(MONITORED, (1.0 / ranks).mean(), on_step=False, on_epoch=True)


def trainer(folder: str) -> Trainer:
    """Stops where the validation slice has not been foretold better for some epochs, and keeps the best."""
    return Trainer(
        accelerator="cpu",
        min_epochs=1,
        max_epochs=MOST_EPOCHS,
        max_time={"seconds": round(60 * MOST_MINUTES)},
        callbacks=[
            ReciprocalRank(),
            EarlyStopping(MONITORED, mode="max", patience=PATIENCE),
            ModelCheckpoint(folder, monitor=MONITORED, mode="max", save_top_k=1, save_weights_only=True),
        ],
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

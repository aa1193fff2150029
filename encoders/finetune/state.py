"""The state of a training, as a checkpoint holds it. Random numbers need no state: they follow from the seed and the step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.finetune.config import FinetuneConfig
from encoders.finetune.examples import TrainingSet
from encoders.finetune.learner import Learner
from encoders.finetune.memory import Memory
from encoders.folder import check_files, locate, sentence_config, version

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class State:
    """Beside the weights, the optimizer's moments and the memory."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """NaN: a step that was skipped."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    without_better: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    """The trained tensors at the best validation."""

    @property
    def best_value(self) -> float | None:
        """Of the best validation so far."""
        return next((value for step, value in self.validations if step == self.best_step), None)

    @property
    def bad_in_a_row(self) -> int:
        """Skipped steps since the last good one."""
        count = 0
        while count < len(self.losses) and isnan(self.losses[-1 - count]):
            count += 1
        return count

    def record_validation(self, value: float, learner: Learner) -> None:
        """Keep the weights if they are better than the best so far. NaN is never better."""
        before = self.best_value
        self.validations.append((self.step, value))
        if before is None or value > before:
            self.best_step, self.without_better = self.step, 0
            self.best = {name: p.detach().cpu().clone() for name, p in learner.parameters.items()}
        else:
            self.without_better += 1


def pack(state: State, learner: Learner, memory: Memory) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and JSON of a checkpoint."""
    tensors = {f"weights/{name}": p.detach() for name, p in learner.parameters.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for name, p in learner.parameters.items():
        tensors |= {f"{moment}/{name}": learner.optimizer.state[p][moment] for moment in _MOMENTS if p in learner.optimizer.state}
    if memory.wanted:
        tensors["memory"] = torch.from_numpy(memory.vectors)
    figures = {
        "seconds": state.seconds,
        "losses": state.losses,
        "validations": state.validations,
        "best_step": state.best_step,
        "without_better": state.without_better,
    }
    return tensors, figures


def unpack(step: int, tensors: dict[str, torch.Tensor], figures: dict[str, Any], learner: Learner, memory: Memory) -> State:
    """The inverse of ``pack``, into the learner and the memory."""
    with torch.no_grad():
        for name, p in learner.parameters.items():
            p.copy_(tensors[f"weights/{name}"])
            moments = {moment: tensors[f"{moment}/{name}"] for moment in _MOMENTS if f"{moment}/{name}" in tensors}
            if moments:
                learner.optimizer.state[p] = {moment: value.to(p.device) for moment, value in moments.items()}
    if memory.wanted:
        memory.put(tensors["memory"].numpy())
    return State(
        step=step,
        seconds=figures["seconds"],
        losses=figures["losses"],
        validations=[(int(at), float(value)) for at, value in figures["validations"]],
        best_step=figures["best_step"],
        without_better=figures["without_better"],
        best={name.removeprefix("best/"): tensor for name, tensor in tensors.items() if name.startswith("best/")},
    )


def fingerprint(base_folder: Path, data: TrainingSet, config: FinetuneConfig, processes: int) -> str:
    """Of all that decides a training; a checkpoint of another one is not resumed from."""
    folder = locate(str(base_folder))
    digest = hashlib.sha256(f"{config}/{processes}/{version(folder, check_files(folder), sentence_config(folder), 0)}".encode())
    for text in data.texts:
        digest.update(text.encode("utf-8", "ignore") + b"\0")
    digest.update(np.asarray(data.item_counts, np.float64).tobytes() + data.items.tobytes())
    for e in data.examples:
        digest.update(repr((e.user, e.history, e.history_weights, e.target, e.weight, e.propensity, e.at_ms, e.negatives)).encode())
    return digest.hexdigest()

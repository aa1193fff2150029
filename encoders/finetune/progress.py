"""Progress reports of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Encode = Callable[[list[str]], npt.NDArray[np.float32]]
Validate = Callable[[Encode], float]


@dataclass(frozen=True, slots=True)
class Progress:
    """After each step."""

    step: int
    steps: int
    """Planned: with a budget in minutes, from the speed so far."""
    loss: float
    learning_rate: float
    pairs_per_second: float
    """Examples, of the last step alone."""
    seconds_left: float
    epoch: float
    """Passes over the newest window."""
    validation: float | None = None
    """Where this step was followed by one."""


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """What came of it."""

    folder: Path
    steps: int
    seconds: float
    losses: tuple[float, ...]
    """Of every step; NaN if it was skipped. After a resumption, of all steps."""
    validations: tuple[tuple[int, float], ...]
    """(step, value), the first at step 0: the model as it was."""
    best: float | None
    best_step: int
    """Whose weights were saved; 0 if nothing was better than the model as it was."""
    skipped_steps: int
    resumed_from: int | None
    refused_checkpoints: tuple[str, ...]
    """Damaged, or of another training, and why."""
    precision: str
    pairs_per_second: float


class TensorBoard:
    """Writes each progress as TensorBoard scalars into a folder; give ``write`` as ``on_progress``."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, progress: Progress) -> None:
        """All numbers of it."""
        for name, value in asdict(progress).items():
            if name != "step" and value is not None:
                self._writer.add_scalar(f"finetune/{name}", value, progress.step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

"""Fine-tunes with several processes. ``torchrun`` starts the process of the round several times.

The first process does the round, the others only their share of the fine-tuning. They meet in the folder of the round, which all of them
must see.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from streams.training.frozen_set import load_frozen
from streams.training.round_directory import RoundDirectory, read_json, write_json
from streams.training.row_seal import RowSeal

if TYPE_CHECKING:
    from encoders.finetune.config import FinetuneConfig

_FILE = "together.json"
_LOOK_S = 0.2


def command(processes: int) -> list[str]:
    """What the trainer starts its round's process with, after the interpreter."""
    if processes == 1:
        return ["-m", "streams.cli.main", "trainer", "--round"]
    return [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--max-restarts", "0"),
        *("-m", "streams.cli.main", "trainer", "--round"),
    ]


def size() -> int:
    """The number of processes, as set by ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process does the round."""
    return int(os.environ.get("RANK", "0")) == 0


def broadcast(folder: Path, base: Path, config: FinetuneConfig | None) -> None:
    """The first process tells the others the arguments of ``finetune``, or None if it was already done. Does nothing if it is alone."""
    if size() > 1:
        write_json(folder / _FILE, {"run": _run(), "base": str(base), "config": None if config is None else asdict(config)})


def run_rank(shop: RoundDirectory, seal: RowSeal | None = None) -> None:
    """Wait for the first process, and do a share of its fine-tuning. Returns where the round ends without one. ``seal``: what opens the
    training set.

    Raises as ``finetune`` does; ``torchrun`` then ends the others, too.
    """
    from encoders.finetune.config import FinetuneConfig
    from encoders.finetune.loop import finetune

    folder = shop.round
    # A file of an earlier start may exist. The launch's id distinguishes them.
    while (orders := read_json(folder / _FILE)) is None or orders["run"] != _run():
        if shop.outcome is not None:
            return
        time.sleep(_LOOK_S)
    if orders["config"] is None:
        return
    finetune(
        Path(orders["base"]),
        load_frozen(folder / "data", seal),
        FinetuneConfig(**orders["config"]),
        folder / "model",
        checkpoints=folder / "checkpoints",
        validate=lambda _: 0.0,  # the first process's value counts
    )


def _run() -> str:
    return os.environ.get("TORCHELASTIC_RUN_ID", "")

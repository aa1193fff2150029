"""A small training in a process of its own, to be killed or started several times over: ``python -m tests.support.finetune_process``.

Arguments: base folder, out folder, checkpoints folder or -, batch size, steps, and the step at which it kills itself (0: not).
Prints the losses as JSON, one line, from the first process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from encoders.finetune.config import FinetuneConfig
from encoders.finetune.loop import finetune
from encoders.finetune.progress import Encode, Progress
from tests.support.tiny_bert import tiny_shop


def config(batch_size: int, steps: int) -> FinetuneConfig:
    """Everything on: dropout, augmentation, replay, mined negatives, stale history, drift, computing twice."""
    return FinetuneConfig(
        steps=steps, batch_size=batch_size, learning_rate=3e-3, precision="fp32", dropout=0.0, augment=0.3, history_items=2, logq=0.5,
        newest_from_ms=200_000, checkpoint_steps=5, activation_tokens=150, validations=3, refreshes=3, token_budget=128,
    )  # fmt: skip


def main(base: str, out: str, checkpoints: str, batch_size: str, steps: str, kill_at: str) -> None:
    """See the module."""

    def note(progress: Progress) -> None:
        if progress.step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    def validate(encode: Encode) -> float:
        return float(encode(["word1 word2"])[0, 0])

    result = finetune(
        Path(base),
        tiny_shop(),
        config(int(batch_size), int(steps)),
        Path(out),
        checkpoints=None if checkpoints == "-" else Path(checkpoints),
        validate=validate,
        on_progress=note,
    )
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"losses": result.losses, "resumed_from": result.resumed_from, "refused": result.refused_checkpoints}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Settings of the trainer, and of when its rounds begin."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class TrainerSettings(BaseSettings):
    """Of the trainer and of learning."""

    # trainer
    trainer_dir: Path = Field(Path("var/trainer"), description="Folder for the trainer's pairs, rounds, reports and TensorBoard logs.")
    trainer_minutes: float = Field(15.0, gt=0, description="Real time for the fine-tuning of one round, minutes.")
    trainer_max_pairs: int = Field(200_000, ge=1, description="Maximum number of stored training pairs. The oldest are removed first.")
    trainer_max_age_days: float = Field(
        90.0, gt=0, description="Maximum age of a stored training pair, compared with the newest one, days."
    )
    trainer_adapter: Literal["lora", "full"] = Field(
        "lora", description="What is trained: low-rank adapters (lora), or every weight (full)."
    )
    trainer_batch_size: int = Field(1024, ge=2, description="Number of examples in one step of fine-tuning, per process.")
    trainer_learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate of the fine-tuning.")
    trainer_drift: float = Field(
        1.0,
        ge=0,
        description="How strongly a new model is held close to the one before it. Use less if that one knows few of the shop's words.",
    )
    trainer_after_erasure: Literal["accept", "next-parent"] = Field(
        "accept",
        description="What becomes of versions that learnt from a shopper who is forgotten: the next one is made from them (accept), or the "
        "next round trains from the newest version that never saw any such shopper (next-parent). Until then they serve.",
    )
    trainer_keep_rounds: int = Field(
        50, ge=1, description="Number of rounds whose records, reports and curves the trainer keeps: the newest."
    )
    trainer_keep_days: float = Field(365.0, gt=0, description="Age at which the trainer removes those of a round, days.")
    trainer_checkpoint_minutes: float = Field(2.0, gt=0, description="Time between two checkpoints of a round, minutes.")
    trainer_processes: int = Field(
        1, ge=1, description="Number of processes for the fine-tuning of a round (torchrun): one per GPU, or parts of the cores."
    )
    trainer_threads: int = Field(0, ge=0, description="Number of threads of a round. 0: torch's default.")
    trainer_validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the pairs (by time, before the newest) on which the serving parameters are fitted."
    )
    trainer_test_share: float = Field(0.1, gt=0, lt=0.5, description="Share of the pairs (the newest) on which a model is judged.")
    trainer_gate_metric: Literal["hit", "ndcg", "recall"] = Field("ndcg", description="Metric in which a new model must be better.")
    trainer_gate_cases: int = Field(200, ge=1, description="Minimum number of cases in the test slice. With fewer, no model is promoted.")
    trainer_gate_users: int = Field(
        100, ge=1, description="Minimum number of shoppers in the test slice. With fewer, no model is promoted."
    )
    trainer_gate_tolerance: float = Field(
        0.1,
        ge=0,
        description="Share by which coverage, the long tail's share, and the metric of any part of the shoppers may fall under a new "
        "model.",
    )
    trainer_target_precision: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Precision for which the threshold is fitted to a new model. Unset, with no target volume: as many items pass as under "
        "the serving model.",
    )
    trainer_target_volume: float | None = Field(
        None,
        gt=0,
        description="Items per recommendation for which the threshold is fitted, instead of a precision. Unset: see the target precision.",
    )
    trainer_canary_share: float = Field(
        0.1, ge=0, le=1, description="Share of the pseudonyms that get a new model first. 0: everybody at once."
    )
    trainer_canary_recommendations: int = Field(
        200, ge=2, description="Minimum number of recommendations of each model before a canary is promoted or withdrawn."
    )

    # learning
    training_min_pairs: int = Field(
        5000, ge=0, description="Number of new training pairs that start a round. 0: their number never starts a round."
    )
    training_cron: str | None = Field(
        None, description="Schedule of rounds: five cron fields, UTC, such as `0 3 * * *`. Unset: no schedule."
    )
    training_pause_h: float = Field(
        6.0, ge=0, description="Minimum real time from one round to the next, hours. A round that an operator requests does not wait."
    )
    training_drift_psi: float = Field(0.25, gt=0, description="Population stability index of the scores at which drift starts a round.")
    training_drift_ignored: float = Field(
        0.1, gt=0, le=1, description="Rise of the share of recommended items without a reaction at which drift starts a round."
    )
    training_drift_window_h: float = Field(24.0, ge=1, description="Event time over which drift is measured, hours.")
    training_drift_min: int = Field(1000, ge=1, description="Minimum number of items in a window to measure drift.")
    training_stale_h: float = Field(48.0, gt=0, description="Time after which a round that started and is silent counts as ended, hours.")

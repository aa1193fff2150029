"""The settings of a round of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.ranking.rules import ProfileRules
from streams.ranking.serving_params import ServingParams
from streams.training.candidate import JudgeRule
from streams.training.cases import SplitRule
from streams.training.evaluation.fit import FitRule
from streams.training.evaluation.gate import GateRule

if TYPE_CHECKING:
    from encoders.finetune.config import FinetuneConfig
    from streams.settings import Settings


@dataclass(frozen=True)
class RoundRules:
    """Rules of one round of training."""

    split: SplitRule
    judge: JudgeRule
    minutes: float
    """Real time for the fine-tuning of the round, minutes."""
    adapter: str = "lora"
    batch_size: int = 1024
    device: str = "auto"
    precision: str = "auto"
    """Precision of the encoders that are used for judging."""
    token_budget: int = 2048
    checkpoint_minutes: float = 2.0
    ranker_threads: int = 0
    """For fitting a ranker. 0: one a core."""
    history_items: int = 4
    learning_rate: float = 3e-4
    temperature: float = 0.15
    drift_weight: float = 1.0
    hard_negatives: int = 0
    patience: int = 6
    tuned: dict[str, float] = field(default_factory=dict)
    """More fields of FinetuneConfig, for tests and experiments."""

    @classmethod
    def from_settings(cls, settings: Settings) -> RoundRules:
        """The rules from the settings."""
        return cls(
            split=SplitRule(
                ProfileRules.from_settings(settings),
                settings.trainer_validation_share,
                settings.trainer_test_share,
                round(settings.attribution_window_s * 1000),
            ),
            judge=JudgeRule(
                fit=FitRule(target_precision=settings.trainer_target_precision, target_volume=settings.trainer_target_volume),
                gate=GateRule(
                    coverage_tolerance=settings.trainer_gate_tolerance,
                    long_tail_tolerance=settings.trainer_gate_tolerance,
                    segment_tolerance=settings.trainer_gate_tolerance,
                    metric=settings.trainer_gate_metric,
                    min_cases=settings.trainer_gate_cases,
                    min_users=settings.trainer_gate_users,
                ),
            ),
            minutes=settings.trainer_minutes,
            adapter=settings.trainer_adapter,
            batch_size=settings.trainer_batch_size,
            device=settings.device,
            precision=settings.precision,
            token_budget=settings.encoder_token_budget,
            checkpoint_minutes=settings.trainer_checkpoint_minutes,
            ranker_threads=settings.trainer_threads,
            learning_rate=settings.trainer_learning_rate,
            drift_weight=settings.trainer_drift,
        )

    def finetune_config(self, newest_from_ms: int | None) -> FinetuneConfig:
        """``newest_from_ms``: time from which on no earlier round has used the pairs. Older pairs are replayed."""
        from encoders.finetune.config import FinetuneConfig

        return FinetuneConfig(
            minutes=self.minutes,
            batch_size=self.batch_size,
            device=self.device.split(":")[0],
            adapter=self.adapter,
            token_budget=self.token_budget,
            checkpoint_minutes=self.checkpoint_minutes,
            history_items=self.history_items,
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            drift_weight=self.drift_weight,
            hard_negatives=self.hard_negatives,
            patience=self.patience,
            newest_from_ms=newest_from_ms,
            **self.tuned,  # type: ignore[arg-type]
        )


def fitted_by_settings(settings: Settings) -> ServingParams:
    """Serving parameters for a model that has none of its own."""
    return ServingParams(settings.half_life_days, settings.popularity_weight, settings.threshold, settings.together_weight)

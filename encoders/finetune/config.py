"""The settings of a fine-tuning. No torch here, so a caller can use them without loading it."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.errors import UnusableError

_ABOVE_ZERO = (
    *("steps", "epochs", "minutes", "batch_size", "accumulate", "temperature", "clip_norm", "lora_rank"),
    *("token_budget", "activation_tokens", "max_bad_steps", "patience", "checkpoint_minutes", "propensity_clip", "hard_pool"),
)


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """All settings of a fine-tuning, except its data. docs/training.md explains each.

    At least one of ``steps``, ``epochs`` and ``minutes`` must be set. The first one reached ends the training. The learning rate's
    schedule follows the one that is nearest to its end.
    """

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    """Real time of the training in minutes: with validation and refreshes, without loading and saving."""
    batch_size: int = 256
    """Examples per step and process. With n processes a step has n times as many."""
    accumulate: int = 1
    """Number of batches whose gradients are added before the weights change. Each batch is contrasted within itself only. It is seldom
    needed, because ``batch_size`` can be as large as the examples allow without more memory (see ``activation_tokens``).
    """
    seed: int = 0
    device: str = "auto"
    """Device: auto, cpu or cuda. With torchrun each process uses its own GPU."""

    adapter: str = "lora"
    """What is trained: lora (low-rank adapters) or full (all weights)."""
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    dropout: float = 0.0
    """Dropout inside the model, replaces the model's own. For short texts it loses more signal than it prevents overfitting."""
    learning_rate: float | None = None
    """Peak learning rate. None: 1e-3 for lora, 5e-5 for full."""
    warmup: float = 0.1
    """Share of the training in which the rate rises. After that it falls to zero as a cosine."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    precision: str = "auto"
    """bf16, fp32 or auto. auto uses bf16 if the processor multiplies it natively."""
    gradient_checkpointing: bool = False
    activation_tokens: int = 65_536
    """Batches of more tokens (of one process) are computed twice: first without keeping what the gradient needs (Gao et al., "Scaling
    deep contrastive learning batch size under memory limited setup", 2021). The result is the same, in bounded memory.
    """
    token_budget: int = 2048
    """Maximum number of padded tokens in one forward pass."""

    temperature: float = 0.1
    logq: float = 0.0
    """Share of the logQ correction, 0 to 1. At 0 the cosine learns what popularity does not explain. The served score needs this,
    because it adds popularity itself. At 1 the cosine learns popularity, too.
    """
    propensity_clip: float = 10.0
    """Upper bound of the inverse propensity."""
    whiten: bool = True
    """Compare in the items' space of the last refresh, as it is served (encoders/item_space.py)."""
    history_items: int = 8
    """Number of the heaviest entries of a history that are encoded with gradient."""
    stale_items: int = 64
    """Number of the next entries that use their vectors of the last refresh, without gradient."""
    hard_negatives: int = 2
    """Number of negatives of each example, drawn from the items nearest to the user at the last refresh, without the user's own."""
    hard_pool: int = 50
    """Number of nearest items from which hard negatives are drawn."""
    shown_negatives: int = 2
    """Maximum number of negatives per example that the user was shown and did not take."""
    drift_weight: float = 0.1
    """Weight of 1 - cos(vector, the previous model's vector of the same text) in the loss."""
    augment: float = 0.1
    """Share of a batch's texts that are read without a word or an attribute, or with words in another order."""
    replay_share: float = 0.3
    """Share of each batch that is drawn from before the newest window, if there is one."""
    newest_from_ms: int | None = None
    """Start of the newest window, milliseconds. None: all examples are in it."""

    refreshes: int = 8
    """How often the vectors for the mean, stale history and hard negatives are computed again, evenly over the training. Less often if
    that would take more than a tenth of ``minutes``. The same holds for validations.
    """
    validations: int = 8
    patience: int = 4
    """Number of validations in a row without an improvement after which the training ends."""
    checkpoint_minutes: float = 2.0
    checkpoint_steps: int | None = None
    """Also save a checkpoint after this many steps."""
    max_bad_steps: int = 20
    """Number of steps in a row without a finite loss and gradient after which TrainingDiverged is raised."""

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise UnusableError("a fine-tuning needs an end: set steps, epochs or minutes")
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UnusableError(f"{name} must be above zero, not {value}")
        for name in ("logq", "augment", "replay_share", "warmup", "dropout", "lora_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnusableError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        for name, offered in (("adapter", ("lora", "full")), ("precision", ("auto", "bf16", "fp32"))):
            if getattr(self, name) not in offered:
                raise UnusableError(f"{name} must be one of {', '.join(offered)}, not {getattr(self, name)!r}")

    @property
    def peak_rate(self) -> float:
        """The learning rate after warmup."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-3 if self.adapter == "lora" else 5e-5

"""The whole fine-tuning: ``finetune``."""

from __future__ import annotations

import time
from contextlib import closing
from math import isnan, nan
from pathlib import Path
from statistics import median

import torch

from encoders.errors import TrainingDiverged, UnusableError
from encoders.finetune.adapters import attach, save
from encoders.finetune.checkpoint import Checkpoints, Found
from encoders.finetune.config import FinetuneConfig
from encoders.finetune.distributed import Group
from encoders.finetune.examples import TrainingSet
from encoders.finetune.learner import Learner
from encoders.finetune.memory import Memory
from encoders.finetune.progress import FinetuneResult, OnProgress, Progress, Validate
from encoders.finetune.sampling import Budget, learning_rate
from encoders.finetune.state import State, fingerprint, pack, unpack
from encoders.finetune.text_model import TextModel


def finetune(
    base_folder: Path,
    data: TrainingSet,
    config: FinetuneConfig,
    out_folder: Path,
    *,
    checkpoints: Path | None,
    validate: Validate | None = None,
    on_progress: OnProgress | None = None,
) -> FinetuneResult:
    """Train the model in ``base_folder`` on ``data`` and write the best one to ``out_folder``, which ``load_encoder`` reads.

    - ``validate`` gets a function from texts to float32 [n, dimension] and returns a number; higher is better. It is called on the
      starting model, several times during the training, and at the end.
    - The best weights are saved. If none were better than the starting model, that model is saved.
    - With a ``checkpoints`` folder, a killed training continues from its last complete checkpoint, to the same result. Checkpoints
      are removed at the end.
    - Under ``torchrun``, all processes call this with the same arguments and share the work. The first one validates, reports
      progress and writes.

    Raises UnusableError for data or a model that can't be trained, and if ``out_folder`` exists; TrainingDiverged after too many
    steps in a row without a finite loss; OSError for a full disk. Earlier checkpoints then stay.
    """
    if not data.examples:
        raise UnusableError("there is no example to learn from")
    if out_folder.exists():
        raise UnusableError(f"{out_folder} is there already; name a new folder")
    with torch.random.fork_rng(), closing(Group.join(config.device)) as group:
        torch.manual_seed(config.seed)
        text_model = TextModel.open(
            base_folder, precision=config.precision, device=group.device, token_budget=config.token_budget, dropout=config.dropout
        )
        attach(text_model, config)
        memory = Memory(data, config, text_model, group)
        memory.start()
        learner = Learner(data, config, text_model, memory, group)
        store = Checkpoints(checkpoints, fingerprint=fingerprint(base_folder, data, config, group.size)) if checkpoints else None
        found = store.newest() if store else Found(None, {}, ())
        state = State() if found.tensors is None else unpack(found.state["step"], found.tensors, found.state, learner, memory)
        group.check_same(state.step, len(data.examples), config.batch_size)
        run = _Run(config, group, text_model, memory, learner, store, state, validate, on_progress)
        run.to_the_end()
        if group.rank == 0:
            save(text_model, base_folder, out_folder)
            if store:
                store.clear()
        group.from_first(0.0)  # nobody leaves before the model is there
        return FinetuneResult(
            folder=out_folder,
            steps=state.step,
            seconds=state.seconds,
            losses=tuple(state.losses),
            validations=tuple(state.validations),
            best=state.best_value,
            best_step=state.best_step if state.validations else state.step,
            skipped_steps=sum(isnan(loss) for loss in state.losses),
            resumed_from=None if found.tensors is None else int(found.state["step"]),
            refused_checkpoints=found.refused,
            precision="bf16" if text_model.autocast else "fp32",
            pairs_per_second=run.speed(),
        )


_SET_ASIDE = 0.2
"""At most, of a budget in minutes, for the last validation."""
_BESIDE = 0.1
"""Of a budget in minutes, for refreshes, and as much for validations: a short training on a large catalogue does with fewer of them."""


class _Run:
    """The loop."""

    def __init__(
        self,
        config: FinetuneConfig,
        group: Group,
        text_model: TextModel,
        memory: Memory,
        learner: Learner,
        store: Checkpoints | None,
        state: State,
        validate: Validate | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._config, self._group, self._text_model, self._memory = config, group, text_model, memory
        self._learner, self._store, self._state = learner, store, state
        self._validate, self._on_progress = validate, on_progress
        steps = [] if config.steps is None else [config.steps]
        if config.epochs is not None:
            steps.append(max(1, round(config.epochs / learner.epochs(1))))
        self._budget = Budget(min(steps) if steps else None, None if config.minutes is None else 60 * config.minutes)
        self._since = time.monotonic() - state.seconds
        self._saved_at = state.seconds
        self._validation_seconds = 0.0
        self._refresh_seconds = memory.seconds
        self._step_seconds: list[float] = []

    def to_the_end(self) -> None:
        """Steps until the budget is spent or validation no longer gains; leaves the best weights in the model."""
        state, config = self._state, self._config
        if not state.validations:
            self._validated()
        fraction = self._fraction()
        while fraction < 1 and (state.without_better < config.patience):
            rate = learning_rate(fraction, peak=config.peak_rate, warmup=config.warmup)
            begun = time.monotonic()
            state.losses.append(self._learner.step(state.step, rate))
            self._step_seconds.append(time.monotonic() - begun)
            state.step += 1
            if state.bad_in_a_row >= config.max_bad_steps:
                raise TrainingDiverged(
                    f"{state.bad_in_a_row} steps in a row had no finite loss or gradient; lower learning_rate, or set precision to fp32"
                )
            before, fraction = fraction, self._fraction()
            refreshes = self._times(config.refreshes, self._refresh_seconds)
            if self._memory.wanted and fraction < 1 and int(fraction * refreshes) > int(before * refreshes):
                self._memory.refresh()
            validations = self._times(config.validations, self._validation_seconds)
            passed = int(fraction * validations) > int(before * validations)
            value = self._validated() if passed or fraction == 1 else None
            self._tell(rate, fraction, value)
            self._keep(fraction)
        if state.best:
            with torch.no_grad():
                for name, p in self._learner.parameters.items():
                    p.copy_(state.best[name])

    def speed(self) -> float:
        """Examples per second of the median step, without validation and refreshes."""
        return self._learner.pairs_per_step / median(self._step_seconds) if self._step_seconds else nan

    def _fraction(self) -> float:
        """By the first process's clock. The last validation's time is set aside for the one at the end."""
        seconds = (time.monotonic() - self._since, self._validation_seconds, self._memory.seconds)
        self._state.seconds, aside, self._refresh_seconds = self._group.from_first(*seconds)
        if self._budget.seconds is not None:
            aside = min(aside, _SET_ASIDE * self._budget.seconds)
        return self._budget.fraction(self._state.step, self._state.seconds + aside)

    def _times(self, wanted: int, seconds: float) -> int:
        """How often what takes so long is done."""
        if self._budget.seconds is None or seconds <= 0:
            return wanted
        return max(1, min(wanted, int(_BESIDE * self._budget.seconds / seconds)))

    def _validated(self) -> float | None:
        if self._validate is None:
            return None
        begun = time.monotonic()
        value = float(self._validate(self._text_model.encode)) if self._group.rank == 0 else 0.0
        value, self._validation_seconds = self._group.from_first(value, time.monotonic() - begun)
        self._state.record_validation(value, self._learner)
        return value

    def _tell(self, rate: float, fraction: float, validation: float | None) -> None:
        if self._on_progress is None or self._group.rank != 0:
            return
        state = self._state
        self._on_progress(
            Progress(
                step=state.step,
                steps=self._budget.planned_steps(state.step, state.seconds),
                loss=state.losses[-1],
                learning_rate=rate,
                pairs_per_second=self._learner.pairs_per_step / self._step_seconds[-1],
                seconds_left=state.seconds / fraction * (1 - fraction),
                epoch=self._learner.epochs(state.step),
                validation=validation,
            )
        )

    def _keep(self, fraction: float) -> None:
        """A checkpoint, where one is due."""
        state, config = self._state, self._config
        by_steps = config.checkpoint_steps is not None and state.step % config.checkpoint_steps == 0
        by_time = state.seconds - self._saved_at > 60 * config.checkpoint_minutes
        if self._store is not None and self._group.rank == 0 and fraction < 1 and (by_steps or by_time):
            self._store.save(state.step, *pack(state, self._learner, self._memory))
            self._saved_at = state.seconds

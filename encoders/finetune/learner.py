"""One training step: a batch of examples, its loss, the gradients, and the update of the weights."""

from __future__ import annotations

from math import isfinite, nan

import numpy as np
import torch

from encoders.finetune.adapters import trainable
from encoders.finetune.batches import Batch, Floats, assemble, augment, heaviest
from encoders.finetune.config import FinetuneConfig
from encoders.finetune.distributed import Group
from encoders.finetune.examples import Ints, TrainingSet
from encoders.finetune.loss import contrastive, drift, example_weights, placed
from encoders.finetune.memory import Memory, mine
from encoders.finetune.sampling import Sampler
from encoders.finetune.text_model import TextModel

_NO_DECAY = 1
"""Biases and norms have one dimension and are not decayed."""


class Learner:
    """Deterministic: what a step does follows from the seed, its number, the weights and the memory."""

    def __init__(self, data: TrainingSet, config: FinetuneConfig, text_model: TextModel, memory: Memory, group: Group) -> None:
        self._data, self._config, self._text_model, self._memory, self._group = data, config, text_model, memory, group
        size = config.batch_size * group.size
        self._sampler = Sampler(
            np.array([example.at_ms for example in data.examples], np.int64),
            batch_size=size,
            newest_from_ms=config.newest_from_ms,
            replay_share=config.replay_share,
            seed=config.seed,
        )
        self._inclusion = data.inclusion(size)
        self._tokens = text_model.tokens(data.texts)
        self.parameters = trainable(text_model.model)
        groups = [
            {"params": [p for p in self.parameters.values() if p.ndim > _NO_DECAY], "weight_decay": config.weight_decay},
            {"params": [p for p in self.parameters.values() if p.ndim <= _NO_DECAY], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=config.peak_rate, fused=True)
        self.pairs_per_step = size * config.accumulate

    def epochs(self, step: int) -> float:
        """Passes over the newest examples before this step."""
        return self._sampler.epochs(step * self._config.accumulate)

    def step(self, step: int, rate: float) -> float:
        """The loss; NaN if it or its gradient was not finite and the weights were left as they were."""
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(self._config.accumulate):
            total += self._gradients(step * self._config.accumulate + part) / self._config.accumulate
        self._group.sum_gradients(self.parameters.values())
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self._config.clip_norm))
        if not (isfinite(total) and isfinite(norm)):
            return nan
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return total

    def _gradients(self, number: int) -> float:
        """Adds those of one batch; the loss."""
        config, device = self._config, self._group.device
        random = np.random.default_rng((config.seed, 2, number))
        batch, stale = self._batch(number, random)
        rows = self._rows(batch.texts, random)
        shares = self._group.shares(np.fromiter((len(row) for row in rows), np.int64, len(rows)))
        own = shares[self._group.rank]
        mine_ = [rows[row] for row in own]
        keep = sum(len(row) for row in mine_) <= config.activation_tokens
        encoded = self._text_model.forward(mine_, keep=keep, seed=int(random.integers(2**40)) + self._group.rank * 100_003)
        vectors = self._group.gather(encoded.vectors, shares).requires_grad_()
        loss = self._loss(batch, torch.from_numpy(stale).to(device), vectors)
        value = float(loss.detach())
        if isfinite(value):
            (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
            if vectors.grad is not None:
                encoded.backward(vectors.grad[torch.from_numpy(own)])
        return value

    def _batch(self, number: int, random: np.random.Generator) -> tuple[Batch, Floats]:
        """And the stale part of the users' sums, float32 [B, dimension]."""
        config, memory = self._config, self._memory
        examples = [self._data.examples[row] for row in self._sampler.batch(number)]
        positives = [self._data.positives[example.user] for example in examples]
        parts = [heaviest(example, config.history_items, config.stale_items) for example in examples]
        stale = np.zeros((len(examples), self._text_model.dimension), np.float32)
        for row, (_, _, texts, weights) in enumerate(parts):
            if len(texts):
                stale[row] = weights @ memory.placed[texts]
        negatives = [np.zeros(0, np.int64) for _ in examples]
        if config.hard_negatives:
            sums = stale + np.stack([weights @ memory.placed[texts] for texts, weights, _, _ in parts])
            negatives = mine(
                sums, memory.items, self._data.items, positives, count=config.hard_negatives, pool=config.hard_pool, random=random
            )
        if config.shown_negatives:
            shown = [random.permutation(np.array(example.negatives, np.int64))[: config.shown_negatives] for example in examples]
            negatives = [np.concatenate(pair) for pair in zip(negatives, shown, strict=True)]
        live = [(texts, weights) for texts, weights, _, _ in parts]
        return assemble(examples, live, negatives, positives, self._inclusion), stale

    def _rows(self, texts: Ints, random: np.random.Generator) -> list[list[int]]:
        rows = [self._tokens[text] for text in texts]
        changed = np.flatnonzero(random.random(len(texts)) < self._config.augment)
        if len(changed):
            said = [augment(self._data.texts[texts[place]], random) for place in changed]
            for place, row in zip(changed, self._text_model.tokens(said), strict=True):
                rows[place] = row
        return rows

    def _loss(self, batch: Batch, stale: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        config, device, tensor = self._config, self._group.device, torch.from_numpy
        space = self._memory.space
        scale = None if space.scale is None else tensor(space.scale).to(device)
        points = placed(vectors, tensor(space.mean).to(device), scale)
        users = torch.nn.functional.normalize(tensor(batch.history).to(device) @ points + stale, dim=1, eps=1e-6)
        loss = contrastive(
            users,
            points[tensor(batch.candidates).to(device)],
            tensor(batch.targets).to(device),
            tensor(batch.allowed).to(device),
            tensor(batch.log_inclusion).to(device) * config.logq,
            example_weights(tensor(batch.outcome).to(device), tensor(batch.propensity).to(device), config.propensity_clip),
            temperature=config.temperature,
        )
        if config.drift_weight:
            loss = loss + config.drift_weight * drift(vectors, tensor(self._memory.before[batch.texts]).to(device))
        return loss

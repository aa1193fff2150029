"""A small SASRec: Kang and McAuley, "Self-attentive sequential recommendation" (ICDM 2018), trained with a softmax over the target and
many sampled negatives as Klenitskiy and Vasilev recommend, "Turning dross into gold loss: is BERT4Rec really better than SASRec?"
(RecSys 2023)."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.retail import Cut, Scores

SEED = 20
LENGTH, WIDTH, HEADS, BLOCKS, DROPOUT = 50, 64, 2, 2, 0.2
BATCH, RATE, NEGATIVES = 64, 2e-3, 512


class SasRec(nn.Module):
    """Causal transformer over a shopper's purchases; item 0 is padding, on the left."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, WIDTH, padding_idx=0)
        self.places = nn.Embedding(LENGTH, WIDTH)
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, BLOCKS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.items.weight, std=0.05)
        nn.init.normal_(self.places.weight, std=0.05)
        self.register_buffer("later", torch.triu(torch.full((LENGTH, LENGTH), -1e9), 1))

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Hidden states float32 [batch, LENGTH, WIDTH] of item numbers int64 [batch, LENGTH]."""
        hidden = self.items(sequences) * WIDTH**0.5 + self.places.weight
        padding = torch.zeros_like(sequences, dtype=torch.float32).masked_fill(sequences == 0, -1e9)
        states: torch.Tensor = self.blocks(self.dropout(hidden), mask=self.later, src_key_padding_mask=padding)
        return states

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.items.weight[1:].T


def sasrec(cut: Cut, *, epochs: int, limit_s: float, on_epoch: Callable[[int, Scores], None] | None = None) -> Scores:
    """Scores [shoppers, items] after so many epochs, or when the time is over; ``on_epoch`` sees the scores after every epoch."""
    torch.manual_seed(SEED)
    # Its fused inference takes these masks of floats for masks of booleans and sees the future and the padding.
    torch.backends.mha.set_fastpath_enabled(False)
    generator = np.random.default_rng(SEED)
    past = cut.past
    order = np.argsort(past.users, kind="stable")
    ends = np.searchsorted(past.users[order], np.arange(cut.shape[0] + 1))
    histories = [History(past.items[order[a:b]] + 1, past.baskets[order[a:b]]) for a, b in pairwise(ends)]
    model = SasRec(cut.shape[1])
    # The average of the last steps' weights is judged: the targets of one step are few and noisy.
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
    begun, scores = time.perf_counter(), np.zeros((0, 0), np.float32)
    for epoch in range(epochs):
        _train_one_epoch(model, averaged, optimizer, windows(histories, generator), begun + limit_s)
        last = epoch + 1 == epochs or time.perf_counter() - begun > limit_s
        if on_epoch is not None or last:
            scores = _score(averaged.module, [histories[shopper].items for shopper in cut.shoppers])
        if on_epoch is not None:
            on_epoch(epoch + 1, scores)
        if last:
            break
    return scores


class History:
    """A shopper's purchases in order. A basket has no order in it, so what is foretold at each place is an item of the next basket
    (as in the protocol: one that is new to the shopper), not the next line of the same one."""

    def __init__(self, items: np.ndarray, baskets: np.ndarray) -> None:
        self.items = items
        _, first = np.unique(items, return_index=True)
        self.new = np.zeros(len(items), np.bool_)
        self.new[first] = True
        starts = np.append(np.flatnonzero(np.diff(baskets, prepend=-1)), len(items))
        basket = np.cumsum(np.diff(baskets, prepend=-1) != 0)
        self.next_from = starts[np.minimum(basket, len(starts) - 1)]
        self.next_until = starts[np.minimum(basket + 1, len(starts) - 1)]

    def window(self, generator: np.random.Generator) -> np.ndarray:
        """int64 [2, LENGTH]: items and, for each, one of the next basket; 0 is none. Ends at a random place of the last LENGTH."""
        end = int(generator.integers(min(len(self.items), LENGTH), len(self.items) + 1))
        own = slice(max(0, end - LENGTH), end)
        low, high = self.next_from[own], self.next_until[own]
        at = np.minimum(low + (generator.random(len(low)) * (high - low)).astype(np.int64), len(self.items) - 1)
        wanted = np.where((high > low) & self.new[at], self.items[at], 0)
        padding = np.zeros((2, LENGTH - len(low)), np.int64)
        return np.concatenate((padding, np.stack((self.items[own], wanted))), axis=1)


def windows(histories: list[History], generator: np.random.Generator) -> np.ndarray:
    """int64 [windows, 2, LENGTH]: one of each shopper with more than one basket, two of long histories, in random order."""
    chosen = [h for h in histories if len(h.items) and h.next_from[0] < len(h.items) for _ in range(1 + (len(h.items) > LENGTH))]
    return np.stack([history.window(generator) for history in chosen])[generator.permutation(len(chosen))]


def _train_one_epoch(model: SasRec, averaged: AveragedModel, optimizer: torch.optim.Optimizer, sequences: np.ndarray, until: float) -> None:
    model.train()
    for start in range(0, len(sequences), BATCH):
        if time.perf_counter() > until:
            break
        inputs, wanted = torch.from_numpy(sequences[start : start + BATCH]).unbind(1)
        known = wanted > 0
        if not known.any():
            continue
        loss = _loss(model, model(inputs)[known], wanted[known])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(model)


def _loss(model: SasRec, states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each target among the same uniformly drawn negatives; a target among them is no negative of its own."""
    negatives = torch.randint(1, model.items.num_embeddings, (NEGATIVES,))
    against = (states @ model.items(negatives).T).masked_fill(negatives == wanted[:, None], -1e9)
    own = (states * model.items(wanted)).sum(dim=1, keepdim=True)
    return functional.cross_entropy(torch.cat((own, against), dim=1), torch.zeros_like(wanted))


@torch.no_grad()
def _score(model: SasRec, histories: list[np.ndarray]) -> Scores:
    model.eval()
    tails = [history[-LENGTH:] for history in histories]
    padded = torch.from_numpy(np.stack([np.concatenate((np.zeros(LENGTH - len(t), np.int64), t)) for t in tails]))
    parts = [model.logits(model(padded[start : start + 256])[:, -1]) for start in range(0, len(padded), 256)]
    return torch.cat(parts).numpy()

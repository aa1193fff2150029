"""The examples of a step as arrays. Each text is in them once, however many histories and targets use it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.finetune.examples import Example, Ints

_ATTRIBUTES = ". "
"""Between title, category, brand and description, as the catalogue stage writes them."""
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Chinese and Japanese characters: they stand without spaces."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """B examples, U texts to encode, C candidates."""

    texts: Ints
    """int64 [U], sorted, each once."""
    history: Floats
    """float32 [B, U]: the weights of the live part of the histories."""
    candidates: Ints
    """int64 [C]: places in ``texts``."""
    targets: Ints
    """int64 [B]: columns of ``candidates``."""
    allowed: npt.NDArray[np.bool_]
    """bool [B, C]: what an example is contrasted with, its target included."""
    log_inclusion: Floats
    """float32 [B, C]: ln of how likely the candidate came into the batch; 0 if it was chosen for this very example."""
    outcome: Floats
    propensity: Floats
    """float32 [B]."""


def heaviest(example: Example, live: int, stale: int) -> tuple[Ints, Floats, Ints, Floats]:
    """Texts and weights of the ``live`` heaviest entries of a history and of the ``stale`` next ones; the later of equals first.

    Entries of one text are added up first: they are one vector.
    """
    texts, places = np.unique(np.array(example.history, np.int64), return_inverse=True)
    weights = np.bincount(places, weights=np.array(example.history_weights, np.float64), minlength=len(texts)).astype(np.float32)
    latest = np.zeros(len(texts), np.int64)
    latest[places] = np.arange(len(places))
    order = np.lexsort((-latest, -np.abs(weights)))
    first, next_ = order[:live], order[live : live + stale]
    return texts[first], weights[first], texts[next_], weights[next_]


def assemble(
    examples: Sequence[Example],
    live: Sequence[tuple[Ints, Floats]],
    own_negatives: Sequence[Ints],
    positives: Sequence[Ints],
    inclusion: npt.NDArray[np.float64],
) -> Batch:
    """``live``: each example's history to encode; ``own_negatives``: texts that only it is contrasted with (mined, or shown and not taken);
    ``positives``: texts of its user, which it is never contrasted with; ``inclusion``: float64 [texts], see ``TrainingSet.inclusion``."""
    targets = np.array([example.target for example in examples], np.int64)
    in_batch = np.unique(targets)
    columns = np.unique(np.concatenate([in_batch, *own_negatives]))
    texts = np.unique(np.concatenate([columns, *(ids for ids, _ in live)]))
    history = np.zeros((len(examples), len(texts)), np.float32)
    drawn = np.isin(columns, in_batch, assume_unique=True)
    allowed = np.repeat(drawn[None], len(examples), axis=0)
    log_inclusion = np.zeros(allowed.shape, np.float32)
    log_inclusion[:, drawn] = np.log(inclusion[in_batch])
    place_of_target = np.searchsorted(columns, targets)
    owned = np.zeros(len(inclusion), dtype=bool)
    for row, ((ids, weights), negatives, own) in enumerate(zip(live, own_negatives, positives, strict=True)):
        history[row, np.searchsorted(texts, ids)] = weights
        chosen = np.searchsorted(columns, negatives)
        allowed[row, chosen] = True
        log_inclusion[row, chosen] = 0.0
        owned[own] = True
        allowed[row] &= ~owned[columns]
        owned[own] = False
    allowed[np.arange(len(examples)), place_of_target] = True
    return Batch(
        texts=texts,
        history=history,
        candidates=np.searchsorted(texts, columns),
        targets=place_of_target,
        allowed=allowed,
        log_inclusion=log_inclusion,
        outcome=np.array([example.weight for example in examples], np.float32),
        propensity=np.array([example.propensity for example in examples], np.float32),
    )


def augment(text: str, random: np.random.Generator) -> str:
    """The text without an attribute behind the first, or without a word or two, or with two neighbouring words in the other order;
    of a text without spaces, without a span of characters. Never empty unless the text is; never anything that was not in it."""
    kind = random.integers(3)
    attributes = text.split(_ATTRIBUTES)
    if kind == 0 and len(attributes) > 1:
        left_out = int(random.integers(1, len(attributes)))
        return _ATTRIBUTES.join(part for place, part in enumerate(attributes) if place != left_out)
    words = text.split()
    if len(words) < 3 and len(_UNSPACED.findall(text)) >= 4:
        return _without_span(text, random)
    if len(words) < 2:
        return text
    if kind == 1:
        place = int(random.integers(len(words) - 1))
        words[place], words[place + 1] = words[place + 1], words[place]
        return " ".join(words)
    drops = int(random.integers(1, 1 + max(1, len(words) // 4)))
    kept = sorted(random.permutation(len(words))[: len(words) - drops].tolist())
    return " ".join(words[place] for place in kept)


def _without_span(text: str, random: np.random.Generator) -> str:
    """Without a run of one to a quarter of its characters."""
    length = int(random.integers(1, 1 + max(1, len(text) // 4)))
    start = int(random.integers(0, len(text) - length + 1))
    return (text[:start] + text[start + length :]).strip() or text

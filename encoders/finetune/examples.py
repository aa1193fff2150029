"""The training examples as plain data: texts by number, and which user turned to which text after which history."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from encoders.errors import UnusableError
from encoders.files import replacing

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """One moment of one user: with this history, the target came next. Texts are row numbers of ``TrainingSet.texts``."""

    user: int
    history: tuple[int, ...]
    history_weights: tuple[float, ...]
    """As served: by kind of event, decayed to the moment of the example."""
    target: int
    weight: float
    """By outcome, not negative."""
    propensity: float
    """How likely it was shown there; 1.0 if the user found it alone."""
    at_ms: int
    negatives: tuple[int, ...] = ()
    """Shown and ignored or dismissed."""


@dataclass(frozen=True)
class TrainingSet:
    """Examples in time order. ``item_counts``: how often each text was a target, float or int [texts]; ``is_item``: bool [texts], the
    texts that are the catalogue's (None: those with a count). Raises UnusableError for numbers that name no text."""

    texts: list[str]
    item_counts: npt.NDArray[np.generic]
    examples: list[Example]
    is_item: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        count = len(self.texts)
        if self.item_counts.shape != (count,) or (self.is_item is not None and self.is_item.shape != (count,)):
            raise UnusableError(f"item_counts and is_item must have one number for each of the {count} texts")
        for place, example in enumerate(self.examples):
            if len(example.history) != len(example.history_weights):
                raise UnusableError(f"example {place}: {len(example.history)} texts of history, {len(example.history_weights)} weights")
            if not all(0 <= text < count for text in (*example.history, example.target, *example.negatives)):
                raise UnusableError(f"example {place} names a text that is none of the {count}")
            if not (example.weight >= 0 and example.propensity > 0):
                raise UnusableError(f"example {place}: the weight must be 0 or more and the propensity above 0")

    @cached_property
    def items(self) -> Ints:
        """int64 [items]: the catalogue's texts."""
        return np.flatnonzero(self.item_counts > 0 if self.is_item is None else self.is_item).astype(np.int64)  # type: ignore[operator]

    @cached_property
    def positives(self) -> dict[int, Ints]:
        """Sorted texts of each user that are no negatives for it: its histories and targets, at any time."""
        found: defaultdict[int, set[int]] = defaultdict(set)
        for example in self.examples:
            found[example.user].update(example.history)
            found[example.user].add(example.target)
        return {user: np.array(sorted(texts), dtype=np.int64) for user, texts in found.items()}

    def inclusion(self, draws: int) -> npt.NDArray[np.float64]:
        """float64 [texts]: the probability that a text is among the targets of ``draws`` random examples, 1 - (1 - p)^draws.

        A target is in a batch once, however often it was drawn. So this, and not p, is the Q of the logQ correction.
        """
        share = np.minimum(self.item_counts.astype(np.float64) / max(1.0, float(self.item_counts.sum())), 1 - 1e-12)
        included: npt.NDArray[np.float64] = np.maximum(-np.expm1(draws * np.log1p(-share)), 1e-12)
        return included

    def save(self, folder: Path) -> None:
        """Write ``examples.npz``; no pickles. Complete or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "examples.npz") as file:
            file.write(self.to_bytes())

    @classmethod
    def load(cls, folder: Path) -> TrainingSet:
        """What ``save`` wrote. Raises UnusableError if it is damaged or missing."""
        try:
            return cls.from_bytes((folder / "examples.npz").read_bytes())
        except OSError as error:
            raise UnusableError(f"{folder} holds no complete training set ({type(error).__name__}); make it again") from error

    def to_bytes(self) -> bytes:
        """All of it, without pickles."""
        numbers: dict[str, npt.NDArray[np.generic]] = {"item_counts": self.item_counts, "items": self.items}
        numbers["texts"] = np.frombuffer(json.dumps(self.texts).encode(), np.uint8)
        for name in ("user", "target", "weight", "propensity", "at_ms"):
            numbers[name] = np.array([getattr(example, name) for example in self.examples])
        for name in ("history", "history_weights", "negatives"):
            rows = [getattr(example, name) for example in self.examples]
            numbers[f"{name}_ends"] = np.cumsum([len(row) for row in rows], dtype=np.int64)
            kind = np.float64 if name == "history_weights" else np.int64
            numbers[name] = np.array([value for row in rows for value in row], dtype=kind)
        file = BytesIO()
        np.savez(file, allow_pickle=False, **numbers)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingSet:
        """What ``to_bytes`` gave. Raises UnusableError if it is damaged."""
        try:
            with np.load(BytesIO(data), allow_pickle=False) as file:
                numbers = {name: file[name] for name in file.files}
            texts = json.loads(numbers["texts"].tobytes())
            history, weights, negatives = (_rows(numbers, name) for name in ("history", "history_weights", "negatives"))
            columns = (numbers[name].tolist() for name in ("user", "target", "weight", "propensity", "at_ms"))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise UnusableError(f"this is no complete training set ({type(error).__name__}); make it again") from error
        is_item = np.zeros(len(texts), dtype=bool)
        is_item[numbers["items"]] = True
        examples = [
            Example(user, tuple(h), tuple(w), target, weight, propensity, at, tuple(n))
            for user, target, weight, propensity, at, h, w, n in zip(*columns, history, weights, negatives, strict=True)
        ]
        return cls(texts, numbers["item_counts"], examples, is_item)


def _rows(numbers: dict[str, npt.NDArray[np.generic]], name: str) -> Sequence[list[float]]:
    return [part.tolist() for part in np.split(numbers[name], numbers[f"{name}_ends"])[:-1]]

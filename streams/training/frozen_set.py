"""The frozen training set of a round on disk: what shoppers did and searched for, so it is sealed where the trainer has a state key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streams.atrest.sealed import is_sealed
from streams.errors import ConfigurationError
from streams.files import replace_file
from streams.training.row_seal import RowSeal

if TYPE_CHECKING:
    from encoders.finetune.examples import TrainingSet

_FILE = "examples.npz"


def save_frozen(folder: Path, training: TrainingSet, seal: RowSeal | None) -> None:
    """Complete or not at all."""
    if seal is None:
        training.save(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / _FILE, seal.seal_round(training.to_bytes()), mode=0o600)


def has_frozen(folder: Path) -> bool:
    return (folder / _FILE).is_file()


def load_frozen(folder: Path, seal: RowSeal | None) -> TrainingSet:
    """What ``save_frozen`` wrote. Raises UnusableError if it is damaged or missing, StateDamaged if it was altered, and ConfigurationError
    if it can't be opened: a state key is missing, or its data key was shredded."""
    from encoders.finetune.examples import TrainingSet

    path = folder / _FILE
    if seal is None:
        if has_frozen(folder) and is_sealed(path.read_bytes()[:1]):
            raise ConfigurationError(f"{path} is sealed, and there is no state key")
        return TrainingSet.load(folder)
    content = seal.open_round(path.read_bytes())
    if content is None:
        raise ConfigurationError(f"{path} can't be opened: its key was shredded with what was learnt from, or it was never sealed")
    return TrainingSet.from_bytes(content)

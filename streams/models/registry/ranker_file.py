"""The ranker in a model's folder."""

from __future__ import annotations

from pathlib import Path

from encoders.folder import RANKER
from streams.errors import ConfigurationError
from streams.ranking.learned.file import ranker_bytes, ranker_from
from streams.ranking.learned.model import Ranker


def read_ranker(folder: Path) -> Ranker | None:
    """None where the folder has none. Raises ConfigurationError for one that can't be served."""
    path = folder / RANKER
    if not path.is_file():
        return None
    try:
        return ranker_from(path.read_bytes())
    except ValueError as error:
        raise ConfigurationError(f"{path.name} can't be served: {error}; publish the model again, or update Veilstream") from error


def write_ranker(folder: Path, ranker: Ranker) -> None:
    """In place of the one that is there. It makes another version of the model."""
    path = folder / RANKER
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(ranker_bytes(ranker))
    part.replace(path)

"""The ranker in a model's folder."""

from __future__ import annotations

from pathlib import Path

from encoders.folder import RANKER
from streams.errors import ConfigurationError
from streams.files import replace_file
from streams.ranking.learned.file import ranker_bytes, ranker_from
from streams.ranking.learned.model import Ranker


def read_ranker(folder: Path) -> Ranker | None:
    """None where the folder has none. Raises ConfigurationError for one that can't be served."""
    path = folder / RANKER
    return ranker_in(path.read_bytes()) if path.is_file() else None


def ranker_in(data: bytes) -> Ranker:
    """The ranker of a file's content. Raises as ``read_ranker``."""
    try:
        return ranker_from(data)
    except ValueError as error:
        name = RANKER.rpartition("/")[2]
        raise ConfigurationError(f"{name} can't be served: {error}; publish the model again, or update Veilstream") from error


def write_ranker(folder: Path, ranker: Ranker) -> None:
    """In place of the one that is there. It makes another version of the model."""
    path = folder / RANKER
    path.parent.mkdir(exist_ok=True)
    replace_file(path, ranker_bytes(ranker), mode=0o666)

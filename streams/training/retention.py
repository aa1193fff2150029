"""What goes from a trainer's folder, and when: records and curves of old rounds, copies of models, files that were moved aside."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from streams.models.registry.expiry import expire_copies

log = logging.getLogger(__name__)
_DAY_S = 86_400.0
_DAMAGED = "*.damaged"


class Retention(NamedTuple):
    """How long what is kept. The running round is never touched."""

    rounds: int = 50
    """Of the newest."""
    days: float = 365.0
    """And of these none that is older."""
    damaged_days: float = 7.0
    """Of files that were moved aside to be looked at: they hold what a shopper may have asked to be forgotten."""


def prune_folder(root: Path, rules: Retention, *, now_s: float | None = None, dry_run: bool = False) -> list[str]:
    """Remove what is too old from a trainer's folder; the paths, relative to it, in alphabetical order. Raises OSError for what can't be
    removed."""
    now_s = time.time() if now_s is None else now_s
    gone: list[Path] = []
    for name in ("rounds", "tensorboard"):
        gone += _old(_folders(root / name), rules.rounds, now_s - rules.days * _DAY_S)
    gone += _old(root.glob(_DAMAGED), None, now_s - rules.damaged_days * _DAY_S)
    if not dry_run:
        for path in gone:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    shown = [str(path.relative_to(root)) for path in gone]
    if not dry_run:
        shown += [f"models/{version}" for version in expire_copies(root / "models")]
    return sorted(shown)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _old(paths: Iterable[Path], most: int | None, before_s: float) -> list[Path]:
    newest_first = sorted(((path.lstat().st_mtime, path) for path in paths), reverse=True)
    return [path for place, (at_s, path) in enumerate(newest_first) if at_s < before_s or (most is not None and place >= most)]

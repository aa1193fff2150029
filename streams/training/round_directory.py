"""The folder of rounds. The running round is in ``round`` and continues after a kill.

What is kept of each round is in ``rounds/<request id>``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from streams.errors import ConfigurationError
from streams.files import private_folder, replace_file

_KEPT = ("request.json", "outcome.json", "judged.json", "finetuned.json")
_MADE = ("data", "checkpoints", "model", "report")


class RoundDirectory:
    """Paths, and what of a round is where."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.round = root / "round"
        self.cache = root / "models"
        """Versions fetched from the registry."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two trainers in one folder would undo each other's work. Raises ConfigurationError if there is another."""
        private_folder(self.root)
        lock = FileLock(self.root / ".lock", timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigurationError(
                f"another trainer works in {self.root}; ask it with `veilstream trainer --request REASON`, or set VEILSTREAM_TRAINER_DIR"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Wait until no other process works on the round. If only the trainer was killed, its child process continues."""
        private_folder(self.root)
        with FileLock(self.root / ".round-lock", mode=0o600):
            yield

    @property
    def request(self) -> dict[str, Any] | None:
        """Of the round that is under way."""
        found: dict[str, Any] | None = read_json(self.round / "request.json")
        return found

    @property
    def outcome(self) -> dict[str, Any] | None:
        """Of the round that has ended and is not concluded yet."""
        found: dict[str, Any] | None = read_json(self.round / "outcome.json")
        return found

    def begin(self, request: Mapping[str, Any], *, up_to: int) -> None:
        """``up_to``: number of the newest pair that belongs to it."""
        self._clear()
        write_json(self.round / "request.json", {**request, "up_to": up_to, "attempts": 0})

    def note(self, **changes: Any) -> None:
        """Add to the request under way."""
        write_json(self.round / "request.json", {**(self.request or {}), **changes})

    def restart(self) -> None:
        """Keep the request, forget all that was made for it."""
        for name in _MADE:
            shutil.rmtree(self.round / name, ignore_errors=True)
        for name in ("judged.json", "finetuned.json", "outcome.json", "progress.json"):
            (self.round / name).unlink(missing_ok=True)

    def end(self, outcome: Mapping[str, Any]) -> None:
        write_json(self.round / "outcome.json", dict(outcome))

    def archive(self) -> Path:
        """Keep the records of the round and its report. Then the folder is free for the next round."""
        request = self.request or {}
        kept = self.root / "rounds" / str(request.get("request_id", "unknown"))
        kept.mkdir(parents=True, exist_ok=True)
        for name in _KEPT:
            if (self.round / name).is_file():
                shutil.copyfile(self.round / name, kept / name)
        if (self.round / "report").is_dir():
            shutil.copytree(self.round / "report", kept / "report", dirs_exist_ok=True)
        self._clear()
        return kept

    def _clear(self) -> None:
        """All of the round at once: one that is half deleted would be taken for one that is not concluded."""
        gone = self.root / ".round-gone"
        shutil.rmtree(gone, ignore_errors=True)
        if self.round.exists():
            self.round.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """On disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(value).encode())


def read_json(path: Path) -> Any:
    """The content that ``write_json`` wrote. None if there is none, or if the file is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None

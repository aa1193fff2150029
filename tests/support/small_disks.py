"""File systems on which writing fails: full after so many writes, gone with all their answers, or killed with their process."""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar

from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem


class _Written:
    """A file open for writing, of which each write may fail."""

    def __init__(self, disk: FailingWrites, file: Any) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: bytes) -> int:
        self._disk.spend()
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


class FailingWrites:
    """``writes_left`` writes succeed; then ``failure`` decides."""

    writes_left = 0

    def spend(self) -> None:
        if self.writes_left <= 0:
            self.fail()
        self.writes_left -= 1

    def fail(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)  # type: ignore[misc]
        return _Written(self, file) if "w" in mode else file


class FullDisk(FailingWrites, LocalFileSystem):
    cachable = False


class FullBucket(FailingWrites, MemoryFileSystem):
    cachable = False


class LostBucket(FullBucket):
    """Nothing can be removed either, as when the network is gone."""

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


class Killed(FullDisk):
    """The process ends at once, as by SIGKILL."""

    exit_code: ClassVar[int] = 9

    def fail(self) -> None:
        os._exit(self.exit_code)

"""Keeps compiled loops on disk, in a folder whose name depends on the source that they were generated from.

numba's cache notices a change of the function's own file, but not of the generators that it calls. Code of an older generator would write
past the end of the memory that the callers of the newer one reserve.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit
from numba.core import config as numba_config

from encoders.files import is_own

config: Any = numba_config


def compiler(generators: Sequence[ModuleType], shape: object, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function is compiled, without the interpreter's lock, when it is first called.

    ``generators`` are the modules that generate code for the function, ``shape`` is the input of these generators.
    ``NUMBA_CACHE_DIR`` is the folder of compiled code. If it is not set: the package's ``__pycache__`` or, if that is not writable,
    the user's cache.
    """
    folder = cache_folder(fingerprint(generators, shape))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        settings = {"nogil": True, "error_model": "numpy", **options}
        if folder is None:
            return njit(**settings)(function)  # type: ignore[no-any-return]
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            return njit(cache=True, **settings)(function)  # type: ignore[no-any-return]
        finally:
            config.CACHE_DIR = before

    return decorate


def fingerprint(generators: Sequence[ModuleType], shape: object) -> str:
    """Sixteen hexadecimal characters of the generators' source and what they are asked for."""
    digest = hashlib.blake2b(repr(shape).encode(), digest_size=8)
    for module in generators:
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


def cache_folder(name: str) -> Path | None:
    """The first place for compiled code that this process can write to, and no other user; None if there is none, and each process
    compiles for itself."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "veilstream"
    own = Path(__file__).parent / "__pycache__"
    for base in (Path(config.CACHE_DIR),) if config.CACHE_DIR else (own, user):
        folder = base / f"compiled-{name}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # What lies there is run.
        if os.access(folder, os.W_OK) and is_own(folder):
            return folder
    return None

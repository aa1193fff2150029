"""Fuzzes one target in this process, which ends with it. libFuzzer looks for inputs that reach new code."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["streams", "schemas"]):
    from tests.fuzz.targets import Target

SECONDS = 0.01
"""An input may take as long, of processor time."""
_WATCHED = 6
"""How much slower the code is while its branches are watched."""
_MEMORY_MB = 3072


class TooSlowError(Exception):
    """An input took longer than it may."""


def fuzz(target: Target, inputs: int, seed: int, folder: Path) -> NoReturn:
    """Ends the process: with 0 if all inputs were read or refused, else with the input in ``folder``."""
    seeds, corpus = folder / "seeds", folder / "corpus"
    for place in (seeds, corpus):
        place.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        Path(seeds, f"{number:03d}").write_bytes(data)
        target.read(data)  # what is done once, such as compiling, is no input's fault

    def seconds(data: bytes) -> float:
        begun = time.process_time()
        target.read(data)
        return time.process_time() - begun

    def one_input(data: bytes) -> None:
        if seconds(data) > SECONDS * _WATCHED and min(seconds(data) for _ in range(5)) > SECONDS * _WATCHED:
            raise TooSlowError(f"{len(data)} bytes take more than {1000 * SECONDS:.0f} ms")

    options = [f"-runs={inputs}", f"-seed={seed}", f"-max_len={target.longest}", f"-rss_limit_mb={_MEMORY_MB}", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus), str(seeds)], one_input)
    atheris.Fuzz()
    sys.exit(0)

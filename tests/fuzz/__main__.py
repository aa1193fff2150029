"""``python -m tests.fuzz``: shares inputs among all targets, one process each, and keeps what it finds.

What breaks a reader is written to ``var/fuzz/<target>/``. A file that is put into ``tests/fuzz/cases/<target>/`` is read by every test run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from pathlib import Path

from tests.fuzz.one import fuzz
from tests.fuzz.targets import TARGETS, Target

_DONE = re.compile(r"^Done (\d+) runs", re.MULTILINE)
_FAULT = re.compile(r"^(\S*(?:Error|Exception)\b.*|SUMMARY.*)$", re.MULTILINE)


def main() -> int:
    """The number of targets that broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many, over all targets (1000000)")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="of the random numbers; printed, so that a run can be repeated")
    parser.add_argument(
        "--folder", type=Path, default=Path("var/fuzz"), help="for inputs that reach new code, and those that break a reader"
    )
    chosen = parser.parse_args()
    names = chosen.target or list(TARGETS)
    seed = chosen.seed if chosen.seed is not None else random.randrange(1, 2**31)
    each = max(1, chosen.inputs // len(names))
    print(f"{each} inputs for each of {len(names)} targets, seed {seed}", flush=True)
    return sum(not passes(name, TARGETS[name], each, seed, chosen.folder / name) for name in names)


def passes(name: str, target: Target, inputs: int, seed: int, folder: Path) -> bool:
    """Whether nothing breaks the target; tells what does."""
    begun = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    child = os.fork()  # libFuzzer ends its process, and what was imported need not be watched anew
    if child == 0:
        to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(to, 1)
        os.dup2(to, 2)
        fuzz(target, inputs, seed, folder)
    _, status = os.waitpid(child, 0)
    told = log.read_text(errors="replace")
    done = _DONE.search(told)
    if status == 0 and done is not None:
        print(f"{name}: {done[1]} inputs, {time.perf_counter() - begun:.0f} s", flush=True)
        return True
    why = _FAULT.search(told)
    print(f"{name}: BROKEN: {why[1] if why else f'status {status}'}; the input and log.txt are in {folder}", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())

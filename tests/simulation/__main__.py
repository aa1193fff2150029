"""Play many schedules: ``python -m tests.simulation --schedules 1000000``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from tests.simulation.many import chunks, play_all


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Play seeded schedules of the delivery engine against a simulated broker, and say which break a promise. A schedule "
        "is told by its seed alone: `--first SEED --schedules 1` plays it again.",
    )
    parser.add_argument("--schedules", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at once (default: one a core, %(default)s)")
    given = parser.parse_args()
    began, done, wrong = time.monotonic(), 0, 0
    work = chunks(given.first, given.schedules)
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for number, found in enumerate(pool.imap(play_all, work), 1):
            done += len(work[number - 1])
            wrong += len(found)
            for text in found:
                print(text, flush=True)
            if number % 20 == 0 or number == len(work):
                took = time.monotonic() - began
                left = took / done * (given.schedules - done)
                print(f"{done:,} of {given.schedules:,} schedules, {wrong} wrong, {took:.0f} s, about {left:.0f} s left", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

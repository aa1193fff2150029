"""What k-anonymity costs the ingest stage, alone and with consent. ``make bench-anonymity``.

In a busy shop (a hundred events a second) most events tell what many share; in a quiet one (an event a minute) everything is widened.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.consent import book
from benchmarks.harness import interleave, ratio, save
from benchmarks.sources import EVENTS, NOW, RUNS, plain, throughput
from streams.engine.records import MemoryRecord
from streams.privacy.consent import GATED
from streams.serde import local_codecs
from streams.topics import BEHAVIOUR_RAW

K = 5
BUSY_MS, QUIET_MS = 10, 60_000
"""Between two events."""
SAYS = {
    "k": "k-anonymity in a busy shop",
    "both": "k-anonymity and consent in a busy shop",
    "quiet_k": "k-anonymity in a quiet shop",
}


def records(step_ms: int) -> Sequence[MemoryRecord]:
    """In the order of their times."""
    drawn = random.Random(16)
    codec = local_codecs().for_topic(BEHAVIOUR_RAW)
    empty = dict.fromkeys(codec.kinds)
    events = [plain(drawn, number) | {"occurred_at": NOW - (EVENTS - number) * step_ms} for number in range(EVENTS)]
    return [MemoryRecord(BEHAVIOUR_RAW, 0, number, NOW, None, codec.encode(empty | event), ()) for number, event in enumerate(events)]


def main() -> None:
    busy, quiet = records(BUSY_MS), records(QUIET_MS)
    agreed = book(frozenset(GATED))
    candidates = {
        "neither": throughput(busy),
        "k": throughput(busy, k=K),
        "both": throughput(busy, agreed, K),
        "quiet": throughput(quiet),
        "quiet_k": throughput(quiet, k=K),
    }
    measured = interleave(candidates, RUNS)
    result = {"events": EVENTS, "k_shoppers": K, "runs": measured} | {
        name: ratio(measured, name, "quiet" if name == "quiet_k" else "neither") for name in SAYS
    }
    for name, what in SAYS.items():
        print(f"with {what}: {result[name]['ratio_median']:.2f} of the throughput without")  # type: ignore[index]
    save("anonymity", result)


if __name__ == "__main__":
    main()

"""What consent costs the ingest stage, and the memory of a million decisions. ``make bench-consent``."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc

from benchmarks.harness import interleave, ratio, save
from benchmarks.sources import EVENTS, NOW, RUNS, plain, throughput
from streams.engine.records import MemoryRecord
from streams.privacy.consent import GATED, PERSONALIZATION, TRAINING, ConsentTable, Decision
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde import local_codecs
from streams.stages.ingest.consents import ConsentBook
from streams.topics import BEHAVIOUR_RAW, CONSENT_DECISIONS

SHOPPERS = 1_000_000
USERS = [f"u{number}" for number in range(2000)]
"""Those of the events."""
CASES: dict[str, frozenset[str]] = {
    "agreed": frozenset(GATED),
    "no_training": frozenset({PERSONALIZATION}),
    "refused": frozenset({TRAINING}),
}


def book(allowed: frozenset[str], others: int = 100_000) -> ConsentBook:
    """Every shopper of the events has decided so, and many others have decided anything."""
    table, hashes = ConsentTable(()), Pseudonymizer(PseudonymKey("k1", b"k" * 32))
    for purpose in GATED:
        for user in USERS:
            table.decide(hashes.pseudonym(user), purpose, Decision(NOW, purpose not in allowed))
        for number in range(others):
            table.decide(f"k1.other{number}", purpose, Decision(NOW + number, bool(number % 3)))
    return ConsentBook(local_codecs().for_topic(CONSENT_DECISIONS), table)


def memory() -> dict[str, float]:
    """Of a table with decisions of a million shoppers on both purposes."""
    gc.collect()
    tracemalloc.start()
    table = ConsentTable(())
    for number in range(SHOPPERS):
        for purpose in GATED:
            table.decide(f"k1.{number:032d}", purpose, Decision(NOW + number, False))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    names = [f"k1.{random.randrange(SHOPPERS):032d}" for _ in range(100_000)]
    begin = time.process_time()
    for name in names:
        table.refused(name)
    return {"bytes_a_shopper": held / SHOPPERS, "lookup_us": (time.process_time() - begin) / len(names) * 1e6}


def main() -> None:
    drawn = random.Random(15)
    codec = local_codecs().for_topic(BEHAVIOUR_RAW)
    empty = dict.fromkeys(codec.kinds)
    records = [
        MemoryRecord(BEHAVIOUR_RAW, 0, number, NOW, None, codec.encode(empty | plain(drawn, number)), ()) for number in range(EVENTS)
    ]
    candidates = {"without": throughput(records)} | {name: throughput(records, book(allowed)) for name, allowed in CASES.items()}
    measured = interleave(candidates, RUNS)
    result = {"events": EVENTS, "runs": measured, **memory()} | {name: ratio(measured, name, "without") for name in CASES}
    for name in CASES:
        print(f"{name}: {result[name]['ratio_median']:.2f} of the throughput without consent")  # type: ignore[index]
    print(f"a decision of a shopper: {result['bytes_a_shopper']:.0f} bytes, {result['lookup_us']:.2f} µs to look up")
    save("consent", result)


if __name__ == "__main__":
    main()

"""What sealing the states costs: stages beside brokers with and without a state key, and single values in memory. ``make bench-at-rest``.

Runs are interleaved: sealed, plain, sealed, plain. Three things are measured in each run, in fresh topics:

- the time of all events through ingest, profile and feedback together, as in ``bench-pipeline``,
- the time of the same clean events through profile alone, and of them with its recommendations through feedback alone,
- ingest alone, which keeps no state: it shows what the machine varies by.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc

from benchmarks.harness import save
from benchmarks.stage_rounds import PARTS, Candidate, measure
from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import Place
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SHOPPERS = 100_000
VALUE_BYTES = 1500


def values() -> dict[str, float]:
    """Of single values of shoppers: microseconds to seal, to open, to make a data key; bytes that each adds, on disk and in memory."""
    keys = StateKeys.of(StateKey("s1", b"1" * 32))
    names = [b"k1.%040d" % number for number in range(SHOPPERS)]
    value = os.urandom(VALUE_BYTES)
    gc.collect()
    tracemalloc.start()
    seal = PartitionSeal(Place(keys, "changelog", 0, "bench"), Place(keys, "keys", 0, "bench"), accepts_plain=False, what="bench")
    wanted = seal.before(dict.fromkeys(names, value), ())
    rows = seal.sealed_keys(wanted)
    del wanted
    seal.keep(rows)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    record = len(rows[names[0]] or b"")
    found = {"data_key_record_bytes": float(record), "memory_bytes_a_shopper": held / SHOPPERS}
    used = names[:5000]
    for turn in ("first", "again"):
        begin = time.process_time()
        sealed = seal.seal(dict.fromkeys(used, value))
        found[f"seal_us_{turn}"] = (time.process_time() - begin) / len(used) * 1e6
        begin = time.process_time()
        for name in used:
            seal.open(name, sealed[name] or b"")
        found[f"open_us_{turn}"] = (time.process_time() - begin) / len(used) * 1e6
    found["added_bytes_a_value"] = float(len(sealed[used[0]] or b"") - VALUE_BYTES)
    begin = time.process_time()
    fresh = [b"k2.%040d" % number for number in range(5000)]
    seal.keep(seal.sealed_keys(seal.before(dict.fromkeys(fresh, value), ())))
    found["new_data_key_us"] = (time.process_time() - begin) / len(fresh) * 1e6
    return found


def main() -> None:
    events, parts = measure({"sealed": Candidate(), "plain": Candidate(seals=False)}, RUNS, "sealed", "plain")
    one = values()
    result = {"events": events, "unit": "events/s", "value_bytes": VALUE_BYTES, "values": one, **parts}
    for part in PARTS:
        print(f"{part}: {parts[part]['ratio_median']:.2f} of the throughput without a state key")
    print(", ".join(f"{name} {number:.1f}" for name, number in one.items()))
    print(f"wrote {save('at_rest', result)}")


if __name__ == "__main__":
    main()

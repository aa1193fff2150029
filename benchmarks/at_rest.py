"""What sealing the states costs: stages beside brokers with and without a state key, and single values in memory. ``make bench-at-rest``.

Runs are interleaved: sealed, plain, sealed, plain. Three things are measured in each run, in fresh topics:

- the time of all events through ingest, profile and feedback together, as in ``bench-pipeline``,
- the time of the same clean events through profile alone, and of them with its recommendations through feedback alone,
- ingest alone, which keeps no state: it shows what the machine varies by.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
import tracemalloc
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import interleave, ratio, save
from benchmarks.pipeline import SETTINGS, STAGES, Records, make_events, publish, records_of, settled
from streams.atrest.partition import PartitionSeal
from streams.atrest.sealed import Place
from streams.privacy.keys import StateKey
from streams.privacy.state_keys import StateKeys
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SHOPPERS = 100_000
VALUE_BYTES = 1500
PARTS = ("pipeline", *STAGES, *(f"{stage}_processor" for stage in STAGES))


class Rounds:
    """Runs of one broker, each in topics of its own. ``found`` has events per second by part, then by name."""

    def __init__(self, folder: Path, broker: ApacheKafka, catalogue: Records, behaviour: Records) -> None:
        self._folder, self._broker, self._catalogue, self._behaviour = folder, broker, catalogue, behaviour
        self.found: dict[str, dict[str, list[float]]] = {part: defaultdict(list) for part in PARTS}

    def run(self, name: str) -> float:
        """Events per second of the whole pipeline; the parts are noted too."""
        self.found["pipeline"][name].append(self._together(name))
        for part, rate in self._alone(name).items():
            self.found[part][name].append(rate)
        return self.found["pipeline"][name][-1]

    def _together(self, name: str) -> float:
        with self._shop(name) as shop:
            shop.start(*STAGES)
            begin = time.monotonic()
            asyncio.run(publish(shop, self._behaviour))
            return len(self._behaviour) / (settled(shop) - begin)

    def _alone(self, name: str) -> dict[str, float]:
        """One stage after another, each with all that the one before wrote."""
        rates = {}
        with self._shop(name) as shop:
            asyncio.run(publish(shop, self._behaviour))
            for stage in STAGES:
                begin = time.monotonic()
                shop.start(stage, ready=False)
                while not shop.is_ready(stage):
                    begin = time.monotonic()
                    time.sleep(0.02)
                shop.drain(stage, timeout=600)
                rates[stage] = len(self._behaviour) / (time.monotonic() - begin)
                # Of its whole life, its start included: what other programs of the machine do is not in it.
                spent = psutil.Process(shop.processes[stage].pid).cpu_times()
                rates[f"{stage}_processor"] = len(self._behaviour) / (spent.user + spent.system)
                assert shop.stop(stage) == {stage: 0}
        return rates

    def _shop(self, name: str) -> Any:
        run_id = f"{name}{uuid.uuid4().hex[:6]}"
        return _prepared(self._folder / run_id, self._broker, f"{run_id}.", self._catalogue, is_sealed=name == "sealed")


class _prepared:
    """A deployment whose catalogue is there, and nothing runs."""

    def __init__(self, folder: Path, broker: ApacheKafka, prefix: str, catalogue: Records, *, is_sealed: bool) -> None:
        self._deployed = deployed(folder, broker.bootstrap_servers, prefix, **SETTINGS)
        self._catalogue, self._is_sealed = catalogue, is_sealed

    def __enter__(self) -> Deployment:
        shop = self._deployed.__enter__()
        if not self._is_sealed:
            (shop.folder / "keys" / "state.key").unlink()
        shop.start("catalogue")
        asyncio.run(publish(shop, self._catalogue))
        shop.drain("catalogue")
        shop.stop("catalogue")
        return shop

    def __exit__(self, *why: Any) -> None:
        self._deployed.__exit__(*why)


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
    catalogue, behaviour = records_of(*make_events())
    with tempfile.TemporaryDirectory() as name:
        broker = ApacheKafka(Path(name) / "kafka")
        broker.start()
        rounds = Rounds(Path(name), broker, catalogue, behaviour)
        try:
            interleave({which: lambda _, which=which: rounds.run(which) for which in ("sealed", "plain")}, RUNS)  # type: ignore[misc]
        finally:
            broker.stop()
    parts = {part: {"runs": dict(found), **ratio(found, "sealed", "plain")} for part, found in rounds.found.items()}
    result = {"events": len(behaviour), "unit": "events/s", "value_bytes": VALUE_BYTES, "values": values(), **parts}
    for part in PARTS:
        print(f"{part}: {parts[part]['ratio_median']:.2f} of the throughput without a state key")
    print(", ".join(f"{name} {number:.1f}" for name, number in values().items()))
    print(f"wrote {save('at_rest', result)}")


if __name__ == "__main__":
    main()

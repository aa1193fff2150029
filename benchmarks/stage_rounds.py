"""Deployments of one broker, run in turn: all stages together, then one stage after another, each in fresh topics."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import interleave, ratio
from benchmarks.pipeline import SETTINGS, STAGES, Records, make_events, publish, records_of, settled
from streams.simulator.shop import Shop
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed

PARTS = ("pipeline", *STAGES, *(f"{stage}_processor" for stage in STAGES))
"""What is measured of each run, events per second: of real time, then of the processor's."""


@dataclass(frozen=True)
class Candidate:
    """``before``: records that are known before the clock starts. Without ``seals`` there is no state key."""

    settings: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Shop], Records] = lambda shop: []
    seals: bool = True


def measure(candidates: Mapping[str, Candidate], runs: int, ours: str, theirs: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many events; and by part the runs of each candidate, and the ratio of two."""
    shop, events = make_events()
    rounds: dict[str, dict[str, list[float]]] = {part: defaultdict(list) for part in PARTS}
    catalogue, behaviour = records_of(shop, events)
    with tempfile.TemporaryDirectory() as name:
        broker = ApacheKafka(Path(name) / "kafka")
        broker.start()

        def run(which: str) -> float:
            candidate = candidates[which]
            first = [*catalogue, *candidate.before(shop)]
            rates = {"pipeline": _together(Path(name), broker, which, candidate, first, behaviour)}
            rates |= _alone(Path(name), broker, which, candidate, first, behaviour)
            for part, rate in rates.items():
                rounds[part][which].append(rate)
            return rates["pipeline"]

        try:
            interleave({which: lambda _, which=which: run(which) for which in candidates}, runs)  # type: ignore[misc]
        finally:
            broker.stop()
    return len(behaviour), {part: {"runs": dict(found), **ratio(found, ours, theirs)} for part, found in rounds.items()}


def _together(folder: Path, broker: ApacheKafka, which: str, candidate: Candidate, first: Records, behaviour: Records) -> float:
    with _shop(folder, broker, which, candidate, first) as shop:
        shop.start(*STAGES)
        begin = time.monotonic()
        asyncio.run(publish(shop, behaviour))
        return len(behaviour) / (settled(shop) - begin)


def _alone(folder: Path, broker: ApacheKafka, which: str, candidate: Candidate, first: Records, behaviour: Records) -> dict[str, float]:
    """One stage after another, each with all that the one before wrote."""
    rates = {}
    with _shop(folder, broker, which, candidate, first) as shop:
        asyncio.run(publish(shop, behaviour))
        for stage in STAGES:
            begin = time.monotonic()
            shop.start(stage, ready=False)
            while not shop.is_ready(stage):
                begin = time.monotonic()
                time.sleep(0.02)
            shop.drain(stage, timeout=600)
            rates[stage] = len(behaviour) / (time.monotonic() - begin)
            # Of its whole life, its start included: what other programs of the machine do is not in it.
            spent = psutil.Process(shop.processes[stage].pid).cpu_times()
            rates[f"{stage}_processor"] = len(behaviour) / (spent.user + spent.system)
            assert shop.stop(stage) == {stage: 0}
    return rates


@contextmanager
def _shop(folder: Path, broker: ApacheKafka, which: str, candidate: Candidate, first: Sequence[Any]) -> Iterator[Deployment]:
    """A deployment that knows the catalogue and what is known before; nothing runs."""
    run_id = f"{which}{uuid.uuid4().hex[:6]}"
    with deployed(folder / run_id, broker.bootstrap_servers, f"{run_id}.", **SETTINGS, **candidate.settings) as shop:
        if not candidate.seals:
            (shop.folder / "keys" / "state.key").unlink()
        shop.start("ingest", "catalogue")
        asyncio.run(publish(shop, list(first)))
        shop.drain("ingest", "catalogue")
        assert shop.stop("ingest", "catalogue") == {"ingest": 0, "catalogue": 0}
        yield shop

"""Every metric that a process serves, as its parts declare it: nothing is listed by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from streams.app import STAGES
from streams.clock import SystemClock
from streams.privacy.keys import generate_keys
from streams.settings import KafkaSettings, Settings
from streams.training.service import TrainerService
from streams.wiring.stages import Bootstrap


class MetricEntry(NamedTuple):
    """One metric."""

    name: str
    """As queries name it; of a histogram without ``_bucket``, ``_sum`` and ``_count``."""
    kind: str
    labels: tuple[str, ...]
    text: str
    processes: tuple[str, ...]
    """Stages, and ``trainer``."""


def metric_entries() -> list[MetricEntry]:
    """By name. Makes each process as it starts, without a model and without brokers, and asks what it serves; takes a second."""
    found: dict[str, MetricEntry] = {}
    for process, registry in _registries().items():
        for entry in _of(registry, process):
            known = found.get(entry.name)
            found[entry.name] = entry if known is None else known._replace(processes=(*known.processes, process))
    return [found[name] for name in sorted(found)]


def _registries() -> Mapping[str, CollectorRegistry]:
    registries = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate_keys(folder / "keys")
        values = {"keys_dir": folder / "keys", "state_dir": folder / "state", "trainer_dir": folder / "trainer", "model": "hashing"}
        settings, kafka = Settings.model_validate(values), KafkaSettings.model_validate({})
        for stage in STAGES:
            root = Bootstrap(settings, kafka)
            root.process(stage)
            registries[stage] = root.registry
        registries["trainer"] = TrainerService(settings, kafka, SystemClock(), _nothing_lacks).registry
    return registries


async def _nothing_lacks() -> None:
    return None


def _of(registry: CollectorRegistry, process: str) -> list[MetricEntry]:
    entries = []
    for collector in dict.fromkeys(registry._names_to_collectors.values()):
        metric: Any = collector  # the library's own type has neither of the two
        for family in metric.describe():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = tuple(metric._labelnames)
            entries.append(MetricEntry(name, family.type, labels, family.documentation, (process,)))
    return entries

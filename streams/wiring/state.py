"""How the state of each stage lies on disk and in its changelog: sealed, where there is a state key."""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import CollectorRegistry

from streams.access.rights import data_keys_of
from streams.app import STAGES
from streams.atrest.metrics import AtRestMetrics
from streams.atrest.table import PlainTable, SealedTable, SealRules
from streams.engine.parts import KeepsState
from streams.engine.state import ChangelogWriter, Store, Table
from streams.errors import ConfigurationError
from streams.privacy.key_folder import key_folder
from streams.privacy.state_keys import CURRENT, StateKeys, load_state_keys
from streams.settings import Settings

log = logging.getLogger(__name__)


def state_keys(settings: Settings) -> StateKeys | None:
    """None where nothing is sealed. Raises ConfigurationError where the settings demand a key and there is none."""
    keys = load_state_keys(key_folder(settings))
    if keys is None and settings.seal_state != "auto":
        raise ConfigurationError(
            f"{settings.keys_dir / CURRENT} is missing, and VEILSTREAM_SEAL_STATE={settings.seal_state} needs it; "
            "add it with `veilstream keys generate --only state`, or copy it from where the workers have theirs"
        )
    return keys


def state_of(stage: str, settings: Settings, registry: CollectorRegistry) -> KeepsState | None:
    """Of a stage; None for one that keeps nothing to be sealed. Raises as ``state_keys``."""
    spec = STAGES[stage]
    if spec.table is None or spec.seals == "nothing":
        return None
    keys = state_keys(settings)
    if keys is None:
        log.warning(
            "%s: its state is not sealed: %s is missing. Whoever reads its disk or changelog reads what shoppers do; see docs/at-rest.md",
            stage,
            settings.keys_dir / CURRENT,
        )
        return _Plain()
    rules = SealRules(
        keys,
        data_keys_of(stage, settings),
        accepts_plain=settings.seal_state == "migrate",
        moves_per_step=settings.reseal_per_s,
    )
    return _Sealed(rules, AtRestMetrics(registry, stage))


class _Sealed:
    def __init__(self, rules: SealRules, metrics: AtRestMetrics) -> None:
        self._rules = rules
        self._metrics = metrics

    @property
    def topic(self) -> str | None:
        return self._rules.keys_topic

    def table(self, store: Store, changelog: str, writer: ChangelogWriter, name: str, topics: Any) -> Table:
        return SealedTable(store, changelog, writer, name, rules=self._rules, key_log=topics, metrics=self._metrics)


class _Plain:
    topic = None

    def table(self, store: Store, changelog: str, writer: ChangelogWriter, name: str, topics: Any) -> Table:
        return PlainTable(store, changelog, writer, name)

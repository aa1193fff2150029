"""All settings, as environment variables ``VEILSTREAM_<NAME>`` (Kafka's own ones as ``KAFKA_<NAME>``).

``veilstream settings`` prints this list with defaults and meanings. A secret is never a setting. Instead, a setting names the file that
holds the secret.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.errors import ConfigurationError
from streams.settings.console import ConsoleSettings
from streams.settings.deployment import DeploymentSettings
from streams.settings.ingest import IngestSettings
from streams.settings.kafka import KafkaSettings
from streams.settings.models import ModelSettings
from streams.settings.profile import ProfileSettings
from streams.settings.trainer import TrainerSettings

__all__ = ["KafkaSettings", "Settings", "load_kafka_settings", "load_settings", "unknown_settings"]

log = logging.getLogger(__name__)

_PREFIX = "VEILSTREAM_"
_OF_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
"""Kubernetes sets such variables for a service whose name begins with ``veilstream``; this is the part after the prefix."""


# The fields of the last base come first.
class Settings(ConsoleSettings, TrainerSettings, ProfileSettings, ModelSettings, IngestSettings, DeploymentSettings):
    """The product's settings (environment prefix ``VEILSTREAM_``)."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True, protected_namespaces=())


S = TypeVar("S", bound=BaseSettings)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Unknown variables with the product's prefix are named in the log. Raises ConfigurationError that names the wrong variable.
    """
    for warning in unknown_settings(os.environ):
        log.warning(warning)
    return _load(Settings)


def unknown_settings(names: Iterable[str]) -> list[str]:
    """One line for each environment variable that has the product's prefix and is not a setting.

    >>> unknown_settings(["VEILSTREAM_TRESHOLD", "VEILSTREAM_SERVICE_HOST", "PATH"])
    ['VEILSTREAM_TRESHOLD is not a setting and has no effect; did you mean VEILSTREAM_THRESHOLD?']
    """
    known = [name.upper() for name in Settings.model_fields]
    lines = []
    for variable in sorted(names):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        nearest = get_close_matches(name, known, n=1)
        hint = f"did you mean {_PREFIX}{nearest[0]}?" if nearest else "see `veilstream settings`"
        lines.append(f"{variable} is not a setting and has no effect; {hint}")
    return lines


def load_kafka_settings() -> KafkaSettings:
    """Read the Kafka settings from the environment. Raises ConfigurationError that names the wrong variable."""
    return _load(KafkaSettings)


def _load(cls: type[S]) -> S:
    try:
        return cls()
    except ValidationError as error:
        prefix = str(cls.model_config.get("env_prefix", ""))
        problems = "; ".join(f"{prefix}{'_'.join(str(part) for part in e['loc'])}".upper() + f": {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"wrong setting: {problems} (see `veilstream settings`)") from None

"""The product's rules, with what a test changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streams.ranking.rules import ProfileRules
from streams.settings import Settings


def profile_rules(**changes: Any) -> ProfileRules:
    """As the settings' defaults say, but for ``changes``."""
    return replace(ProfileRules.from_settings(Settings()), **changes)

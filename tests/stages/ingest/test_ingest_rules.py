"""The rules come from settings; wrong codes are named."""

from __future__ import annotations

import pytest

from streams.errors import ConfigurationError
from streams.settings import Settings
from streams.stages.ingest.rules import IngestRules


def test_units() -> None:
    rules = IngestRules.from_settings(Settings(time_bucket_s=60, max_future_s=300, max_age_days=1.5, default_region="DE"))
    assert (rules.time_bucket_ms, rules.max_future_ms, rules.max_age_ms) == (60_000, 300_000, 129_600_000)
    assert rules.default_region == "DE"
    assert (rules.k, rules.k_window_ms, rules.time_step_ms) == (5, 3_600_000, 300_000)
    assert IngestRules.from_settings(Settings(k=1)).time_step_ms == 60_000


@pytest.mark.parametrize(
    ("field", "value", "variable"),
    [
        ("default_currency", "XXX", "VEILSTREAM_DEFAULT_CURRENCY"),
        ("default_currency", "eur", "VEILSTREAM_DEFAULT_CURRENCY"),
        ("default_region", "DEU", "VEILSTREAM_DEFAULT_REGION"),
        ("default_region", "", "VEILSTREAM_DEFAULT_REGION"),
    ],
)
def test_wrong_codes(field: str, value: str, variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        IngestRules.from_settings(Settings(**{field: value}))

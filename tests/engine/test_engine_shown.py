"""What is told of lists: scores, thresholds, why there was none, how even the places are."""

from __future__ import annotations

from math import isnan

from prometheus_client import CollectorRegistry

from streams.engine.records import Shown
from streams.engine.shown import Exposure, ShownMetrics


def test_what_a_batch_showed_is_told() -> None:
    registry, now = CollectorRegistry(), [0.0]
    metrics = ShownMetrics(registry, lambda: now[0])
    assert isnan(registry.get_sample_value("veilstream_exposure_top_share") or 0.0)
    metrics.count(Shown([["a", "b"], ["a"]], [0.45, 0.95], {"v1": 0.4}, {"debounced": 3, "nothing_fits": 1}))
    value = registry.get_sample_value
    assert value("veilstream_recommendation_score_bucket", {"le": "0.5"}) == 1
    assert value("veilstream_recommendation_score_count") == 2
    assert value("veilstream_recommendation_threshold", {"model_version": "v1"}) == 0.4
    assert value("veilstream_recommendations_suppressed_total", {"reason": "debounced"}) == 3
    assert value("veilstream_exposed_items") == 2
    assert value("veilstream_exposure_top_share") == 2 / 3


def test_exposure_is_of_the_last_half_hour_to_hour() -> None:
    now = [0.0]
    exposure = Exposure(lambda: now[0])
    exposure.add([[f"i{n}"] for n in range(200)])
    exposure.add([["i0"]] * 98)
    assert exposure.items() == 200 and exposure.top_share() == (99 + 1) / 298, "two items are the hundredth"
    now[0] = 1800
    exposure.add([["new"]])
    assert exposure.items() == 201
    now[0] = 3600
    assert exposure.items() == 1
    now[0] = 10_000
    assert exposure.items() == 0 and isnan(exposure.top_share())

"""What workers tell becomes rates and quantiles; what is no metric of theirs is refused or left out."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from streams.console import samples
from streams.console.samples import MOST_SAMPLES, Readings, parse, quantile_of


def test_the_examples_hold() -> None:
    assert doctest.testmod(samples).failed == 0


class Worker:
    """A process with some metrics of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter("veilstream_records_total", "n", ["stage"], registry=self.registry)
        self.seconds = Histogram("veilstream_handler_seconds", "n", ["stage"], registry=self.registry, buckets=(0.1, 1.0, 10.0))
        self.age = Gauge("veilstream_age_seconds", "n", registry=self.registry)
        Gauge("other_thing", "n", registry=self.registry).set(5)

    def told(self, at_s: float) -> samples.Scrape:
        return parse(generate_latest(self.registry).decode(), at_s)


def test_a_rate_is_the_sum_over_all_workers() -> None:
    readings, workers = Readings(), {"a": Worker(), "b": Worker()}
    for at_s, count in ((0.0, 0), (10.0, 50)):
        for name, worker in workers.items():
            worker.records.labels("ingest").inc(count)
            readings.take(name, worker.told(at_s))
    assert readings.rate("veilstream_records_total", stage="ingest") == 10.0
    assert readings.rate("veilstream_records_total", stage="profile") is None, "nobody runs it"
    assert readings.rate("veilstream_no_such_total") is None
    assert readings.by("stage", "veilstream_records_total") == {"ingest": 100.0}
    readings.lost("b")
    assert readings.rate("veilstream_records_total", stage="ingest") == 5.0


def test_a_counter_that_has_counted_nothing_yet_stands_still() -> None:
    readings, worker = Readings(), Worker()
    for at_s in (0.0, 10.0):
        readings.take("a", worker.told(at_s))
    assert readings.rate("veilstream_records_total") == 0.0


def test_a_restarted_worker_has_no_negative_rate() -> None:
    readings, before, after = Readings(), Worker(), Worker()
    before.records.labels("ingest").inc(1_000)
    after.records.labels("ingest").inc(20)
    readings.take("a", before.told(0.0))
    readings.take("a", after.told(10.0))
    assert readings.rate("veilstream_records_total", stage="ingest") == 2.0


def test_one_answer_gives_no_rate() -> None:
    readings, worker = Readings(), Worker()
    worker.records.labels("ingest").inc(1_000)
    readings.take("a", worker.told(0.0))
    assert readings.rate("veilstream_records_total", stage="ingest") is None
    assert readings.quantile(0.5, "veilstream_handler_seconds", stage="ingest") is None


def test_quantiles_are_of_the_window_only() -> None:
    readings, worker = Readings(), Worker()
    own = worker.seconds.labels("ingest")
    own.observe(9.0)
    readings.take("a", worker.told(0.0))
    for _ in range(10):
        own.observe(0.05)
    readings.take("a", worker.told(10.0))
    assert readings.quantile(0.5, "veilstream_handler_seconds", stage="ingest") == pytest.approx(0.05)
    assert readings.quantile(0.5, "veilstream_write_seconds", stage="ingest") is None


def test_a_value_that_a_worker_does_not_know_is_left_out() -> None:
    readings, worker, other = Readings(), Worker(), Worker()
    worker.age.set(math.nan)
    readings.take("a", worker.told(0.0))
    assert readings.largest("veilstream_age_seconds") is None and readings.total("veilstream_age_seconds") is None
    other.age.set(3)
    readings.take("b", other.told(0.0))
    assert readings.largest("veilstream_age_seconds") == readings.total("veilstream_age_seconds") == 3.0


def test_metrics_of_others_are_left_out() -> None:
    scrape = Worker().told(0.0)
    assert "veilstream_records" in scrape.families and "other_thing" not in scrape.families
    assert not [name for name in scrape.values if name.endswith("_created")]


def test_what_is_too_much_or_no_metrics_is_refused() -> None:
    endless = "# TYPE veilstream_x gauge\n" + "".join(f'veilstream_x{{a="{n}"}} 1\n' for n in range(MOST_SAMPLES + 1))
    with pytest.raises(ValueError, match="more than"):
        parse(endless, 0.0)
    with pytest.raises(ValueError):
        parse("<html>not found</html>", 0.0)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_its_observation(observed: list[float], q: float) -> None:
    bounds = [0.1, 1.0, 10.0, 100.0, math.inf]
    found = quantile_of(q, [(bound, float(sum(value <= bound for value in observed))) for bound in bounds])
    exact = sorted(observed)[math.ceil(q * len(observed)) - 1]
    place = next(place for place, bound in enumerate(bounds) if exact <= bound)
    low = bounds[place - 1] if place else 0.0
    assert found is not None and low <= found <= min(bounds[place], 100.0) + 1e-9


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        scrape = parse(text, 0.0)
    except (ValueError, KeyError, IndexError):
        return  # as the scraper takes it
    assert all(name.startswith("veilstream_") for name in scrape.families)

"""Records and samples become the view: nothing of a shopper's identity is in it, and what is hostile is only text."""

from __future__ import annotations

import doctest
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from streams.console import addresses, flow, language, models, rounds, texts
from streams.console import server as serving
from streams.console.flow import FlowHistory, flow_view
from streams.console.letters import Letters
from streams.console.models import Announced, models_view, wilson
from streams.console.notices import CODES, notices
from streams.console.privacy import MeasuredCrowds, privacy_view
from streams.console.recommendations import KEPT, Latest, Titles
from streams.console.rounds import Rounds
from streams.console.samples import Readings, parse
from streams.console.view import Audit
from streams.console.workers import workers_view
from streams.engine.ingest_metrics import IngestMetrics
from streams.engine.metrics import StageMetrics
from streams.engine.records import OutputRecord
from streams.models.hotswap.metrics import ModelMetrics
from streams.topics import FEEDBACK
from tests.support.console_pages import control, letter, recommendation, worker_registry

RIGHT = Audit("right", 1, 5, 2, {}, 0)


@pytest.mark.parametrize("module", [addresses, flow, language, models, rounds, texts, serving])
def test_the_examples_hold(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def readings_of(*registries: CollectorRegistry) -> Readings:
    readings = Readings()
    for place, registry in enumerate(registries):
        readings.take(str(place), parse(generate_latest(registry).decode(), 0.0))
    return readings


# --- recommendations


def test_no_pseudonym_and_no_sealed_id_reaches_the_view() -> None:
    latest, titles = Latest(b"k" * 32), Titles()
    latest.take("0/1", 5, recommendation())
    shown = orjson.dumps(latest.view(titles.get)).decode()
    assert "secret" not in shown and "k1." not in shown


def test_tags_are_those_of_one_run_only() -> None:
    first, again, other = (Latest(key * 32) for key in (b"a", b"a", b"b"))
    for latest in (first, again, other):
        latest.take("0/1", 5, recommendation(pseudonym="anna"))
        latest.take("0/2", 6, recommendation(pseudonym="bert"))
    tags = [[one.shopper for one in latest.view(Titles().get)] for latest in (first, again, other)]
    assert tags[0] == tags[1] and tags[0][0] != tags[0][1] and not set(tags[0]) & set(tags[2])


def test_the_newest_are_kept_and_come_first() -> None:
    latest = Latest(b"k")
    for number in range(3 * KEPT):
        latest.take(f"0/{number}", number, recommendation())
    assert [one.key for one in latest.view(Titles().get)] == [f"0/{number}" for number in reversed(range(2 * KEPT, 3 * KEPT))]


def test_titles_are_shown_where_they_are_known() -> None:
    latest, titles = Latest(b"k"), Titles(most=2)
    for item_id in ("gone", "one", "two"):
        titles.put(item_id, f"Title of {item_id}")
    latest.take("0/1", 5, recommendation("one"))
    latest.take("0/0", 4, recommendation("gone"))
    known, unknown = latest.view(titles.get)
    assert (known.items[0].title, known.items[0].reasons[0].title) == ("Title of one", "Title of one")
    assert (unknown.items[0].title, unknown.items[0].reasons[0].title) == (None, "gone")
    assert len(titles) == 2


@given(st.text(max_size=300))
def test_any_title_becomes_one_visible_line(title: str) -> None:
    titles = Titles()
    titles.put("x", title)
    shown = titles.get("x") or ""
    assert len(shown) <= 120 and not any(letter in shown for letter in "\u202e\u2066\u200b\x1b\r\n\u2028")


@given(st.lists(st.floats(-2, 2), max_size=4), st.floats(-3, 3))
def test_the_parts_of_an_item_add_up_to_its_score(shares: list[float], score: float) -> None:
    record = recommendation()
    parts = [{"kind": "item", "item_id": "x", "event_type": "view", "share": share} for share in shares]
    record["items"] = [{**record["items"][0], "score": score, "reasons": parts}]
    latest = Latest(b"k")
    latest.take("0/1", 5, record)
    (item,) = latest.view(Titles().get)[0].items
    assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=0.006)


# --- models


@given(st.integers(0, 5_000), st.integers(1, 5_000))
def test_an_interval_holds_its_share(hits: int, of: int) -> None:
    found = wilson(min(hits, of), of)
    assert found is not None and 0 <= found.low <= found.share <= found.high <= 1


def test_click_through_is_of_what_was_seen() -> None:
    registry = CollectorRegistry()
    metrics = StageMetrics(registry, "feedback")
    outcomes = ["purchase"] + ["click"] * 3 + ["shown"] * 16 + ["ignored"] * 100
    counts = tuple((outcome, "behaviour", "v1") for outcome in outcomes)
    metrics.on_written([OutputRecord(FEEDBACK, b"k", b"v", b"i", counts=counts)])
    workers = CollectorRegistry()
    ModelMetrics(workers).serves({"stable": "v1"})
    (version,) = models_view(readings_of(registry, workers), Announced()).versions
    assert (version.seen, version.clicks, version.purchases, version.items) == (20, 4, 1, 120)
    assert version.click_through is not None and version.click_through.share == 0.2
    assert version.channels == ["stable"]


def announcement(channel: str, version: str, counter: int, **changes: Any) -> dict[str, Any]:
    base = {"channel": channel, "model_version": version, "counter": counter, "announced_at": counter, "metrics": {"hit": 0.5}}
    return {**base, "canary_share": 0.0, "reason": "better", "withdrawn": False, **changes}


def test_channels_serve_their_newest_announcement() -> None:
    announced = Announced()
    announced.take(announcement("stable", "v2", 2), is_verified=True)
    announced.take(announcement("stable", "v1", 1), is_verified=True)
    announced.take(announcement("canary", "v3", 1, canary_share=0.1), is_verified=False)
    stable, canary = announced.channels()
    assert (stable.version, stable.share, stable.is_verified) == ("v2", 0.9, True)
    assert (canary.version, canary.share, canary.is_verified) == ("v3", 0.1, False)
    announced.take(announcement("canary", "v3", 2, withdrawn=True), is_verified=True)
    assert [channel.share for channel in announced.channels()] == [1.0]


# --- dead letters


def test_letters_are_counted_by_reason_and_source() -> None:
    letters = Letters()
    for number, reason in enumerate(["bad_time", "bad_time", "empty"]):
        letters.take(letter(reason, rejected_at=number, detail=f"detail {number}"))
    letters.take(letter("bad_time", source_topic="raw.web"))
    rows = letters.view(Readings()).rows
    assert next((row.reason, row.topic, row.count) for row in rows) == ("bad_time", "behaviour.raw", 2)
    assert rows[0].detail == "detail 1" and len(rows) == 3
    assert b"secret" not in orjson.dumps(letters.view(Readings()))


def test_made_up_reasons_take_no_memory_without_end() -> None:
    letters = Letters()
    for number in range(1_000):
        letters.take(letter(f"made up {number}"))
    assert len(letters.view(Readings()).rows) == 200 and letters.seen == 1_000


# --- training


def test_a_round_has_its_steps_and_its_curve() -> None:
    taken = Rounds()
    taken.take(control("ab" * 16, "requested", 1, reason="enough"))
    taken.take(control("ab" * 16, "started", 2, reason=""))
    assert taken.running == "ab" * 16
    registry = worker_registry("trainer")
    for step in (10, 20):
        text = generate_latest(registry).decode()
        for name, value in {"training": 1, "step": step, "loss": 2.0 - step / 20}.items():
            text = text.replace(f"\nveilstream_trainer_{name} 0.0", f"\nveilstream_trainer_{name} {value}")
        readings = Readings()
        readings.take("trainer", parse(text, 0.0))
        taken.watch(readings)
    taken.take(control("ab" * 16, "finished", 9, verdict="promoted", model_version="v2"))
    (one,) = taken.view(readings, lambda name: {}).rounds
    assert one.loss == [(10, 1.5), (20, 1.0)] and one.validation == []
    assert (one.requested_at, one.started_at, one.ended_at, one.version, one.state) == (1, 2, 9, "v2", "finished")
    kept = taken.view(readings, lambda name: {"loss": [(float(n), 0.0) for n in range(1_000)]}).rounds[0].loss
    assert len(kept) == 240 and (kept[0][0], kept[-1][0]) == (0, 999)


def test_a_name_that_is_no_id_is_no_folder() -> None:
    taken = Rounds()
    taken.take(control("../../etc", "finished", 1))
    taken.take(control("ab" * 16, "failed", 2))
    assert taken.shown() == {"ab" * 16: True}


# --- privacy


def test_privacy_tells_shares_and_decisions_once() -> None:
    registries = [worker_registry("ingest"), worker_registry("ingest"), worker_registry("trainer")]
    ingest = CollectorRegistry()
    metrics = IngestMetrics(ingest)
    metrics.read("none", 200)
    metrics.kept_back({"price_widened": 30})
    view = privacy_view(5, readings_of(*registries, ingest), [], RIGHT)
    assert [(one.flag, one.share) for one in view.widened] == [("price_widened", 0.15)]
    # Each worker of ingest knows all decisions.
    assert [(one.purpose, one.allowed, one.refused) for one in view.consents] == [("training", 3, 1)]
    assert (view.erasures_open, view.oldest_s) == (2.0, 90_000.0)


def test_what_was_measured_is_the_newest_of_operators() -> None:
    crowds = MeasuredCrowds()
    link = {"action": "k", "stage": "operators", "occurred_at": 9, "details": {"attribute": "price", "k": "5", "least": "7", "below": "0"}}
    crowds.take(link)
    crowds.take({**link, "stage": "profile", "details": {**link["details"], "least": "1"}})  # type: ignore[dict-item]
    crowds.take({**link, "details": {"attribute": "price", "k": "five"}})
    (one,) = crowds.all()
    assert (one.attribute, one.k, one.least, one.at) == ("price", 5, 7, 9)


# --- what wants somebody


def found(readings: Readings, asked: dict[str, str | None], **more: Any) -> dict[str, str]:
    workers = workers_view(asked, readings)
    stages = flow_view(readings, workers, FlowHistory())
    taken = more.get("rounds", Rounds())
    training = taken.view(readings, lambda name: {})
    privacy = privacy_view(5, readings, [], more.get("audit", RIGHT))
    letters = Letters().view(readings)
    told = notices(more.get("problems", {}), workers, stages, letters.sources, training, privacy, readings)
    assert {notice.code for notice in told} <= set(CODES)
    return {notice.code: notice.severity for notice in told}


def test_a_shop_without_a_fault_tells_nothing() -> None:
    registries = [worker_registry(stage) for stage in ("ingest", "catalogue", "profile", "feedback", "learning")]
    trainer = CollectorRegistry()
    from streams.training.metrics import TrainerMetrics

    TrainerMetrics(trainer).watch_erasures(lambda: 0.0, lambda: 0.0)
    readings = readings_of(*registries, trainer)
    assert found(readings, {str(place): None for place in range(6)}) == {}


def test_each_fault_is_told_with_the_worst_first() -> None:
    ingest = worker_registry("ingest")
    bad = CollectorRegistry()
    stage = StageMetrics(bad, "ingest")
    stage.ready.set(1)
    stage.behind("behaviour.raw", 0, 100.0)
    stage.retrying(0, 100.0)
    stage.lost_to_retention("behaviour.raw", 0, 4)
    stage.foreign_busy.set(1)
    source = CollectorRegistry()
    metrics = IngestMetrics(source)
    metrics.read("web", 1_000)
    for _ in range(60):
        metrics.refused("web", "bad_time", 1)
    StageMetrics(unready := CollectorRegistry(), "catalogue")
    StageMetrics(recovering := CollectorRegistry(), "feedback").recovery_left.set(7)
    model = CollectorRegistry()
    ModelMetrics(model).refused("hash")
    failed = Rounds()
    failed.take(control("ab" * 16, "failed", 1, reason="the disk is full"))
    readings = readings_of(ingest, bad, source, model, worker_registry("trainer"), CollectorRegistry(), unready, recovering)
    asked: dict[str, str | None] = {str(place): None for place in range(8)} | {"9": "connection refused"}
    told = found(readings, asked, rounds=failed, audit=Audit("wrong", 1, 5, 2, {"removed": 1}, 0), problems={"models": "may not Read"})
    assert set(told) >= {*CODES} - {"drift", "audit_keys"}, set(CODES) - set(told)
    severities = list(told.values())
    assert severities == sorted(severities), "bad before warn"
    assert "audit_keys" in found(readings, asked, audit=Audit("keys", None, 0, 0, {}, 0))

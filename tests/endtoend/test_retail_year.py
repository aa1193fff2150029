"""A year of real purchases through Apache Kafka and all stages, with the model as it ships."""

from __future__ import annotations

import csv
import gzip
from collections import Counter, OrderedDict, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from streams import topics
from streams.serde.codec import local_codecs
from streams.settings import Settings
from tests.support.deployment import STAGE_ORDER, Deployment

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1500)]

DAY_MS = 86_400_000
FIRST = 12_000
"""Lines of the file, where not the whole of it is used."""
CODECS = local_codecs()


def decoded(deployment: Deployment, topic: str) -> list[tuple[int, int, dict[str, Any]]]:
    codec = CODECS.for_topic(topic)
    return [(r.partition, r.offset, codec.decode(r.value)) for r in deployment.read(topic) if r.value is not None]


def first_events(retail: Path, folder: Path) -> Path:
    shorter = folder / "events.csv.gz"
    with gzip.open(retail / "events.csv.gz", "rt", encoding="utf-8") as file, gzip.open(shorter, "wt", encoding="utf-8") as short:
        short.writelines(islice(file, FIRST))
    return shorter


def test_every_event_once_and_every_recommendation_allowed(deployment: Deployment, retail: Path, is_long: bool) -> None:
    """The whole year with ``LONG=1``, else its first weeks."""
    events = retail / "events.csv.gz" if is_long else first_events(retail, deployment.folder)
    deployment.settings = {"VEILSTREAM_IDLE_CLOSE_S": "2"}
    deployment.start()
    deployment.command("replay", "--items", str(retail / "items.csv.gz"))
    deployment.drain("catalogue")
    deployment.command("replay", "--events", str(events), timeout=900)
    deployment.drain(timeout=1200)
    assert deployment.stop() == dict.fromkeys(STAGE_ORDER, 0)

    with gzip.open(events, "rt", encoding="utf-8") as file:
        sent = sum(1 for _ in csv.DictReader(file))
    with gzip.open(retail / "items.csv.gz", "rt", encoding="utf-8") as file:
        catalogue = {row["item"] for row in csv.DictReader(file)}
    clean = decoded(deployment, topics.BEHAVIOUR_CLEAN)
    assert deployment.read(topics.DEAD_LETTER) == []
    assert len(clean) == sent == len({event["event_id"] for _, _, event in clean})

    check_popularity(deployment, clean)
    check_recommendations(deployment, clean, catalogue, least=5_000 if is_long else 200)


def check_popularity(deployment: Deployment, clean: list[tuple[int, int, dict[str, Any]]]) -> None:
    """The decayed counts are exactly what each purchase, counted once, gives: of a shopper who buys an item again, what is missing to a
    whole one; of her many purchases in a day, the first; of her first items, a share."""
    half_life_ms, most = Settings().popularity_half_life_days * DAY_MS, Settings().popularity_events_a_day
    newest: dict[tuple[int, str], dict[str, Any]] = {}
    for partition, _, value in decoded(deployment, topics.ITEMS_POPULARITY):
        newest[(partition, value["item_id"])] = value
    expected: defaultdict[tuple[int, str], float] = defaultdict(float)
    bought: defaultdict[str, OrderedDict[str, int]] = defaultdict(OrderedDict)
    a_day: Counter[tuple[str, int]] = Counter()
    for partition, _, event in sorted(clean, key=lambda row: (row[0], row[1])):
        if event["event_type"] != "purchase":
            continue
        item, at, own, day = event["item_id"], event["occurred_at"], bought[event["pseudonym"]], event["occurred_at"] // DAY_MS
        before = own.get(item, next(iter(own.values())) if len(own) >= most else None)
        added = 1.0 if before is None else 1.0 - 2.0 ** ((before - at) / half_life_ms)
        if added <= 0 or a_day[event["pseudonym"], day] >= most:
            continue
        a_day[event["pseudonym"], day] += 1
        own[item] = max(at, own.pop(item, at))
        if len(own) > most:
            own.popitem(last=False)
        share = min(1.0, 0.02 + 0.98 * (len(own) - 1) / (Settings().popularity_breadth - 1))
        expected[partition, item] += share * added * 2.0 ** ((at - newest[partition, item]["as_of"]) / half_life_ms)
    assert expected.keys() == newest.keys()
    for key, count in expected.items():
        assert newest[key]["count"] == pytest.approx(count, rel=1e-6), "an event was counted twice or not at all"


def check_recommendations(deployment: Deployment, clean: list[tuple[int, int, dict[str, Any]]], catalogue: set[str], least: int) -> None:
    settings = Settings()
    recommendations = decoded(deployment, topics.RECOMMENDATIONS)
    assert len(recommendations) > least
    assert max(Counter(r["recommendation_id"] for _, _, r in recommendations).values()) == 1
    history: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for _, offset, event in sorted(clean, key=lambda row: (row[0], row[1])):
        history[event["pseudonym"]].append((offset, event))
    last: dict[str, dict[str, int]] = defaultdict(dict)
    for _, _, recommendation in recommendations:
        at_ms = recommendation["created_at"]
        before = [event for offset, event in history[recommendation["pseudonym"]] if offset <= recommendation["source_offset"]]
        trigger = before[-1]
        assert trigger["event_id"] == recommendation["trigger_event_id"]
        bought = {
            e["item_id"]
            for e in before[-400:]
            if e["event_type"] == "purchase" and at_ms - e["occurred_at"] < settings.bought_cooldown_days * DAY_MS
        }
        shown = last[recommendation["pseudonym"]]
        scores = [item["score"] for item in recommendation["items"]]
        assert 1 <= len(recommendation["items"]) <= settings.top_k
        assert scores == sorted(scores, reverse=True)
        for item in recommendation["items"]:
            assert item["item_id"] in catalogue
            assert item["score"] > recommendation["threshold"] == settings.threshold
            assert item["score"] == pytest.approx(sum(item[part] for part in ("cosine", "prior", "together", "match")), abs=1e-5)
            assert item["item_id"] not in bought
            assert item["item_id"] != trigger["item_id"]
            assert at_ms - shown.get(item["item_id"], -(10**15)) >= settings.recommended_cooldown_s * 1000
        shown.update({item["item_id"]: at_ms for item in recommendation["items"]})

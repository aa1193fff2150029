"""Every logged feature of a running shop is rebuilt from its topics: two workers, one of them killed, a changing catalogue, and a version
that takes over from another."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from streams.models.registry.ranker_file import write_ranker
from streams.ranking.learned.related import RelatedItems
from streams.ranking.together_table import Neighbours
from streams.serde.codec import local_codecs
from streams.topics import RANKING_FEATURES, RECOMMENDATIONS
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.learned_shop import additive_ranker
from tests.support.model_folders import WORDS, write_tiny_bert
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
ITEMS = 150
EVENTS = 600


def titles(rng: np.random.Generator, numbers: range) -> str:
    known = WORDS[5:]
    rows = [f"i{n},{' '.join(rng.choice(known, 3))},c{n % 4},{3 + n % 40}" for n in numbers]
    return "item,title,category,price\n" + "\n".join(rows) + "\n"


def events(rng: np.random.Generator, first: int, count: int) -> str:
    kinds = ["view", "click", "cart", "purchase", "purchase", "dismiss", "search"]
    rows = []
    for number in range(first, first + count):
        kind = str(rng.choice(kinds))
        item = "" if kind == "search" else f"i{rng.integers(15 if kind == 'purchase' else ITEMS)}"
        query = " ".join(rng.choice(WORDS[5:], 2)) if kind == "search" else ""
        minutes = number // 6
        rows.append(
            f"2024-05-{1 + minutes // 1440:02}T{minutes // 60 % 24:02}:{minutes % 60:02}:00Z,u{rng.integers(40)},{kind},{item},{query}"
        )
    return "ts,user,event_type,item,query\n" + "\n".join(rows) + "\n"


def model(folder: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    names = [f"i{n}" for n in range(0, ITEMS, 2)]
    starts = np.arange(0, 4 * len(names) + 1, 4)
    others = rng.integers(0, len(names), 4 * len(names))
    related = RelatedItems(names, Neighbours(starts, others, rng.normal(0.1, 0.2, len(others)).astype(np.float32)))
    write_tiny_bert(folder, seed=seed)
    write_ranker(folder, additive_ranker(seed, related))
    return folder


def replay(shop: Deployment, kind: str, name: str, text: str) -> None:
    (shop.folder / name).write_text(text)
    shop.command("replay", kind, str(shop.folder / name), "--as-fast-as-possible")


def logs_of(shop: Deployment) -> list[dict[str, object]]:
    decode = local_codecs().for_topic(RANKING_FEATURES).decode
    return [decode(record.value, record.headers) for record in shop.read(RANKING_FEATURES)]


def test_logged_and_rebuilt_features_agree(kafka: ApacheKafka, tmp_path: Path) -> None:
    settings = {
        "VEILSTREAM_MODEL": str(model(tmp_path / "a", 1)),
        "VEILSTREAM_MODELS": str(tmp_path / "store"),
        "VEILSTREAM_PRECISION": "fp32",
        "VEILSTREAM_PARTITIONS": "3",
        "VEILSTREAM_THRESHOLD": "-50",
        "VEILSTREAM_FEATURE_LOG_SHARE": "0.5",
        "VEILSTREAM_TOGETHER_SHOPPERS": "2",
        "OMP_NUM_THREADS": "1",
    }
    rng = np.random.default_rng(3)
    with deployed(tmp_path / "shop", kafka.bootstrap_servers, "features.", **settings) as shop:
        a = shop.command("models", "add", str(tmp_path / "a")).stdout.split()[1]
        b = shop.command("models", "add", str(model(tmp_path / "b", 2)), "--parent", a).stdout.split()[1]
        replay(shop, "--items", "items.csv", titles(rng, range(ITEMS)))
        shop.start("ingest", "catalogue", "profile", "profile-2")
        shop.drain("catalogue")
        replay(shop, "--events", "e1.csv", events(rng, 0, EVENTS))
        shop.drain("ingest", "profile")
        replay(shop, "--items", "i2.csv", titles(rng, range(0, ITEMS + 30, 4)))
        replay(shop, "--events", "e2.csv", events(rng, EVENTS, EVENTS))
        shop.kill("profile-2")
        shop.command("models", "promote", b)
        wait_until(lambda: bool(re.search(rf"stable serves {b}", shop.log("profile").read_text())), lambda: "", seconds=60, every_s=0.2)
        replay(shop, "--events", "e3.csv", events(rng, 2 * EVENTS, EVENTS))
        shop.drain("ingest", "profile")
        done = shop.command("features", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.match(r"(\d+) logs: (\d+) agree, 0 differ, 0 can't be told", done.stdout)
        assert found is not None and found[1] == found[2], done.stdout
        logs = logs_of(shop)
        decode = local_codecs().for_topic(RECOMMENDATIONS).decode
        made = {value["recommendation_id"] for r in shop.read(RECOMMENDATIONS) for value in [decode(r.value, r.headers)]}
        answered = {log["recommendation_id"] for log in logs} - {None}
        assert len(logs) == int(found[1]) == len({str(log["log_id"]) for log in logs}) > EVENTS
        assert answered <= made and 0.3 * len(made) < len(answered) < 0.7 * len(made)
        assert {log["model_version"] for log in logs} == {a, b}
        assert {log["policy"] for log in logs} == {"behaviour", "search", "none"}
        # With other rules the same logs differ, and the command says so.
        shop.settings = {**settings, "VEILSTREAM_HALF_LIFE_DAYS": "0.01", "VEILSTREAM_POPULARITY_HALF_LIFE_DAYS": "9"}
        other = shop.command("features", "check", check=False)
        assert other.returncode == 1 and "differs: popularity_5" in other.stdout, other.stdout

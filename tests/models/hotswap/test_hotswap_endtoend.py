"""A model is promoted and rolled back while events flow: every event is answered once, by one version after the other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.broker.embedded import EmbeddedBroker
from streams.serde import local_codecs
from streams.topics import BEHAVIOUR_CLEAN, BEHAVIOUR_RAW, ITEMS_VECTORS, RECOMMENDATIONS
from tests.support.deployment import Deployment, deployed
from tests.support.model_folders import WORDS, write_tiny_bert
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]
WORKERS = ("ingest", "catalogue", "profile", "profile-2")
ITEMS = 400
RATE = 60
SECONDS = 35
WAIT_S = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Deployment]:
    settings = {
        "VEILSTREAM_IDEMPOTENT_PRODUCER": "false",
        "VEILSTREAM_MODEL": str(write_tiny_bert(tmp_path / "a", seed=1)),
        "VEILSTREAM_MODELS": str(tmp_path / "store"),
        "VEILSTREAM_THRESHOLD": "-2",
        "VEILSTREAM_TOP_K": "3",
        "VEILSTREAM_RECOMMENDED_COOLDOWN_S": "0",
        "VEILSTREAM_PARTITIONS": "2",
        "VEILSTREAM_TIME_BUCKET_S": "1",
        "VEILSTREAM_K": "1",  # clean records have the second in which they were written
        "OMP_NUM_THREADS": "1",
    }
    write_tiny_bert(tmp_path / "b", seed=2)
    with EmbeddedBroker() as broker, deployed(tmp_path / "shop", broker.bootstrap_servers, "", **settings) as deployment:
        yield deployment


def words(number: int) -> str:
    known = WORDS[5:]
    return " ".join(known[number // len(known) ** place % len(known)] for place in range(3))


def publish_items(shop: Deployment, name: str, numbers: range, suffix: str = "") -> None:
    (shop.folder / name).write_text("item,title\n" + "".join(f"i{n},{words(n)}{suffix}\n" for n in numbers))
    shop.command("replay", "--items", str(shop.folder / name), "--as-fast-as-possible")


def add(shop: Deployment, folder: Path, *more: str) -> str:
    return shop.command("models", "add", str(folder), *more).stdout.split()[1]


def wait_for(shop: Deployment, pattern: str, *stages: str) -> float:
    began = time.monotonic()
    for stage in stages:
        while not re.search(pattern, shop.log(stage).read_text()):
            assert time.monotonic() < began + WAIT_S, shop.log(stage).read_text()[-3000:]
            assert shop.processes[stage].poll() is None
            time.sleep(0.05)
    return time.monotonic() - began


def wait_for_records(shop: Deployment, count: int, *stages: str) -> None:
    """By the workers' own count: the embedded broker is slow to tell the ends of its partitions."""

    def counted() -> int:
        return sum(int(float(n)) for stage in stages for n in re.findall(r"veilstream_records_total{.*} (\S+)", shop.metrics(stage)))

    wait_until(lambda: counted() >= count, lambda: [shop.log(stage).read_text()[-2000:] for stage in stages], seconds=WAIT_S, every_s=0.2)


def read_all(shop: Deployment, topic: str, least: int) -> list[Any]:
    deadline = time.monotonic() + WAIT_S
    while len(found := shop.read(topic)) < least and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def replay_events(shop: Deployment) -> subprocess.Popen[bytes]:
    count = RATE * SECONDS
    rows = [f"2024-05-01T10:{n // 60 % 60:02}:{n % 60:02}Z,u{n % 97},search,,{words(n * 7)}\n" for n in range(count)]
    (shop.folder / "events.csv").write_text("ts,user,event_type,item,query\n" + "".join(rows))
    command = [sys.executable, "-m", "streams.cli.main", "replay", "--events", str(shop.folder / "events.csv"), "--rate", str(RATE)]
    return subprocess.Popen(command, env=shop.environment, cwd=shop.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_promotion_and_rollback_while_events_flow(shop: Deployment, tmp_path: Path) -> None:
    a = add(shop, tmp_path / "a")
    b = add(shop, tmp_path / "b", "--parent", a)
    changed = range(0, ITEMS + 20, 3)
    publish_items(shop, "items.csv", range(ITEMS))
    shop.start(*WORKERS)
    wait_for(shop, rf"stable serves {a}", "profile", "profile-2")
    replaying = replay_events(shop)
    time.sleep(10)
    promoted_ms = time.time() * 1000
    shop.command("models", "promote", b)
    # The catalogue changes while the new model's matrix is made.
    publish_items(shop, "changed.csv", changed, " tea")
    swap_s = wait_for(shop, rf"stable serves {b} with \d+ items, after {a}", "profile", "profile-2")
    served_ms = time.time() * 1000
    time.sleep(4)
    shop.command("models", "rollback")
    wait_for(shop, rf"stable serves {a} with \d+ items, after {b}", "profile", "profile-2")
    assert replaying.wait(120) == 0
    wait_for_records(shop, RATE * SECONDS, "profile", "profile-2")
    wait_for_records(shop, ITEMS + len(changed), "catalogue")
    metrics = [shop.metrics(stage) for stage in ("profile", "profile-2", "catalogue")]
    assert all(f'veilstream_model_info{{channel="stable",model_version="{a}"}} 1.0' in text for text in metrics)
    assert shop.stop() == dict.fromkeys(WORKERS, 0)

    decode = local_codecs().for_topic(RECOMMENDATIONS).decode
    records = read_all(shop, RECOMMENDATIONS, RATE * SECONDS)
    answers = [(record, decode(record.value, record.headers)) for record in records]
    events = read_all(shop, BEHAVIOUR_RAW, RATE * SECONDS)
    triggers = Counter(answer["trigger_event_id"] for _, answer in answers)
    assert len(events) == RATE * SECONDS == len(triggers)
    assert set(triggers.values()) == {1}
    in_order = defaultdict(list)
    for record, answer in sorted(answers, key=lambda pair: pair[0].offset):
        in_order[record.partition].append(answer["model_version"])
    assert {p: [v for v, _ in groupby(versions)] for p, versions in in_order.items()} == {p: [a, b, a] for p in in_order}

    codec = local_codecs().for_topic(ITEMS_VECTORS)
    held: dict[str, dict[str, str]] = {a: {}, b: {}}
    for record in shop.read(ITEMS_VECTORS):
        value = codec.decode(record.value, record.headers)
        held[value["model_version"]][value["item_id"]] = value["text_hash"]
    assert held[a] == held[b]
    assert len(held[a]) == len({*range(ITEMS), *changed})

    clean = local_codecs().for_topic(BEHAVIOUR_CLEAN)
    came = {clean.decode(r.value, r.headers)["event_id"]: r.timestamp for r in read_all(shop, BEHAVIOUR_CLEAN, RATE * SECONDS)}
    begins = np.array([came[answer["trigger_event_id"]] for _, answer in answers])
    delays = np.array([record.timestamp for record, _ in answers]) - begins
    before = (begins > begins.min() + 3000) & (begins < promoted_ms)
    during = (begins > promoted_ms) & (begins < served_ms + 2000)
    quiet, busy = (np.percentile(delays[part], (50, 99)).tolist() for part in (before, during))
    print(json.dumps({"swap_s": round(swap_s, 2), "before p50 p99 ms": quiet, "during p50 p99 ms": busy}))
    assert busy[1] < quiet[1] + 1000, "clean records have the second in which they were written"

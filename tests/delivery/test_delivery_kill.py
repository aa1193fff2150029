"""kill -9 of every stage at a random moment during a replay of the simulated shop, and a rolling deployment: nothing lost,
nothing doubled."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams import topics
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import local_codecs
from streams.simulator.accounting import Account, record_id
from streams.simulator.shop import Emission, Shop
from streams.stages.profile.profile import load_profile
from streams.stages.profile.together_counter import is_profile, load_pairs
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import STAGE_ORDER, Deployment, deployed
from tests.support.sealed_states import states_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(800)]

SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_THRESHOLD": "-10",
    "VEILSTREAM_DEBOUNCE_S": "600",
    "VEILSTREAM_RECOMMENDED_COOLDOWN_S": "1",
    "VEILSTREAM_ATTRIBUTION_WINDOW_S": "600",
    "VEILSTREAM_IDLE_CLOSE_S": "2",
    "VEILSTREAM_COMMIT_INTERVAL_S": "0.3",
    "VEILSTREAM_FETCH_MAX_RECORDS": "100",
    # What is widened depends on whom a worker has seen, which a kill changes; here both replays must tell the same.
    "VEILSTREAM_K": "1",
}
DAY_MS = 86_400_000
CODECS = local_codecs()


def shop_history() -> tuple[Shop, list[Emission]]:
    """A day and a half of the shop, without reactions."""
    start_ms = time.time_ns() // 1_000_000 - 4 * DAY_MS
    shop = Shop(7, 300, 150, start_ms, 3 * 3_600_000)
    return shop, [emission for hour in range(37) for emission in shop.step(start_ms + hour * 3_600_000)]


SHOP, HISTORY = shop_history()


async def publish(deployment: Deployment, account: Account | None, seconds: float) -> None:
    """Catalogue at once, then the events spread over some real seconds."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers, linger_ms=5)
    await producer.start()
    codec = CODECS.for_topic(topics.CATALOGUE_ITEMS)
    if account is None:
        for item in SHOP.items:
            await producer.send(deployment.topic(topics.CATALOGUE_ITEMS), codec.encode(item.value), key=item.item_id.encode())
    else:
        raw = CODECS.for_topic(topics.BEHAVIOUR_RAW)
        pause_every = max(1, len(HISTORY) // 100)
        sent = []
        for number, emission in enumerate(HISTORY):
            value = emission.value if isinstance(emission.value, bytes) else raw.encode(emission.value)
            future = await producer.send(deployment.topic(topics.BEHAVIOUR_RAW), value, key=emission.key, headers=list(emission.headers))
            sent.append((emission, future))
            if number % pause_every == 0:
                await asyncio.sleep(seconds / 100)
        for emission, future in sent:
            answer = await future
            account.sent(emission, answer.partition, answer.offset, 0.0)
    await producer.stop()


def decoded(deployment: Deployment, topic: str) -> list[dict[str, Any]]:
    return [CODECS.for_topic(topic).decode(record.value) for record in deployment.read(topic) if record.value is not None]


def profiles(deployment: Deployment) -> dict[str, Any]:
    """What the changelog says of every profile in the end, without what depends on the moment (the prior's exact value)."""
    found = {}
    for _, key, value in states_of(deployment, "profile"):
        assert value is not None
        if not is_profile(key):
            continue
        profile = load_profile(value)
        found[key.decode()] = (profile.items, profile.queries, profile.bought, profile.event_ids, profile.triggered_at)
    return found


def counted_pairs(deployment: Deployment) -> dict[tuple[int, bytes], dict[str, float]]:
    """What the changelog says of every item's pairs in the end: counts as of one time, and how many shoppers."""
    found = {}
    for partition, key, value in states_of(deployment, "profile"):
        if value is None or is_profile(key):
            continue
        pairs = load_pairs(value)
        factor = 2.0 ** ((pairs.landmark_ms - 1.7e12) / (60 * DAY_MS))
        counts = {f"{other}/{shoppers}": count * factor for other, (count, shoppers) in pairs.partners.items()}
        found[(partition, key)] = counts | {"total": pairs.total * factor, "counted": float(pairs.counted)}
    return found


def run(deployment: Deployment, actions: Sequence[tuple[float, Callable[[], None]]] = ()) -> dict[str, Any]:
    """Replay the history; ``actions``: after how many seconds what is done meanwhile. All that came out in the end."""
    deployment.start()
    asyncio.run(publish(deployment, None, 0))
    deployment.drain("catalogue")
    account = Account(Pseudonymizer(load_pseudonym_key(deployment.folder / "keys" / "pseudonym.key")))

    async def replay() -> None:
        publishing = asyncio.create_task(publish(deployment, account, 6.0))
        begin = time.monotonic()
        for at_s, action in actions:
            await asyncio.sleep(max(0.0, begin + at_s - time.monotonic()))
            await asyncio.to_thread(action)
        await publishing

    asyncio.run(replay())
    deployment.drain()
    deadline = time.monotonic() + 60
    while True:
        written = {t: decoded(deployment, t) for t in (topics.BEHAVIOUR_CLEAN, topics.DEAD_LETTER, topics.RECOMMENDATIONS, topics.FEEDBACK)}
        summary = account.close(*written.values())
        if not summary["lost"] or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert set(deployment.stop().values()) == {0}
    ids = {topic: Counter(map(record_id, deployment.read(topic))) for topic in STAGE_OUTPUTS}
    popularity: Counter[str] = Counter()
    newest: dict[tuple[int, str], float] = {}
    for record in deployment.read(topics.ITEMS_POPULARITY):
        value = CODECS.for_topic(topics.ITEMS_POPULARITY).decode(record.value)
        newest[(record.partition, value["item_id"])] = value["count"] * 2 ** ((value["as_of"] - 1.7e12) / (5 * DAY_MS))
    for (_, item_id), count in newest.items():
        popularity[item_id] += count  # type: ignore[assignment]
    return {
        "summary": summary,
        "doubled": {topic: [i for i, n in counter.items() if n > 1] for topic, counter in ids.items()},
        "clean": {event["event_id"] for event in written[topics.BEHAVIOUR_CLEAN]},
        "recommended": {r["recommendation_id"] for r in written[topics.RECOMMENDATIONS]},
        "pairs": len(ids[topics.TRAINING_PAIRS]),
        "profiles": profiles(deployment),
        "together": counted_pairs(deployment),
        "popularity": popularity,
    }


STAGE_OUTPUTS = (
    topics.BEHAVIOUR_CLEAN,
    topics.DEAD_LETTER,
    topics.ITEMS_VECTORS,
    topics.ITEMS_POPULARITY,
    topics.ITEMS_TOGETHER,
    topics.RECOMMENDATIONS,
    topics.FEEDBACK,
    topics.TRAINING_PAIRS,
)


@pytest.fixture(scope="module")
def undisturbed(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The same replay without a kill, and its keys."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with deployed(folder, kafka.bootstrap_servers, f"u{uuid.uuid4().hex[:8]}.", **SETTINGS) as deployment:
        result = run(deployment)
        assert result["summary"]["lost"] == 0
        assert result["summary"]["duplicated"] == 0
        assert len(result["recommended"]) > 300
        yield folder, result


@pytest.mark.parametrize("seed", range(5))
def test_kill_every_stage(kafka: ApacheKafka, tmp_path: Path, undisturbed: tuple[Path, dict[str, Any]], seed: int) -> None:
    """With even seeds a stage loses its local state as well."""
    rng = random.Random(seed)
    stages = list(STAGE_ORDER)
    rng.shuffle(stages)

    def kill(deployment: Deployment, stage: str) -> None:
        deployment.kill(stage)
        if seed % 2 == 0:
            shutil.rmtree(deployment.folder / "state" / stage, ignore_errors=True)
        deployment.start(stage, ready=False)

    with disturbed(kafka, tmp_path, undisturbed) as deployment:
        found = run(deployment, sorted((rng.uniform(0.5, 7.0), partial(kill, deployment, stage)) for stage in stages))
    compare(found, undisturbed[1])


def test_workers_come_and_go(kafka: ApacheKafka, tmp_path: Path, undisturbed: tuple[Path, dict[str, Any]]) -> None:
    """A rolling deployment: each stage gets a second worker, then the first one is asked to stop."""

    def leave(deployment: Deployment, stage: str) -> None:
        assert deployment.stop(stage) == {stage: 0}

    with disturbed(kafka, tmp_path, undisturbed) as deployment:
        come = [(1.0, partial(deployment.start, f"{stage}-2", ready=False)) for stage in STAGE_ORDER]
        go = [(4.0 + n, partial(leave, deployment, stage)) for n, stage in enumerate(STAGE_ORDER)]
        found = run(deployment, [*come, *go])
    compare(found, undisturbed[1])


@contextmanager
def disturbed(kafka: ApacheKafka, folder: Path, undisturbed: tuple[Path, dict[str, Any]]) -> Iterator[Deployment]:
    """A deployment with the keys of the undisturbed one, so that the ids are the same."""
    with deployed(folder, kafka.bootstrap_servers, f"k{uuid.uuid4().hex[:8]}.", **SETTINGS) as deployment:
        for key in (undisturbed[0] / "keys").iterdir():
            (folder / "keys" / key.name).write_bytes(key.read_bytes())
        yield deployment


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["summary"]["lost_by_topic"] == {"clean": 0, "dead_letters": 0, "feedback": 0}
    assert found["summary"]["duplicated_by_topic"] == dict.fromkeys(found["summary"]["duplicated_by_topic"], 0)
    assert found["doubled"] == {topic: [] for topic in STAGE_OUTPUTS}
    assert found["clean"] == expected["clean"]
    assert found["recommended"] == expected["recommended"]
    assert found["profiles"] == expected["profiles"], "every event is in its profile exactly once"
    assert found["together"].keys() == expected["together"].keys() != set()
    for item, counts in expected["together"].items():
        assert found["together"][item] == pytest.approx(counts, rel=1e-6), "every purchase is in its item's pairs exactly once"
    assert found["popularity"].keys() == expected["popularity"].keys()
    for item_id, count in expected["popularity"].items():
        assert found["popularity"][item_id] == pytest.approx(count, rel=1e-6)

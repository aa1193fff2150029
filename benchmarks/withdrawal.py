"""From a shop's message to its effect: how long a withdrawal of consent and a request to forget take. ``make bench-withdrawal``.

Two workers of ingest and one each of profile and feedback, on one Apache Kafka broker, while events flow. The effect is when the broker has
the stage's link in ``privacy.audit``, which is written with the state that follows from it; for other workers of ingest, when they know of
a decision (``veilstream_consent_delay_seconds``). Then a flood: thousands of requests to forget at once, each about a shopper who has a
profile.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import save
from streams import topics
from streams.audit.actions import CONSENT, ERASED
from streams.privacy.keys import load_pseudonym_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde import local_codecs
from tests.support.apache_kafka import ApacheKafka
from tests.support.deployment import Deployment, deployed
from tests.support.publishing import now_ms, publish

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
MESSAGES, MESSAGES_A_SECOND = 300, 20
EVENTS_A_SECOND = 300
FLOOD = 5000
SETTINGS = {
    "VEILSTREAM_MODEL": "hashing",
    "VEILSTREAM_PARTITIONS": "4",
    "VEILSTREAM_CONSENT_DEFAULT": "all",
}
STAGES = ("ingest", "ingest-2", "profile", "feedback")
CODEC = local_codecs().for_topic(topics.PRIVACY_AUDIT)


async def flow(shop: Deployment, prefix: str, seconds: float) -> None:
    """What shoppers do meanwhile."""
    count = int(EVENTS_A_SECOND * seconds)
    rows = [
        (f"u{n}", {"event_type": "view", "user_id": f"{prefix}{n % MESSAGES}", "item_id": f"i{n % 50}", "occurred_at": now_ms()})
        for n in range(count)
    ]
    await publish(shop, topics.BEHAVIOUR_RAW, rows, over_s=seconds)


async def ask(shop: Deployment, topic: str, message: dict[str, Any], prefix: str) -> None:
    rows = [(f"{prefix}{n}", message | {"user_id": f"{prefix}{n}"}) for n in range(MESSAGES)]
    if topic == topics.PRIVACY_ERASURE:
        rows = [(key, value | {"request_id": f"ticket-{number}"}) for number, (key, value) in enumerate(rows)]
    await publish(shop, topic, rows, over_s=MESSAGES / MESSAGES_A_SECOND)


def run(shop: Deployment, number: int) -> dict[str, list[float]]:
    """Milliseconds, by what was asked for and by the stage in which it took effect."""
    prefix, seconds = f"r{number}-u", MESSAGES / MESSAGES_A_SECOND
    hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
    refusal = {"purposes": {"personalization": False}, "updated_at": now_ms() + 1000, "policy_version": "1", "source": "bench"}
    erasure = {"requested_at": now_ms(), "scope": "all"}
    found: dict[str, list[float]] = {}

    async def both(topic: str, message: dict[str, Any]) -> None:
        await asyncio.gather(flow(shop, prefix, seconds), ask(shop, topic, message, prefix))

    for action, topic, message in ((CONSENT, topics.CONSENT_UPDATES, refusal), (ERASED, topics.PRIVACY_ERASURE, erasure)):
        asyncio.run(both(topic, message | ({"updated_at": now_ms()} if action == CONSENT else {})))
        time.sleep(2)
        asked = {hashes.pseudonym((record.key or b"").decode()): record.timestamp for record in shop.read(topic)}
        for record in shop.read(topics.PRIVACY_AUDIT):
            link = CODEC.decode(record.value, record.headers)
            if (
                link["action"] == action
                and link["subject"] in asked
                and link["subject"] in {hashes.pseudonym(f"{prefix}{n}") for n in range(MESSAGES)}
            ):
                found.setdefault(f"{action}, {link['stage']}", []).append(record.timestamp - asked[link["subject"]])
    return found


def flood(shop: Deployment, number: int) -> float:
    """Seconds from the first of many requests at once until the last stage's last receipt, while others' events flow."""
    users = [f"f{number}-u{n}" for n in range(FLOOD)]
    views = [(user, {"event_type": "view", "user_id": user, "item_id": "i1", "occurred_at": now_ms()}) for user in users]
    asyncio.run(publish(shop, topics.BEHAVIOUR_RAW, views, over_s=10))
    shop.drain("ingest", "profile", "feedback")
    requests = [(user, {"user_id": user, "requested_at": now_ms(), "scope": "all", "request_id": f"flood-{user}"}) for user in users]

    async def at_once() -> None:
        await asyncio.gather(flow(shop, f"o{number}-u", 20), publish(shop, topics.PRIVACY_ERASURE, requests, over_s=0))

    begin = now_ms()
    asyncio.run(at_once())
    shop.drain("ingest", "profile", "feedback")
    hashes = Pseudonymizer(load_pseudonym_key(shop.folder / "keys" / "pseudonym.key"))
    hers = set(map(hashes.pseudonym, users))
    times: dict[str, dict[str, int]] = {}
    for record in shop.read(topics.PRIVACY_AUDIT):
        link = CODEC.decode(record.value, record.headers)
        if link["action"] == ERASED and link["subject"] in hers:
            times.setdefault(link["stage"], {})[link["subject"]] = record.timestamp
    assert {stage: len(found) for stage, found in times.items()} == {"profile": FLOOD, "feedback": FLOOD}, "a request was lost"
    return (max(at for found in times.values() for at in found.values()) - begin) / 1000


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def known_everywhere(shop: Deployment) -> float:
    """Share of decisions that a worker of ingest knew within a second of the shop's message."""
    within = total = 0.0
    for worker in ("ingest", "ingest-2"):
        text = shop.metrics(worker)
        for limit, count in re.findall(r'^veilstream_consent_delay_seconds_bucket\{le="([^"]+)"\} (\S+)$', text, re.MULTILINE):
            within += float(count) if limit == "1.0" else 0.0
            total += float(count) if limit == "+Inf" else 0.0
    return within / max(1.0, total)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kafka = ApacheKafka(Path(folder) / "kafka")
        kafka.start()
        try:
            with deployed(Path(folder) / "shop", kafka.bootstrap_servers, "withdrawal.", **SETTINGS) as shop:
                shop.start(*STAGES)
                runs = [run(shop, number) for number in range(RUNS)]
                share = known_everywhere(shop)
                floods = [flood(shop, number) for number in range(RUNS)]
        finally:
            kafka.kill()
    names = sorted({name for one in runs for name in one})
    result: dict[str, Any] = {"messages": MESSAGES, "events_a_second": EVENTS_A_SECOND, "known_within_a_second": share, "runs": runs}
    for name in names:
        every = [value for one in runs for value in one.get(name, [])]
        result[name] = {"count": len(every), "p50_ms": quantile(every, 0.5), "p99_ms": quantile(every, 0.99), "most_ms": max(every)}
        print(f"{name}: {len(every)} times, p50 {result[name]['p50_ms']:.0f} ms, p99 {result[name]['p99_ms']:.0f} ms")
    result["flood"] = {"requests": FLOOD, "runs_s": floods, "median_s": statistics.median(floods), "most_s": max(floods)}
    print(f"{FLOOD:,} requests to forget at once: all done after {result['flood']['median_s']:.1f} s")
    print(f"known to a worker of ingest within a second: {share:.2%}")
    save("withdrawal", result)


if __name__ == "__main__":
    main()

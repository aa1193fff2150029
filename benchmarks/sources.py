"""Events a second through the ingest stage: Avro, plain JSON, and JSON that a mapping reads. ``make bench-sources``."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from benchmarks.harness import interleave, ratio, save
from streams.clock import FixedClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.records import MemoryRecord
from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonym import Pseudonymizer
from streams.privacy.seal import IdSealer, Sealer
from streams.serde import local_codecs
from streams.settings import Settings
from streams.sources.loading import presets
from streams.sources.mapping import read_mapping
from streams.sources.source import Source
from streams.sources.sources import Sources
from streams.stages.ingest.consents import ConsentBook
from streams.stages.ingest.rules import IngestRules
from streams.stages.ingest.stage import IngestStage
from streams.topics import BEHAVIOUR_RAW, DEAD_LETTER

EVENTS = 4000
BATCH = 2000
RUNS = 15
NOW = 1_760_000_000_000
JSON = (("content-type", b"application/json"),)
MAPPING = """
source: own
types: {view_item: view, add_to_cart: cart, transaction: purchase}
number: "1,299.00"
fields: {type: name, user: customer.id, event_id: id, time: at, item: product.sku, quantity: product.count, price: product.price,
  currency: product.currency, session: visit, region: country, user_agent: agent}
"""


class NoState:
    def get_many(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {}


def plain(drawn: random.Random, number: int) -> dict[str, Any]:
    return {
        "user_id": f"u{drawn.randrange(2000)}",
        "event_type": drawn.choice(["view", "cart", "purchase"]),
        "event_id": f"e{number}",
        "occurred_at": NOW - drawn.randrange(10**9),
        "item_id": f"SKU-{drawn.randrange(5000)}",
        "quantity": drawn.randrange(1, 5),
        "price": drawn.randrange(100, 9999) / 100,
        "currency": "EUR",
        "session_id": f"s{drawn.randrange(9000)}",
        "region": "DE",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    }


def mapped(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same event as a shop might write it."""
    return {
        "name": {"view": "view_item", "cart": "add_to_cart", "purchase": "transaction"}[event["event_type"]],
        "customer": {"id": int(event["user_id"][1:]) + 1},
        "id": event["event_id"],
        "at": event["occurred_at"],
        "product": {"sku": event["item_id"], "count": event["quantity"], "price": f"{event['price']:,.2f}", "currency": event["currency"]},
        "visit": event["session_id"],
        "country": event["region"],
        "agent": event["user_agent"],
    }


def segment(event: Mapping[str, Any]) -> dict[str, Any]:
    names = {"view": "Product Viewed", "cart": "Product Added", "purchase": "Order Completed"}
    product = {"product_id": event["item_id"], "quantity": event["quantity"], "price": event["price"]}
    return {
        "type": "track",
        "event": names[event["event_type"]],
        "userId": event["user_id"],
        "messageId": event["event_id"],
        "timestamp": event["occurred_at"],
        "properties": {"currency": event["currency"], "products": [product]},
        "context": {"sessionId": event["session_id"], "locale": "de-DE", "userAgent": event["user_agent"]},
    }


def stage(consents: ConsentBook | None = None, k: int = 1) -> IngestStage:
    codecs, clock, key, signing_key = local_codecs(), FixedClock(NOW), PrivateKey.generate().public_key, SigningKey.generate()
    known = {name: Source(found) for name, found in (presets() | {"own": read_mapping(MAPPING, "own.yaml")}).items()}
    return IngestStage(
        codecs=codecs,
        pseudonymizer=Pseudonymizer(PseudonymKey("k1", b"k" * 32)),
        sealer=IdSealer(key, signing_key),
        dead_letters=DeadLetterBuilder(codecs.for_topic(DEAD_LETTER), Sealer(key), "ingest", clock, 262_144, signing_key=signing_key),
        rules=IngestRules.from_settings(Settings(k=k)),
        clock=clock,
        sources=Sources(codecs.for_topic(BEHAVIOUR_RAW), known),
        consents=consents,
    )


def throughput(records: Sequence[MemoryRecord], consents: ConsentBook | None = None, k: int = 1) -> Callable[[int], float]:
    """Events a second of processor time; the users are known already, so that sealing does not hide the reading."""

    def measure(_: int) -> float:
        handler = stage(consents, k)

        async def run(offset: int) -> None:
            for first in range(0, len(records), BATCH):
                batch = [record._replace(offset=record.offset + offset) for record in records[first : first + BATCH]]
                result = await handler(batch, NoState())
                if result.rejected or (offset == 0 and len(result.outputs) != len(batch)):
                    raise AssertionError(f"{result.rejected} events were refused: {result.reasons}")

        asyncio.run(run(0))
        handler._recent._seen.clear()
        begin = time.process_time()
        asyncio.run(run(len(records)))
        return len(records) / (time.process_time() - begin)

    return measure


def main() -> None:
    drawn = random.Random(14)
    events = [plain(drawn, number) for number in range(EVENTS)]
    codec = local_codecs().for_topic(BEHAVIOUR_RAW)
    empty = dict.fromkeys(codec.kinds)

    def records(values: Sequence[bytes], headers: tuple[tuple[str, bytes], ...]) -> list[MemoryRecord]:
        return [MemoryRecord(BEHAVIOUR_RAW, 0, number, NOW, None, value, headers) for number, value in enumerate(values)]

    candidates = {
        "avro": throughput(records([codec.encode(empty | event) for event in events], ())),
        "plain": throughput(records([json.dumps(event).encode() for event in events], JSON)),
        "mapping": throughput(records([json.dumps(mapped(event)).encode() for event in events], (("veilstream-source", b"own"),))),
        "segment": throughput(records([json.dumps(segment(event)).encode() for event in events], (("veilstream-source", b"segment"),))),
    }
    measured = interleave(candidates, RUNS)
    result = {"events": EVENTS, "runs": measured} | {name: ratio(measured, name, "plain") for name in ("mapping", "segment", "avro")}
    print(f"a mapping: {result['mapping']['ratio_median']:.2f} of plain JSON; Segment: {result['segment']['ratio_median']:.2f}")  # type: ignore[index]
    save("sources", result)


if __name__ == "__main__":
    main()

"""Microseconds to read and write the product's values, by fastavro and by the compiled functions. ``make bench-avro``."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import fastavro
from fastavro.schema import parse_schema

import schemas
from benchmarks.harness import interleave, ratio, save
from streams import topics
from streams.serde.codec import finite_test
from streams.serde.compiled import compile_reader, compile_writer
from streams.serde.writer_schema import without_logical_types

RUNS = 7
CALLS = 5000
REASON = {"kind": "item", "item_id": "SKU-12345", "event_type": "view", "share": 0.1}
ITEM = {"item_id": "SKU-54321", "rank": 3, "score": 0.5, "cosine": 0.4, "prior": 0.1, "reasons": [REASON] * 3}
VALUES: dict[str, dict[str, Any]] = {
    topics.BEHAVIOUR_CLEAN: {
        "event_id": "a" * 32, "pseudonym": "k1." + "b" * 32, "sealed_id": b"x" * 177, "event_type": "view",
        "occurred_at": 1_760_000_000_000, "item_id": "SKU-12345", "query": None, "quantity": 1, "price_band": 3, "currency": "EUR",
        "country": "DE", "recommendation_id": None, "position": None, "session": "c" * 16, "flags": [],
    },
    topics.FEEDBACK: {
        "feedback_id": "a" * 32, "recommendation_id": "b" * 32, "pseudonym": "k1." + "b" * 32, "item_id": "SKU-12345", "rank": 3,
        "policy": "behaviour", "model_version": "minilm-0123456789ab", "outcome": "ignored", "reward": 0.0, "shown": False,
        "delay_ms": None, "created_at": 1_760_000_000_000, "closed_at": 1_760_000_600_000, "others": [],
    },
    topics.RECOMMENDATIONS: {
        "recommendation_id": "a" * 32, "pseudonym": "k1." + "b" * 32, "sealed_id": b"x" * 177, "policy": "behaviour",
        "trigger_event_id": "c" * 32, "trigger_type": "view", "source_offset": 123_456, "created_at": 1_760_000_000_000,
        "model_version": "minilm-0123456789ab", "threshold": 0.3, "items": [ITEM] * 10,
    },
}  # fmt: skip
FEEDBACK_READS = ("recommendation_id", "pseudonym", "policy", "source_offset", "created_at", "model_version", "items.item_id")


def microseconds(call: Callable[[], object]) -> Callable[[int], float]:
    """The mean over many calls."""

    def measure(_: int) -> float:
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - begin) / CALLS * 1e6

    return measure


def candidates(topic: str, value: dict[str, Any]) -> dict[str, dict[str, Callable[[], object]]]:
    """By what is done, then by who does it. Reading includes the test that all numbers are finite."""
    schema: Any = parse_schema(without_logical_types(json.loads(schemas.current(topic))))
    write, read = compile_writer(schema), compile_reader(schema, finite=True)
    finite = finite_test(schema)
    if write is None or read is None:
        raise AssertionError(f"{topic} is not compiled")
    body = write(value)

    def fastavro_reads() -> bool:
        decoded = fastavro.schemaless_reader(io.BytesIO(body), schema, None)
        return finite is None or finite(decoded)

    tasks: dict[str, dict[str, Callable[[], object]]] = {
        f"{topic} write": {
            "compiled": lambda: write(value),
            "fastavro": lambda: fastavro.schemaless_writer(io.BytesIO(), schema, value),
        },
        f"{topic} read": {"compiled": lambda: read(body, 0), "fastavro": fastavro_reads},
    }
    if topic == topics.RECOMMENDATIONS:
        some = compile_reader(schema, only=FEEDBACK_READS, finite=True)
        if some is None:
            raise AssertionError(f"{topic} is not compiled")
        tasks[f"{topic} read what feedback needs"] = {"compiled": lambda: some(body, 0), "fastavro": fastavro_reads}
    return tasks


def main() -> None:
    results = {}
    for topic, value in VALUES.items():
        for task, by in candidates(topic, value).items():
            print(f"{task}, microseconds", flush=True)
            measured = interleave({name: microseconds(call) for name, call in by.items()}, RUNS)
            results[task] = {"unit": "us", "runs": measured, **ratio(measured, "fastavro", "compiled")}
    for task, result in results.items():
        print(f"{task}: fastavro {result['fastavro_median']:.1f}, compiled {result['compiled_median']:.1f}, {result['ratio_median']:.1f} ×")
    print(f"wrote {save('avro', results)}")


if __name__ == "__main__":
    main()

"""A stage that counts per key, as a process: for tests of delivery alone. Values say what happens to it.

``poison`` raises; ``hang`` never returns, unless HANG=no; ``slow:2`` takes two seconds, unless HANG=no; ``big:1000`` gives an output of
so many bytes. Environment as for any worker; with AUDIT=yes it appends a link for each event.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from streams import topics
from streams.audit.trail import StageTrail
from streams.engine.handler import BatchHandler, StageSpec
from streams.engine.metrics import StageMetrics
from streams.engine.parts import StageParts
from streams.engine.process import leave
from streams.engine.records import BatchResult, OutputRecord, SourceRecord, StateView
from streams.errors import RecordError
from streams.kafka.clients import quiet_client_loggers
from streams.privacy.keys import load_stage_signing_key
from streams.serde.codec import local_codecs
from streams.settings import load_kafka_settings, load_settings
from streams.wiring.stages import stage_process

TOY = StageSpec("toy", (topics.BEHAVIOUR_CLEAN,), (topics.FEEDBACK, topics.DEAD_LETTER), table="toy", aligned=True)


def identity(record: SourceRecord) -> bytes:
    return hashlib.blake2b(f"{record.partition}/{record.offset}".encode(), digest_size=16).digest()


async def count(batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
    """Each event says how many its key has had, itself included."""
    keys = [record.key or b"" for record in batch]
    known = {key: [int(n) for n in value.split(b":")] for key, value in state.get_many(keys).items()}
    result = BatchResult()
    for record, key in zip(batch, keys, strict=True):
        value = record.value or b""
        if value.startswith(b"poison"):
            raise ValueError("poison")
        if value.startswith(b"hang") and os.environ.get("HANG") != "no":
            await asyncio.sleep(3600)
        if value.startswith(b"slow:") and os.environ.get("HANG") != "no":
            await asyncio.sleep(float(value.split(b":")[1]))
        output = b"x" * int(value.split(b":")[1]) if value.startswith(b"big:") else value
        total, applied = known.get(key, [0, -1])
        if record.offset > applied:
            known[key] = [total + 1, record.offset]
        result.outputs.append(OutputRecord(topics.FEEDBACK, key, output, identity(record), record.partition))
    result.state = {key: b"%d:%d" % (total, applied) for key, (total, applied) in known.items()}
    return result


class Audited:
    """The same, and a link for each event."""

    def __init__(self, trail: StageTrail) -> None:
        self._trail = trail

    async def __call__(self, batch: Sequence[SourceRecord], state: StateView) -> BatchResult:
        page = self._trail.open(batch, state)
        result = await count(batch, state)
        for record in batch:
            page.append(record, "erased", f"k1.{record.partition}-{record.offset}")
        page.close(result)
        return result


class DeadLetters:
    def build(self, record: SourceRecord, error: RecordError, *, attempt: int = 1) -> OutputRecord:
        return OutputRecord(topics.DEAD_LETTER, None, record.value, identity(record))


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    registry = CollectorRegistry()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    spec: StageSpec = TOY
    handler: BatchHandler = count
    if os.environ.get("AUDIT") == "yes":
        spec = replace(TOY, outputs=(*TOY.outputs, topics.PRIVACY_AUDIT))
        key = load_stage_signing_key(settings.keys_dir / "profile.key", "profile")
        handler = Audited(StageTrail("profile", key, local_codecs().for_topic(topics.PRIVACY_AUDIT), topic_prefix=settings.topic_prefix))
    parts = StageParts(spec, handler, DeadLetters(), StageMetrics(registry, "toy"), registry)
    process = stage_process(parts, settings, kafka)
    await process.run(stop)
    if process.left_behind:
        leave(0)


if __name__ == "__main__":
    asyncio.run(main())

"""Plain Faust apps, as its documentation writes them, that show how it loses events. Run as ``python -m``."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import faust


def batch_app() -> faust.App:
    """Takes four events at a time; a batch with ``poison`` in it raises. What was processed is printed."""
    app = faust.App("losses-batch", broker=f"kafka://{os.environ['BROKER']}", web_enabled=False, topic_disable_leader=True)
    app.conf.broker_commit_interval = 0.3
    app.conf.broker_session_timeout = 10  # how long a killed one keeps its partitions
    app.conf.broker_heartbeat_interval = 3
    source = app.topic("losses.batch", value_type=bytes, value_serializer="raw")

    @app.agent(source, name="batch")
    async def take(stream: Any) -> None:
        async for batch in stream.take(4, within=1.0):
            if b"poison" in batch:
                raise ValueError("poison")
            for value in batch:
                print("processed", value.decode(), flush=True)

    return app


def gap_app() -> faust.App:
    """Acknowledges by hand; ``slow`` is still being worked on when what came after it is done."""
    app = faust.App("losses-gap", broker=f"kafka://{os.environ['BROKER']}", web_enabled=False, topic_disable_leader=True)
    app.conf.broker_commit_interval = 0.3
    app.conf.broker_session_timeout = 10  # how long a killed one keeps its partitions
    app.conf.broker_heartbeat_interval = 3
    source = app.topic("losses.gap", value_type=bytes, value_serializer="raw")

    @app.agent(source, name="gap")
    async def work(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.value != b"slow":
                print("processed", event.value.decode(), flush=True)
                event.ack()
            else:
                print("working", event.value.decode(), flush=True)

    return app


async def main(which: str) -> None:
    app = {"batch": batch_app, "gap": gap_app}[which]()
    await app.start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""The demo: broker, keys, topics, stages, shop, and a summary of what was measured."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from encoders.folder import locate
from streams import topics
from streams.app import STAGES
from streams.broker.embedded import EmbeddedBroker
from streams.errors import FatalError
from streams.files import replace_file
from streams.kafka.clients import client_config, connect_admin, partition_counts, quiet_client_loggers
from streams.kafka.topic_setup import create_topics
from streams.privacy.keys import generate_keys, load_private_key, load_pseudonym_key, load_stage_verify_key
from streams.privacy.pseudonym import Pseudonymizer
from streams.serde.codec import local_codecs
from streams.settings import KafkaSettings, Settings, load_kafka_settings
from streams.simulator.accounting import Account
from streams.simulator.driver import ShopDriver
from streams.simulator.groups import GroupOutcome
from streams.simulator.learning import SETTINGS, Learning
from streams.simulator.screen import Screen
from streams.simulator.shop import Shop
from streams.simulator.stages import StageProcesses
from streams.wiring.feature_check import check_logs

SIMULATED_MS = 3 * 86_400_000
_DAYS_IN_S = 75.0
"""That many seconds for SIMULATED_MS where the shop stays open until it is stopped or has learnt."""
_KEPT_OPEN_S = 12 * 3600.0
SESSION_EVERY_MS = 14 * 3_600_000
_START_LIMIT_S = 300.0
_DRAIN_LIMIT_S = 60.0


class Demo:
    """One run of the demo."""

    def __init__(
        self,
        out: Path,
        items: int,
        shoppers: int,
        seed: int,
        *,
        learn: bool = False,
        show: bool = False,
        metrics: tuple[str, int] | None = None,
    ) -> None:
        """``learn``: with a trainer, until a model is promoted or refused. ``show``: with the console. ``metrics``: host and first port of
        the workers' /metrics; by default this machine only, at free ports."""
        self._out = out
        self._items = items
        self._shoppers = shoppers
        self._seed = seed
        self._learn = learn
        self._show = show
        self._metrics = metrics
        self._console = Console()

    async def run(self, seconds: float, stop: asyncio.Event) -> None:
        """Raises FatalError if a stage ends or nothing moves any more."""
        quiet_client_loggers()
        for name in ("keys", "state", "logs", "models", "models-cache", "trainer"):
            shutil.rmtree(self._out / name, ignore_errors=True)
        self._out.mkdir(parents=True, exist_ok=True)
        with EmbeddedBroker(log=self._out / "logs" / "broker.log") as broker:
            environment = self._environment(broker.bootstrap_servers)
            names = {name: name.removeprefix("VEILSTREAM_").lower() for name in environment if name.startswith("VEILSTREAM_")}
            settings = Settings.model_validate({field: environment[name] for name, field in names.items()})
            kafka = load_kafka_settings().model_copy(
                update={"bootstrap_servers": broker.bootstrap_servers, "security_protocol": "PLAINTEXT"}
            )
            # Before two stages do it at once: the first time the model is unpacked.
            if settings.model != "hashing":
                self._console.print("getting the model (the first time it is unpacked to the cache folder)")
                await asyncio.to_thread(locate, settings.model)
            generate_keys(settings.keys_dir)
            await create_topics(settings, kafka)
            stages = StageProcesses(environment, self._out / "logs", None if self._metrics is None else self._metrics[1])
            try:
                await self._run(settings, kafka, stages, seconds, stop)
            finally:
                stages.stop()

    async def _run(self, settings: Settings, kafka: KafkaSettings, stages: StageProcesses, seconds: float, stop: asyncio.Event) -> None:
        console = self._console
        stages.start(tuple(STAGES), trainer=self._learn)
        started = ", ".join(STAGES) + (" and the trainer" if self._learn else "")
        console.print(f"broker, keys and topics are ready; starting the stages {started} (the first start of the model takes a while)")
        if self._show:
            console.print(f"the console is at {stages.start_console()}")
        end_ms = time.time_ns() // 1_000_000 - 8 * 3_600_000  # so that every attribution window is over by now
        at_rest = self._learn or seconds == float("inf")
        pace = SIMULATED_MS / (_DAYS_IN_S if at_rest else seconds) / 1000
        start_ms = end_ms - int(min(seconds, _KEPT_OPEN_S) * pace * 1000)
        shop = Shop(self._seed, self._items, self._shoppers, start_ms, SESSION_EVERY_MS, asks=True)
        account = Account(Pseudonymizer(load_pseudonym_key(settings.keys_dir / "pseudonym.key")))
        admin = await connect_admin(kafka)
        try:
            counts = await partition_counts(admin, [spec.name for spec in topics.TOPICS])
        finally:
            await admin.close()
        key = load_private_key(settings.keys_dir / "subscriber.key", "subscriber")
        ingest_key = load_stage_verify_key(settings.keys_dir / "ingest.pub", "ingest")
        driver = ShopDriver(shop, local_codecs(), account, key, ingest_key, client_config(kafka), counts, idempotent=False)
        await self._until(lambda: _nothing(stages.waiting_for()), _START_LIMIT_S, stop, "the stages did not get ready")
        count = await driver.publish_catalogue()
        console.print(f"published a catalogue of {count} items in English and Chinese; waiting until each has its vector")
        await self._until(
            lambda: self._drained(settings, kafka, "catalogue", stages), _START_LIMIT_S, stop, "the catalogue was not encoded"
        )
        await driver.publish_consents()
        await self._until(lambda: self._drained(settings, kafka, "ingest", stages), _DRAIN_LIMIT_S, stop, "the consents were not taken in")
        console.print(f"asked {len(shop.shoppers)} shoppers what they allow: {_answers(shop)}")
        learning: Learning | None = None
        with Screen(console, driver, account, shop) as screen:
            if self._learn:
                learning = Learning(settings, kafka, stages, shop, account, driver.read_all, screen.say)
                driver.on_recommendation = learning.saw
                screen.learning = learning
            watch = asyncio.create_task(learning.run(stop) if learning else stop.wait())

            def tick(share: float) -> None:
                stages.check()
                if watch.done():
                    watch.result()
                screen.show(share)

            try:
                await driver.run(start_ms, pace, seconds, stop, tick)
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        console.print("the shop has closed; waiting for the remaining records")
        for stage in STAGES:
            await self._until(partial(self._drained, settings, kafka, stage, stages), _DRAIN_LIMIT_S, None, f"{stage} did not finish")
        summary = await self._close(driver, account, shop, stages)
        summary["features"] = await _features(settings, kafka)
        if learning is not None:
            summary["learning"] = learning.summary()
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        replace_file(self._out / "summary.json", text.encode(), mode=0o666)
        Screen.summary(console, summary, self._out / "summary.json")
        if not self._show:
            console.print("`veilstream demo --keep --console` (or `make console`) shows all of it live, on a page")
        if summary["lost"] or summary["duplicated"]:
            raise FatalError(
                f"{summary['lost']} lost and {summary['duplicated']} duplicated; see {self._out / 'summary.json'} and the logs beside it"
            )

    async def _close(self, driver: ShopDriver, account: Account, shop: Shop, stages: StageProcesses) -> dict[str, Any]:
        """Read everything back until every recommended item has its feedback, then compare."""
        summary: dict[str, Any] = {}
        deadline = time.monotonic() + _DRAIN_LIMIT_S
        while True:
            stages.check()
            read = {
                t: await driver.read_all(t) for t in (topics.BEHAVIOUR_CLEAN, topics.DEAD_LETTER, topics.RECOMMENDATIONS, topics.FEEDBACK)
            }
            summary = account.close(
                read[topics.BEHAVIOUR_CLEAN], read[topics.DEAD_LETTER], read[topics.RECOMMENDATIONS], read[topics.FEEDBACK]
            )
            if not summary["lost"] or time.monotonic() > deadline:
                break
            await asyncio.sleep(1.0)
        by_language = {name: _rates(outcome) for name, outcome in shop.outcome_by_language().items()}
        return summary | _rates(shop.outcome()) | {"by_language": by_language}

    async def _drained(self, settings: Settings, kafka: KafkaSettings, stage: str, stages: StageProcesses) -> bool:
        """Whether the stage has committed all of its sources."""
        from aiokafka import AIOKafkaConsumer
        from aiokafka.structs import TopicPartition

        stages.check()
        admin = await connect_admin(kafka)
        consumer = AIOKafkaConsumer(**client_config(kafka), group_id=None, enable_auto_commit=False)
        await consumer.start()
        try:
            counts = await partition_counts(admin, STAGES[stage].sources)
            tps = [TopicPartition(topic, p) for topic, count in counts.items() for p in range(count)]
            ends = await consumer.end_offsets(tps)
            committed = await admin.list_consumer_group_offsets(f"{settings.app_prefix}-{stage}", partitions=tps)
            return all(ends[tp] == 0 or (tp in committed and committed[tp].offset >= ends[tp]) for tp in tps)
        finally:
            await consumer.stop()
            await admin.close()

    async def _until(self, done: Callable[[], Awaitable[bool]], limit_s: float, stop: asyncio.Event | None, problem: str) -> None:
        deadline = time.monotonic() + limit_s
        while not await done():
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise FatalError(f"{problem} within {limit_s:.0f} s; see the logs in {self._out / 'logs'}")
            await asyncio.sleep(0.3)

    def _environment(self, bootstrap_servers: str) -> dict[str, str]:
        """A shop whose days pass in a minute needs other times than a real one."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "VEILSTREAM_KEYS_DIR": str(self._out / "keys"),
            "VEILSTREAM_STATE_DIR": str(self._out / "state"),
            "VEILSTREAM_IDEMPOTENT_PRODUCER": "false",
            "VEILSTREAM_SESSION_TIMEOUT_S": "6",
            "VEILSTREAM_METRICS_HOST": "127.0.0.1" if self._metrics is None else self._metrics[0],
            "VEILSTREAM_PARTITIONS": "2",
            "VEILSTREAM_COMMIT_INTERVAL_S": "0.5",
            "VEILSTREAM_CONSENT_DEFAULT": "none",
            "VEILSTREAM_DEBOUNCE_S": "1800",
            "VEILSTREAM_RECOMMENDED_COOLDOWN_S": "21600",
            "VEILSTREAM_ATTRIBUTION_WINDOW_S": "14400",
            "VEILSTREAM_IDLE_CLOSE_S": "3",
            "VEILSTREAM_APP_PREFIX": "demo",
            "VEILSTREAM_TOPIC_PREFIX": "",
            "VEILSTREAM_CONSOLE_HOST": "127.0.0.1",
            "VEILSTREAM_MODELS": str(self._out / "models"),
            "VEILSTREAM_MODELS_CACHE": str(self._out / "models-cache"),
            "VEILSTREAM_TRAINER_DIR": str(self._out / "trainer"),
            **(SETTINGS if self._learn else {}),
        }


def _answers(shop: Shop) -> str:
    counts = Counter(len(shopper.allows) for shopper in shop.shoppers)
    return f"{counts[2]} everything, {counts[1]} personalization only, {counts[0]} nothing"


def _rates(outcome: GroupOutcome) -> dict[str, Any]:
    low, high = outcome.uplift_interval
    return {
        "treated_rate": round(outcome.treated_rate, 5),
        "control_rate": round(outcome.control_rate, 5),
        "uplift_interval_95": [round(low, 5), round(high, 5)],
        "treated_sessions": outcome.treated_sessions,
        "control_sessions": outcome.control_sessions,
    }


async def _features(settings: Settings, kafka: KafkaSettings) -> dict[str, int]:
    """How many logs of features agree with what is rebuilt from the topics. Raises FatalError if one differs."""
    checked, unreadable = await check_logs(settings, kafka)
    counts = Counter(one.outcome for one in checked)
    if counts["differs"] or unreadable:
        names = sorted({name for one in checked if one.outcome == "differs" for name in one.different})
        which = f" (by {', '.join(names)})" if names else ""
        raise FatalError(
            f"of {len(checked)} logs of features {counts['differs']} differ from what was served{which}, {unreadable} can't be read"
        )
    return {"logs": len(checked), "agree": counts["agrees"], "untold": counts["untold"]}


async def _nothing(left: list[str]) -> bool:
    return not left

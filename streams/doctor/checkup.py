"""All checks, at the same time and each by itself: what one finds, or that it can't run, keeps no other from being made."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.access.asking import granted
from streams.access.comparing import Granted
from streams.doctor import scope as needs
from streams.doctor.brokers import compare_clocks, connected, judge_broker, refused, see_broker, see_topics
from streams.doctor.findings import CHECKS, Check, Finding, fault
from streams.doctor.keys import check_keys, is_sealed
from streams.doctor.machine import check_folder, check_memory, check_open_files
from streams.doctor.models import check_model
from streams.doctor.registry import check_registry
from streams.doctor.rights import hidden_topics, judge_rights
from streams.doctor.topics import judge_topics
from streams.errors import PRODUCT, FatalError, TransientError
from streams.kafka.security import in_clear
from streams.settings import KafkaSettings, Settings, load_kafka_settings, load_settings, unknown_settings

T = TypeVar("T")
Found = Mapping[Check, list[Finding]]

_MOST_S = 7.0
"""Of one check that has to wait for something."""
_CLUSTER_S = 5.0
"""Of one question to brokers that were reached."""
_AWAY = "the broker is not reachable"
_SETTINGS = "the settings can't be read"
_WRONG, _SEE = "wrong setting: ", " (see `veilstream settings`)"


@dataclass(frozen=True, slots=True)
class Read:
    """The settings, None where they can't be read, and what was found while they were."""

    settings: Settings | None
    kafka: KafkaSettings | None
    findings: list[Finding]


def read_settings() -> Read:
    """From the environment."""
    found = []
    for text in unknown_settings(os.environ):
        what, _, fix = text.partition("; ")
        found.append(Finding("settings", "warning", what, fix))
    settings = _loaded(load_settings, found)
    kafka = _loaded(load_kafka_settings, found)
    if not found:
        count = sum(name.upper().startswith(("VEILSTREAM_", "KAFKA_")) for name in os.environ)
        found.append(Finding("settings", "ok", f"{count} are set, all others have their defaults" if count else "all have their defaults"))
    return Read(settings, kafka, found)


def _loaded(load: Callable[[], T], found: list[Finding]) -> T | None:
    try:
        return load()
    except FatalError as error:
        wrong = str(error).removeprefix(_WRONG).removesuffix(_SEE).split("; ")
        found += [Finding("settings", "fault", one, "see `veilstream settings` for what it takes") for one in wrong]
        return None


async def examine(scope: str, read: Read, tell: Callable[[Finding], object]) -> list[Finding]:
    """Everything that was found, in the order of ``CHECKS``; each finding is told as soon as those before it are."""
    groups = [
        (("settings",), _now(read.findings)),
        (("keys",), _in_time("keys", read.settings, lambda settings: check_keys(scope, settings))),
        (("broker", "topics", "rights", "clock"), _cluster(scope, read)),
        (("model",), _in_time("model", read.settings, lambda settings: _models(scope, settings))),
        (("registry",), _in_time("registry", read.settings, lambda settings: [check_registry(settings)])),
        (("disk",), _in_time("disk", read.settings, lambda settings: _disks(scope, settings))),
        (("memory",), _in_time("memory", read.settings, lambda settings: [check_memory(needs.memory_of(scope, settings))])),
        (("files",), _in_time("files", read.settings, lambda settings: [check_open_files(settings.partitions)])),
    ]  # fmt: skip
    tasks: dict[str, asyncio.Task[list[Finding] | Found]] = {}
    for checks, work in groups:
        task = asyncio.ensure_future(work)
        tasks |= dict.fromkeys(checks, task)
    found: list[Finding] = []
    for check in CHECKS:
        result = await tasks[check]
        for finding in result[check] if isinstance(result, Mapping) else result:
            found.append(finding)
            tell(finding)
    return found


async def _now(findings: list[Finding]) -> list[Finding] | Found:
    return findings


async def _in_time(check: Check, settings: Settings | None, look: Callable[[Settings], list[Finding]]) -> list[Finding] | Found:
    """What blocks has a thread that the end of the process does not wait for."""
    if settings is None:
        return [Finding(check, "skipped", _SETTINGS)]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Finding]] = loop.create_future()

    def settle(value: list[Finding]) -> None:
        if not answer.done():
            answer.set_result(value)

    def run() -> None:
        try:
            value = look(settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on and it is told
            value = [_unexpected(check, error)]
        with suppress(RuntimeError):  # the loop has ended without this answer
            loop.call_soon_threadsafe(settle, value)

    threading.Thread(target=run, name=f"check-{check}", daemon=True).start()
    try:
        return await asyncio.wait_for(answer, _MOST_S)
    except TimeoutError:
        return [Finding(check, "skipped", f"no answer within {_MOST_S:g} s")]


def _models(scope: str, settings: Settings) -> list[Finding]:
    return check_model(settings) if needs.uses_model(scope) else [Finding("model", "ok", f"{scope} needs none")]


def _disks(scope: str, settings: Settings) -> list[Finding]:
    return [one for setting, folder in needs.folders_of(scope, settings).items() for one in check_folder(setting, Path(folder))]


async def _cluster(scope: str, read: Read) -> list[Finding] | Found:
    settings, kafka = read.settings, read.kafka
    if settings is None or kafka is None:
        return {check: [Finding(check, "skipped", _SETTINGS)] for check in ("broker", "topics", "rights", "clock")}
    try:
        async with connected(kafka) as admin:
            return await _of_brokers(scope, settings, kafka, admin)
    except FatalError as error:
        skipped: Found = {check: [Finding(check, "skipped", _AWAY)] for check in ("topics", "rights", "clock")}
        return {"broker": [refused(error)], **skipped}


async def _of_brokers(scope: str, settings: Settings, kafka: KafkaSettings, admin: AIOKafkaAdminClient) -> Found:
    brokers = len(admin._client.cluster.brokers())
    needed = await asyncio.to_thread(lambda: needs.rights_needed(scope, settings, sealed=is_sealed(settings)))
    told: Granted | None = None

    async def broker() -> list[Finding]:
        seen = await see_broker(admin, kafka, idempotent=settings.idempotent_producer)
        return judge_broker(seen, idempotent=settings.idempotent_producer, in_clear=in_clear(kafka))

    async def rights() -> list[Finding]:
        nonlocal told
        told = await granted(kafka, needed)
        return judge_rights(needed, told, scope)

    async def topics() -> list[Finding]:
        specs = needs.topics_of(scope, settings)
        states = needs.states_of(scope, settings)
        seen = await see_topics(admin, [*(settings.topic_prefix + spec.name for spec in specs), *states])
        hidden = hidden_topics(needed, told) if told is not None else set()
        return judge_topics(
            specs,
            seen,
            prefix=settings.topic_prefix,
            replication=settings.replication,
            brokers=brokers,
            servers=kafka.bootstrap_servers,
            states=states,
            hidden=hidden,
        )

    async def clock() -> list[Finding]:
        return [await compare_clocks(admin)]

    found: dict[Check, list[Finding]] = {"broker": await _asked("broker", broker()), "rights": await _asked("rights", rights())}
    return found | {"topics": await _asked("topics", topics()), "clock": await _asked("clock", clock())}


async def _asked(check: Check, work: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await asyncio.wait_for(work, _CLUSTER_S)
    except (TimeoutError, KafkaError, TransientError) as error:
        return [Finding(check, "skipped", f"the broker gave no answer to this ({type(error).__name__})")]
    except PRODUCT as error:
        return [fault(check, str(error))]
    except Exception as error:  # noqa: BLE001 - as above
        return [_unexpected(check, error)]


def _unexpected(check: Check, error: Exception) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Finding(check, "skipped", f"this could not be checked: unexpected {type(error).__name__}{place}", "please report it")

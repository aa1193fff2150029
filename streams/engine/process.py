"""One stage as a running process: connections, group, runner, read models, status server, and an orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NoReturn

from aiokafka.errors import ClusterAuthorizationFailedError, GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from streams import topics
from streams.backoff import Backoff, retry
from streams.engine.assembly import assemble
from streams.engine.handler import StageSpec
from streams.engine.health import Health
from streams.engine.outputs import Outputs
from streams.engine.parts import Broker, Fetcher, MakeMember, Member, StageParts
from streams.engine.runner import Runner
from streams.engine.status_server import StatusServer
from streams.errors import BrokerUnavailable, ConfigurationError, FatalError, TransientError
from streams.files import private_folder
from streams.settings import Settings

log = logging.getLogger(__name__)

_STOP_S = 20.0
"""How long an orderly stop waits for batches that are being applied."""
_STOP_STUCK_S = 2.0
"""The same where something is being tried in vain anyway."""
_CLOSE_S = 6.0
"""How long each connection may take to close."""
_OBSERVE_S = 2.0
_WARM_UP_S = 5.0
_WARM_UP_PAUSE_S = 0.2
_UPKEEP_S = 1.0
_LOOK_AT_TOPICS_S = 10.0
_LOOK_AT_RIGHTS_S = 10.0
_CHANGING_RIGHTS_S = 3.0
_REFUSALS = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)


class StageProcess:
    """Runs one stage until it is stopped or a fatal error happens."""

    def __init__(
        self,
        parts: StageParts,
        settings: Settings,
        *,
        make_broker: Callable[[StageSpec], Broker],
        make_member: MakeMember,
        no_broker: Callable[[BaseException], Awaitable[BrokerUnavailable]],
        find_refusal: Callable[[], Awaitable[FatalError | None]],
    ) -> None:
        """``find_refusal`` asks the broker which rights the stage lacks: the error to end with, None if none. It raises TransientError."""
        self._parts = parts
        self._settings = settings
        self._make_broker = make_broker
        self._make_member = make_member
        self._no_broker = no_broker
        self._find_refusal = find_refusal
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._member: Member | None = None
        self._runner: Runner | None = None
        self._health: Health | None = None
        self._has_followed = False
        self._has_begun = False
        self._tasks: list[asyncio.Task[None]] = []
        self.left_behind = False
        """Something did not close in time, and may keep the interpreter from ending: use ``leave``."""

    async def run(self, stop: asyncio.Event, loaded: Callable[[], None] = lambda: None) -> None:
        """Returns after an orderly stop; raises what made the stage fail. ``loaded`` is called when models and read models are
        there and the first batch is not."""
        parts, settings = self._parts, self._settings
        spec = parts.spec
        broker = self._make_broker(spec)
        status = StatusServer(
            parts.registry, host=settings.metrics_host, port=settings.metrics_port, alive=self._why_not_alive, ready=self._why_not_ready
        )
        fetcher: Fetcher | None = None
        try:
            make_state_folder(Path(settings.state_dir) / spec.name)
            await self._connect(broker)
            await self._check_rights()
            counts = await self._check_topics(broker)
            if parts.journal is not None:
                await parts.journal.begin()
                self._has_begun = True
            await status.start()
            log.info("%s: metrics on port %d", spec.name, status.port)
            for follower in parts.followers:
                await follower.start(counts[follower.topic.removeprefix(settings.topic_prefix)])
            loaded()
            fetcher, member, runner = assemble(
                parts,
                settings,
                broker,
                self._make_member,
                partitions=counts[spec.sources[0]],
                fail=self._fail,
                catch_up=self._catch_up,
            )
            self._member, self._runner = member, runner
            if member.changelog is not None:
                await broker.grow(member.changelog, counts[spec.sources[0]])
            if parts.state is not None and parts.state.topic is not None:
                await broker.make_compacted(parts.state.topic, counts[spec.sources[0]], settings.replication)
            self._health = Health(parts.metrics, runner, member, fetcher, broker.outputs, parts.followers, asyncio.get_running_loop().time)
            await self._warm_up(broker.outputs)
            fetcher.start()
            await member.start()
            self._start_loops(broker, runner, counts)
            log.info("%s: started", spec.name)
            await self._wait(stop, member, fetcher)
            log.info("%s: stopping", spec.name)
        except TransientError as error:
            self._fail(await self._no_broker(error))
        except _REFUSALS as error:
            self._fail(await self._why(error))
        except Exception as error:  # noqa: BLE001 - it is raised when everything has stopped, and the journal has it
            self._fail(error)
        finally:
            await self._shut_down(broker, fetcher, status)
        if self._failure is not None:
            raise self._failure

    async def _warm_up(self, outputs: Outputs) -> None:
        """A broker that was just started, or topics that were just made, need a moment; the first record can wait as well."""
        backoff = Backoff(_WARM_UP_PAUSE_S, _WARM_UP_PAUSE_S)
        with contextlib.suppress(TransientError):
            await retry(lambda: outputs.warm_up(self._parts.spec.outputs), transient=TransientError, backoff=backoff, deadline_s=_WARM_UP_S)

    def _start_loops(self, broker: Broker, runner: Runner, counts: Mapping[str, int]) -> None:
        spec = self._parts.spec
        self._every(self._settings.commit_interval_s, runner.commit)
        if spec.timer_s is not None:
            self._every(spec.timer_s, runner.request_timers)
        if self._health is not None:
            self._every(_OBSERVE_S, self._health.observe)
        self._every(_OBSERVE_S, runner.renew_idle)
        if self._parts.state is not None:
            self._every(_UPKEEP_S, runner.request_upkeep)

        async def look_at_topics() -> None:
            names = [self._settings.topic_prefix + name for name in spec.sources]
            try:
                found = await broker.partition_counts(names)
            except TransientError:
                return  # the broker is away: whoever reads or writes tells
            for name in spec.sources:
                now = found.get(self._settings.topic_prefix + name, counts[name])
                if now > counts[name]:
                    raise FatalError(f"{name} has {now} partitions now, {counts[name]} before: restart the workers to process all of them")

        self._every(_LOOK_AT_TOPICS_S, look_at_topics)
        self._every(_LOOK_AT_RIGHTS_S, self._look_at_rights)

    def _every(self, seconds: float, action: Callable[[], object]) -> None:
        """Call it again and again; what it raises ends the process."""

        async def repeat() -> None:
            try:
                while True:
                    await asyncio.sleep(seconds)
                    done = action()
                    if isinstance(done, Awaitable):
                        await done
            except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
                self._fail(error)

        self._tasks.append(asyncio.create_task(repeat()))

    async def _catch_up(self, partition: int) -> None:
        """A partition's first batch waits for the read models; the popularity that its last owner wrote lies in the partition
        of the same number."""
        for follower in self._parts.followers:
            await follower.caught_up(None if not self._has_followed else partition)
        self._has_followed = True

    async def _connect(self, broker: Broker) -> None:
        try:
            await broker.start()
        except (KafkaError, OSError) as error:
            raise await self._no_broker(error) from error

    async def _check_topics(self, broker: Broker) -> dict[str, int]:
        spec = self._parts.spec
        prefix = self._settings.topic_prefix
        names = dict.fromkeys((*spec.sources, *spec.outputs, *spec.follows))
        found = await broker.partition_counts([prefix + name for name in names])
        missing = [prefix + name for name in names if prefix + name not in found]
        if missing:
            raise ConfigurationError(
                f"topics are missing, or may not be read with these credentials: {', '.join(missing)}; run `veilstream topics create`"
            )
        counts = {name: found[prefix + name] for name in names}
        aligned = {name: count for name, count in counts.items() if name in topics.BY_NAME and topics.BY_NAME[name].co_partitioned}
        sources = {name: counts[name] for name in spec.sources}
        if len(set(sources.values())) > 1:
            raise ConfigurationError(f"the topics that a stage reads need the same number of partitions: {sources}")
        if spec.aligned and len(set(aligned.values())) > 1:
            raise ConfigurationError(f"these topics need the same number of partitions: {aligned}; see `veilstream topics check`")
        return counts

    async def _check_rights(self) -> None:
        """Raises AccessDenied, which names what is missing: what the broker refuses later would be one thing at a time. A broker that is
        away is for whoever reads or writes to tell."""
        with contextlib.suppress(TransientError):
            refusal = await self._find_refusal()
            if refusal is not None:
                raise refusal

    async def _look_at_rights(self) -> None:
        """A right may be taken away at any time. Rights that are being changed are given a moment."""
        try:
            await self._check_rights()
        except FatalError:
            await asyncio.sleep(_CHANGING_RIGHTS_S)
            await self._check_rights()

    async def _why(self, failure: BaseException) -> BaseException:
        """What the client raises for a missing right names neither the right nor what to do."""
        if not isinstance(failure, _REFUSALS):
            return failure
        refusal: FatalError | None = None
        with contextlib.suppress(TransientError):
            refusal = await self._find_refusal()
        return failure if refusal is None else refusal

    async def _wait(self, stop: asyncio.Event, member: Member, fetcher: Fetcher) -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._failed.wait())]
        try:
            while not any(wait.done() for wait in waits):
                await asyncio.wait(waits, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                for failure in (member.failure, fetcher.failure, *(getattr(f, "failure", None) for f in self._parts.followers)):
                    if failure is not None:
                        self._fail(await self._why(failure))
        finally:
            for wait in waits:
                wait.cancel()

    async def _shut_down(self, broker: Broker, fetcher: Fetcher | None, status: StatusServer) -> None:
        self._parts.metrics.ready.set(0)
        for task in self._tasks:
            task.cancel()
        runner, member = self._runner, self._member
        if runner is not None and self._failure is None:
            is_stuck = self._health is not None and self._health.is_stuck
            for worker in runner.workers.values():
                worker.drain()
            if not await runner.idle(_STOP_STUCK_S if is_stuck else _STOP_S):
                log.warning("%s: unfinished batches are interrupted; they will be processed again", self._parts.spec.name)
            await self._bounded("the last commit", runner.commit())
        stops: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        if fetcher is not None:
            stops.append(("fetching", fetcher.stop))
        if runner is not None:
            runner.stop()
        if member is not None:
            stops.append(("the group", member.stop))
        stops += [(f"the follower of {f.topic}", f.stop) for f in self._parts.followers]
        journal = self._parts.journal
        if journal is not None and self._has_begun:
            stops.append(("the audit", functools.partial(journal.end, self._failure)))
        stops += [("the connections", broker.stop), ("the status server", status.stop)]
        stops += [("a model", close) for close in self._parts.closers]
        for name, stop in stops:
            await self._bounded(name, stop())

    async def _bounded(self, name: str, work: Awaitable[object]) -> None:
        """Wait for something at the end, but not for ever: without a broker some of it would never come back."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait([task], timeout=_CLOSE_S)
        if not done:
            log.warning("%s: %s did not end in time; the process ends without it", self._parts.spec.name, name)
            self.left_behind = True
        elif not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: stopping %s failed: %s", self._parts.spec.name, name, type(error).__name__)
            if not isinstance(error, (TransientError, KafkaError, OSError)):
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._failed.set()

    def _why_not_alive(self) -> str | None:
        return None if self._failure is None else f"failed: {type(self._failure).__name__}"

    def _why_not_ready(self) -> str | None:
        if self._failure is not None:
            return self._why_not_alive()
        if self._member is None or not self._member.is_started or self._health is None:
            return "starting"
        if self._member.is_moving:
            return "recovering"
        return self._health.why_not_ready()


def make_state_folder(folder: Path) -> None:
    """Where a stage keeps what it knows of shoppers: nobody else may look into it. Raises ConfigurationError if it can't be made."""
    try:
        private_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"the state folder {folder} can't be made ({error.strerror}); set VEILSTREAM_STATE_DIR") from None


def leave(code: int) -> NoReturn:
    """End the interpreter now, whatever was left behind."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

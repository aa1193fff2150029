"""The trainer's process: stores pairs and feedback, runs one round at a time in a child process, and decides canaries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any

from prometheus_client import CollectorRegistry

from streams.audit.actions import ERASED, erasure_details
from streams.audit.run_log import RunLog
from streams.backoff import is_set_within
from streams.clock import Clock
from streams.engine.metrics import tell_build
from streams.engine.status_server import StatusServer
from streams.errors import PRODUCT, FatalError, TransientError, VeilstreamError
from streams.privacy.key_folder import key_folder
from streams.privacy.moves import moves_reader
from streams.serde.records import Forgotten
from streams.settings import KafkaSettings, Settings
from streams.stages.profile.moves import ProfileMove
from streams.training.announcer import Announcer, incumbent_of
from streams.training.catalogue_reader import send_control
from streams.training.consumer import TrainerConsumer
from streams.training.erasure_watch import ErasureWatch
from streams.training.lineage import Learnt, Lineage
from streams.training.metrics import TrainerMetrics
from streams.training.requests import answer
from streams.training.retention import prune_folder
from streams.training.rollout import CanaryRule
from streams.training.round_directory import RoundDirectory, read_json
from streams.training.round_process import TRY_AGAIN, bounds, retention
from streams.training.row_seal import row_seal
from streams.training.store import PairStore
from streams.training.torchrun import command

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_CANARY_S = 10.0
_GRACE_S = 3.0
_AGAIN_S = 30.0
_LOOK_AT_RIGHTS_S = 10.0
_CHANGING_RIGHTS_S = 3.0
_TOLD = 20
"""Versions that a receipt names."""
_ATTEMPTS = 3
"""A round whose process was killed so often is given up."""


class TrainerService:
    """The trainer's service. After a restart it continues where it stopped, because all its state is in the folder and the topics."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaSettings,
        clock: Clock,
        find_refusal: Callable[[], Awaitable[FatalError | None]],
        audit: RunLog | None = None,
    ) -> None:
        """``find_refusal`` asks the broker which rights the trainer lacks: the error to end with, None if none. ``audit`` is told every
        announcement and every request to forget. Raises ConfigurationError if a key is missing."""
        self._settings, self._kafka, self._clock = settings, kafka, clock
        self._find_refusal = find_refusal
        self._rule = CanaryRule(min_each=settings.trainer_canary_recommendations)
        self._shop = RoundDirectory(settings.trainer_dir)
        self._audit = audit
        self._announcer = Announcer(settings, kafka, clock, audit)
        self.registry = CollectorRegistry()
        tell_build(self.registry)
        self._metrics = TrainerMetrics(self.registry)
        self._erasures = ErasureWatch(settings, kafka, clock)
        self._metrics.watch_erasures(self._erasures.count, self._erasures.seconds)
        self._ready = False
        self._begin_anew = False
        self._undecided = True
        """Whether a canary is served. True until the topic has been read."""
        self._http = StatusServer(
            self.registry,
            host=settings.metrics_host,
            port=settings.metrics_port,
            alive=lambda: None,
            ready=lambda: None if self._ready else "the topics are not followed yet",
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set, which takes some seconds at most, or something fatal: raised."""
        with self._shop.alone():
            moves = moves_reader(key_folder(self._settings))
            store = PairStore(self._shop.root, bounds(self._settings), row_seal(self._settings), moves=moves.sealer)
            sealed = store.tidy()
            if sealed:
                log.info("%d rows of the store were sealed anew under the current state key", sealed)
            if moves.sealer is None:
                store.end_moves()
            told = (self._removed, self._forgotten, self._moved)
            intake = TrainerConsumer(self._settings, self._kafka, store, self._metrics, *told, moves=moves)
            try:
                await self._http.start()
                await self._check_rights()
                await intake.start()
                self._ready = True
                log.info("following the topics; %d pairs are in the store", len(store))
                await self._retried(stop, self._tidy)
                await _together(
                    stop,
                    [
                        intake.run,
                        self._erasures.run,
                        lambda s: self._rounds(s, intake, store),
                        lambda s: self._canary(s, intake, store),
                        self._watch_rights,
                    ],
                )
            finally:
                self._ready = False
                await intake.stop()
                await self._http.stop()
                store.close()

    def forget(self, store: PairStore, pseudonym: str) -> int:
        """Remove a shopper's pairs and return their number. A running round starts again without them."""
        removed = store.forget(pseudonym)
        self._removed(removed)
        return removed

    async def _forgotten(self, requests: Sequence[Forgotten]) -> None:
        whole = {request["pseudonym"] for request in requests if request["item_id"] is None}
        with closing(Lineage(self._shop.root)) as lineage:
            learnt = lineage.of(whole)
            for request in requests:
                details = erasure_details(request["request_id"], request["item_id"]) | {"requested_at": str(request["requested_at"])}
                if request["item_id"] is None:
                    details |= _learnt_details(learnt[request["pseudonym"]], self._settings.trainer_after_erasure)
                if self._audit is not None:
                    await self._audit.append(ERASED, request["pseudonym"], details)
            lineage.forget(whole)  # after it is told: what is told once more finds nobody

    def _moved(self, moves: Sequence[ProfileMove]) -> None:
        """Which versions learnt from somebody is known under her new pseudonym from now on; of who is forgotten it is no longer."""
        with closing(Lineage(self._shop.root)) as lineage:
            for one in moves:
                if one.what == "forget" and one.item_id is None:
                    lineage.forget([one.old])
                elif one.is_same and one.item_id is None:
                    lineage.move(one.old, one.new)

    def _removed(self, count: int) -> None:
        """What was removed from the store is in a running round too."""
        self._begin_anew = self._begin_anew or (count > 0 and self._shop.request is not None and self._shop.outcome is None)

    async def _check_rights(self) -> None:
        """Raises AccessDenied, which names what is missing. A broker that is away is for whoever reads to tell."""
        with contextlib.suppress(TransientError):
            refusal = await self._find_refusal()
            if refusal is not None:
                raise refusal

    async def _watch_rights(self, stop: asyncio.Event) -> None:
        """A right may be taken away at any time. Rights that are being changed are given a moment."""
        while not await is_set_within(stop, _LOOK_AT_RIGHTS_S):
            try:
                await self._check_rights()
            except FatalError:
                await is_set_within(stop, _CHANGING_RIGHTS_S)
                await self._check_rights()

    async def _rounds(self, stop: asyncio.Event, intake: TrainerConsumer, store: PairStore) -> None:
        while not stop.is_set():
            if self._shop.outcome is not None:
                await self._retried(stop, lambda: self._conclude(intake, store))
            elif self._shop.request is not None:
                await self._retried(stop, lambda: self._child(stop))
            elif intake.requests and intake.caught_up and not self._undecided:
                # A new model now would replace the canary, which could then never be decided.
                await self._retried(stop, lambda: self._begin(intake.requests[0], store))
            else:
                await is_set_within(stop, _LOOK_S)

    async def _begin(self, request: dict[str, Any], store: PairStore) -> None:
        self._shop.begin(request, up_to=store.last())
        log.info("round %s begins: %s", request["request_id"], request["reason"])
        with contextlib.suppress(VeilstreamError):  # it is told again at the end; the round itself does not wait for it
            await send_control(answer(request, "started", request["reason"], self._clock.now_ms()), self._settings, self._kafka)

    async def _conclude(self, intake: TrainerConsumer, store: PairStore) -> None:
        ended = (self._shop.request or {}).get("request_id")
        state = (self._shop.outcome or {}).get("state", "failed")
        await conclude(self._settings, self._kafka, self._shop, self._announcer, self._clock, store)
        # Its end on the topic comes back later than we look for the next one.
        intake.requests = [waiting for waiting in intake.requests if waiting["request_id"] != ended]
        self._metrics.rounds.labels(state).inc()
        await self._tidy()
        await self._look_at_canary(intake, store)  # from its first recommendation on

    async def _tidy(self) -> None:
        """Remove what is kept no longer, here and in the store of models."""
        for path in await asyncio.to_thread(prune_folder, self._shop.root, retention(self._settings)):
            log.info("%s was kept long enough, and is removed", path)
        left = await self._announcer.expire()
        with closing(Lineage(self._shop.root)) as lineage:
            lineage.keep_only(left)

    async def _child(self, stop: asyncio.Event) -> None:
        """A round's process, from its beginning or its last checkpoint, until it has ended or we must."""
        attempts = int((self._shop.request or {}).get("attempts", 0)) + 1
        self._shop.note(attempts=attempts)
        environment = dict(os.environ)
        if self._settings.trainer_threads:
            environment |= {"OMP_NUM_THREADS": str(self._settings.trainer_threads)}
        child = await asyncio.create_subprocess_exec(sys.executable, *command(self._settings.trainer_processes), env=environment)
        self._metrics.training.set(1)
        ended, stopped = asyncio.ensure_future(child.wait()), asyncio.ensure_future(stop.wait())
        try:
            while not (ended.done() or stopped.done() or self._begin_anew):
                await asyncio.wait((ended, stopped), timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                self._metrics.progress(read_json(self._shop.round / "progress.json") or {})
        finally:
            stopped.cancel()
            await _end(child)
            self._metrics.training.set(0)
        if self._begin_anew:
            self._begin_anew = False
            self._shop.restart()
            self._shop.note(attempts=0)
        elif child.returncode == TRY_AGAIN and self._shop.outcome is None:
            self._shop.note(attempts=attempts - 1)
            log.warning("the round waits (see the message before), then it continues")
            await is_set_within(stop, _AGAIN_S)
        elif stop.is_set() and self._shop.outcome is None:
            self._shop.note(attempts=attempts - 1)  # we stopped it ourselves
        elif self._shop.outcome is None and attempts >= _ATTEMPTS:
            code = child.returncode or 0
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            self._shop.end({"state": "failed", "reason": f"the round's process ended {attempts} times ({how}); is there enough memory?"})

    async def _canary(self, stop: asyncio.Event, intake: TrainerConsumer, store: PairStore) -> None:
        while not stop.is_set():
            await self._retried(stop, lambda: self._look_at_canary(intake, store))
            await is_set_within(stop, _CANARY_S)

    async def _look_at_canary(self, intake: TrainerConsumer, store: PairStore) -> None:
        channels = await self._announcer.channels()
        stable, canary = channels.current("stable"), channels.current("canary")
        if canary is not None and stable is not None and canary.model_version == stable.model_version:
            await self._announcer.end_canary(canary.model_version, "promoted")  # a kill came between the two announcements
            canary = None
        self._undecided = canary is not None
        served = incumbent_of(channels)
        if canary is None or served is None:
            return
        incumbent, candidate, since_ms = served
        intake.tally.watch(incumbent, candidate, since_ms)
        outcome = intake.tally.outcome(self._clock.now_ms(), self._rule)
        store.advance({}, {"tally": intake.tally.dump()})
        if outcome is None:
            return
        for bound, value in (("mean", outcome.difference), ("low", outcome.low), ("high", outcome.high)):
            self._metrics.canary.labels(bound).set(value)
        if outcome.action == "promote":
            log.info("%s is promoted: %s", candidate, outcome.reason)
            await self._announcer.put(candidate, outcome.reason, share=0.0)
        elif outcome.action != "go on":
            log.info("%s is withdrawn: %s", candidate, outcome.reason)
            await self._announcer.end_canary(candidate, outcome.reason)
        self._undecided = outcome.action == "go on"

    async def _retried(self, stop: asyncio.Event, act: Callable[[], Awaitable[None]]) -> None:
        """A broker or store that is away for a while, or a full disk, ends nothing."""
        try:
            await act()
        except (VeilstreamError, OSError) as error:
            self._metrics.retries.inc()
            log.warning("%s; trying again", error)
            await is_set_within(stop, _CANARY_S)


async def conclude(
    settings: Settings, kafka: KafkaSettings, shop: RoundDirectory, announcer: Announcer, clock: Clock, store: PairStore
) -> None:
    """Announce the version of a round, publish its end, keep its report. If interrupted, it is repeated with the same effect."""
    request, outcome = shop.request or {}, shop.outcome or {}
    version = outcome.get("version")
    if version is not None and not outcome.get("announced"):
        stable = (await announcer.channels()).current("stable")
        if stable is not None and stable.model_version not in (outcome["parent"], version):
            reason = f"{stable.model_version} serves meanwhile, and the new model was judged beside {outcome['parent']}"
            outcome = {**outcome, "state": "failed", "reason": reason, "version": None}
            version = None
        else:
            await announcer.put(version, outcome["verdict"], share=settings.trainer_canary_share)
            store.advance({}, {"learnt_until": outcome["data_to"]})
            outcome = {**outcome, "announced": True}
        shop.end(outcome)  # what comes after it may be done again, this must not: the canary may be decided by then
    record = answer(
        request,
        "finished" if outcome["state"] == "finished" else "failed",
        outcome["reason"],
        clock.now_ms(),
        version=version,
        verdict=outcome.get("verdict", ""),
        pairs=outcome.get("pairs", 0),
    )
    await send_control(record, settings, kafka)
    requests = [waiting for waiting in (store.state("requests") or []) if waiting["request_id"] != request["request_id"]]  # type: ignore[attr-defined]
    store.advance({}, {"requests": requests})
    kept = shop.archive()
    log.info("round %s %s: %s %s (%s)", request["request_id"], record["state"], record["reason"], record["verdict"], kept)


def _learnt_details(learnt: Learnt, then: str) -> dict[str, str]:
    """Which versions learnt from somebody, the last ones, and what becomes of them."""
    found = {"models": ",".join(learnt.directly[-_TOLD:]), "models_made_from_these": ",".join(learnt.by_descent[-_TOLD:])}
    shown = {name: versions for name, versions in found.items() if versions}
    return shown | {"then": then} if shown else {}


async def _together(stop: asyncio.Event, parts: list[Callable[[asyncio.Event], Awaitable[None]]]) -> None:
    """All until stopped; the first that fails stops the others, and is raised."""
    tasks = [asyncio.ensure_future(part(stop)) for part in parts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, PRODUCT):
            raise result
        if isinstance(result, BaseException):
            raise FatalError(f"the trainer failed ({type(result).__name__}); start it again; it continues where it stopped") from result


async def _end(child: asyncio.subprocess.Process) -> None:
    """Its last checkpoint is on the disk; there is nothing that it must still do."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), _GRACE_S)
        except TimeoutError:
            child.kill()
            await child.wait()

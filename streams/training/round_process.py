"""Does the running round in its own process: everything except its records at the broker."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.clock import Clock
from streams.errors import PRODUCT, TransientError
from streams.models.registry.channels import current_channels
from streams.models.registry.fetching import fetch_announced
from streams.models.registry.store import ModelStore
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import load_model_signing_key, load_model_verify_key
from streams.ranking.serving_params import ServingParams
from streams.settings import KafkaSettings, Settings
from streams.training.cases import old_slice, propensities
from streams.training.catalogue_reader import read_items
from streams.training.lineage import Lineage
from streams.training.release import publish, publish_base
from streams.training.retention import Retention
from streams.training.reward_tally import RewardTally
from streams.training.round import Judged, Material, run_round
from streams.training.round_directory import RoundDirectory, read_json, write_json
from streams.training.row_seal import row_seal
from streams.training.rules import RoundRules, fitted_by_settings
from streams.training.store import Bounds, PairStore
from streams.training.time_slices import OldSlice

if TYPE_CHECKING:
    from encoders.finetune.progress import Progress

log = logging.getLogger(__name__)
_TELL_S = 1.0
TRY_AGAIN = 75
"""Exit code of a round's process that something temporary stopped (EX_TEMPFAIL): what is done by then is kept."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Base(NamedTuple):
    """The model that serves, from which a round begins."""

    folder: Path
    name: str
    """Of the model that everything began with."""
    version: str | None
    """None if nothing was promoted yet; then the model of the settings serves."""
    fitted: ServingParams


def bounds(settings: Settings) -> Bounds:
    return Bounds(settings.trainer_max_pairs, round(settings.trainer_max_age_days * 86_400_000))


def retention(settings: Settings) -> Retention:
    return Retention(rounds=settings.trainer_keep_rounds, days=settings.trainer_keep_days)


def do_round(
    settings: Settings, kafka: KafkaSettings, shop: RoundDirectory, clock: Clock, on_progress: Callable[[Progress], None] | None = None
) -> dict[str, Any]:
    """Train, judge, publish; the outcome, which is in the workshop then. Whatever fails for good becomes an outcome with its reason: the
    old model serves on. A kill leaves no outcome, and the round is gone on with; so does what is temporary.

    Raises TransientError if broker or store are away or the disk is full.
    """
    with shop.working():
        if shop.request is None or shop.outcome is not None:
            return shop.outcome or {}  # whom we waited for has ended it
        try:
            outcome = _done(settings, kafka, shop, clock, on_progress)
        except TransientError:
            raise
        except PRODUCT as error:
            outcome = {"state": "failed", "reason": str(error)}
        except OSError as error:
            if error.errno in _FULL:
                raise TransientError(f"the disk of {shop.root} is full; free some space, then the round continues") from error
            outcome = {
                "state": "failed",
                "reason": f"{error.strerror or type(error).__name__}; free some space or look at {shop.root}'s rights",
            }
        except Exception as error:  # whatever a library raises must be told on the topic, by its kind alone
            log.exception("the round failed")
            outcome = {"state": "failed", "reason": f"unexpected {type(error).__name__}; the trainer's log has the rest"}
        shop.end(outcome)
        return outcome


def _done(
    settings: Settings, kafka: KafkaSettings, shop: RoundDirectory, clock: Clock, on_progress: Callable[[Progress], None] | None
) -> dict[str, Any]:
    request = shop.request or {}
    base = asyncio.run(serving_base(settings, kafka, shop))
    with closing(Lineage(shop.root)) as lineage:
        begin = beginning(settings, base, lineage, shop.cache)
    known = [base.version, base.name, begin.version] if begin is not None else [base.version, base.name]
    if request.get("base") not in (None, known):
        log.warning("the model that the round begins with has changed since it began: the round starts again")
        shop.restart()
    shop.note(base=known)
    items = asyncio.run(read_items(settings, kafka))
    store = PairStore(shop.root, bounds(settings), row_seal(settings))
    try:
        pairs = store.read(request.get("up_to"))
        old = store.state("old_slice")
        if old is None and pairs:
            old = list(old_slice(pairs))
            store.advance({}, {"old_slice": old})
        material = Material(
            pairs=pairs,
            items=items,
            serving=base.fitted,
            propensity=propensities(RewardTally.load(store.state("tally")).seen),
            old=None if old is None else OldSlice(*old),  # type: ignore[misc]
            newest_from_ms=store.state("learnt_until"),  # type: ignore[arg-type]
            logs=store.read_logs(),
            begin=None if begin is None else begin.folder,
        )
        with closing(Lineage(shop.root)) as lineage:
            lineage.begin({pair["pseudonym"] for pair in pairs} | {one["pseudonym"] for one in material.logs})
    finally:
        store.close()
    seal = row_seal(settings)
    try:
        judged = run_round(shop.round, base.folder, material, RoundRules.from_settings(settings), _reporting(shop, on_progress), seal)
    finally:
        if seal is not None:
            seal.close()
    if judged.promote:
        with closing(Lineage(shop.root)) as lineage:
            if base.version is None:
                lineage.learnt_from_nobody(judged.parent)
            lineage.made(judged.version, judged.parent if begin is None or not judged.trained else begin.version)
    return _published(settings, shop, base, judged, clock)


class Beginning(NamedTuple):
    """The model that training begins with in the place of the one that serves."""

    folder: Path
    version: str | None
    """None for the model of the settings, that nobody was learnt from."""


def beginning(settings: Settings, base: Base, lineage: Lineage, cache: Path) -> Beginning | None:
    """None where training begins with what serves: always, unless the settings say that a round shall not begin with a version that
    learnt from somebody who is to be forgotten. Raises as the registry does."""
    from encoders.folder import locate

    if settings.trainer_after_erasure == "accept" or base.version is None:
        return None
    clean = lineage.clean_ancestor(base.version)
    if clean == base.version:
        return None
    store = ModelStore(settings.models)
    if clean is None or clean not in store.list_versions():
        log.info("%s or one before it learnt from somebody who is forgotten: training begins with %s", base.version, settings.model)
        return Beginning(locate(settings.model), None)
    log.info("%s or one before it learnt from somebody who is forgotten: training begins with %s", base.version, clean)
    return Beginning(store.fetch(clean, cache, load_model_verify_key(key_folder(settings) / "models.pub")), clean)


def _published(settings: Settings, shop: RoundDirectory, base: Base, judged: Judged, clock: Clock) -> dict[str, Any]:
    outcome = {"state": "finished", "verdict": judged.summary, "pairs": judged.pairs, "data_to": judged.data_to, "parent": judged.parent}
    if not judged.promote:
        return {**outcome, "version": None, "reason": "the model that serves stays"}
    key = load_model_signing_key(key_folder(settings) / "models.key")
    store = ModelStore(settings.models)
    now_ms = clock.now_ms()
    if base.version is None:
        # Else there would be no version to roll back to.
        publish_base(base.folder, judged, base.fitted, store, key, base=base.name, now_ms=now_ms)
    manifest = publish(shop.round, judged, store, key, base=base.name, now_ms=now_ms)
    return {**outcome, "version": manifest.model_version, "reason": "a better model"}


async def serving_base(settings: Settings, kafka: KafkaSettings, shop: RoundDirectory) -> Base:
    """What stable serves; where nothing was promoted, the settings' model. Raises as the registry does."""
    from encoders.folder import locate

    key = load_model_verify_key(key_folder(settings) / "models.pub")
    channels = await current_channels(settings, kafka, key)
    stable = channels.current("stable")
    if stable is None:
        return Base(locate(settings.model), settings.model, None, fitted_by_settings(settings))
    folder, manifest = await asyncio.to_thread(fetch_announced, stable, shop.cache, key)
    serving = manifest.serving if stable.serving is None else stable.serving
    return Base(folder, manifest.base, stable.model_version, serving)


def _reporting(shop: RoundDirectory, on_progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """Write the progress to TensorBoard, to a small file for the service, and to the caller."""
    from dataclasses import asdict

    from encoders.finetune.progress import TensorBoard

    tensorboard = TensorBoard(shop.root / "tensorboard" / str((shop.request or {}).get("request_id", "once")))
    told_at = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told_at
        tensorboard.write(progress)
        if time.monotonic() - told_at >= _TELL_S or progress.validation is not None:
            told_at = time.monotonic()
            last = (read_json(shop.round / "progress.json") or {}).get("validation")
            now = asdict(progress)
            write_json(shop.round / "progress.json", {**now, "validation": last if progress.validation is None else progress.validation})
        if on_progress is not None:
            on_progress(progress)

    return tell

"""Loads the model of an announcement into memory, off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nacl.signing import VerifyKey

from encoders.threads import lower_priority
from streams.errors import SETUP, ConfigurationError, ModelRefused, Refusal, TransientError
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.registry.announcement import Announcement
from streams.models.registry.expiry import expire_copies
from streams.models.registry.fetching import fetch_announced
from streams.models.registry.folder import folder_manifest
from streams.models.registry.manifest import Manifest
from streams.models.registry.store import ModelStore

if TYPE_CHECKING:
    from encoders.batching.micro_batcher import EncodesTexts

log = logging.getLogger(__name__)
R = TypeVar("R")


class ModelLoader:
    """Loads one model at a time, in a thread that gives way to the event loop."""

    def __init__(
        self, load: Callable[[str], EncodesTexts], base: str, cache_folder: Path, key: VerifyKey | None, metrics: ModelMetrics
    ) -> None:
        """``load`` is given a folder or ``base``, the model of VEILSTREAM_MODEL. ``key`` None: only the base is ever loaded."""
        self._load = load
        self._base = base
        self._cache = cache_folder
        self._key = key
        self._metrics = metrics
        self._refused: set[tuple[str, int]] = set()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="load model", initializer=lower_priority)

    async def base(self) -> EncodesTexts:
        """Raises ConfigurationError if it can't be loaded."""
        return await self._off_loop(lambda: self._load(self._base))

    async def announced(self, announcement: Announcement) -> EncodesTexts | None:
        """None if the model is refused. This is logged, counted and remembered. Raises TransientError if the store is away."""
        identity = (announcement.model_version, announcement.announced_at)
        if identity in self._refused:
            return None
        try:
            encoder = await self._off_loop(lambda: self._fetch_and_load(announcement))
        except ModelRefused as error:
            self._refused.add(identity)
            self._metrics.refused(error.refusal.value)
            log.error("models: %s on %s: %s; the served models do not change", announcement.model_version, announcement.channel, error)
            return None
        log.info("models: %s loaded", announcement.model_version)
        return encoder

    async def at_start(self, announcement: Announcement) -> EncodesTexts | None:
        """Like ``announced``, but also None if the store is away. A starting worker then serves with a model that it can get."""
        try:
            return await self.announced(announcement)
        except TransientError as error:
            log.warning("models: %s is not there yet: %s", announcement.model_version, error)
            return None

    async def parent(self, announcement: Announcement) -> Announcement | None:
        """The announcement that the parent would have, if it is in the same store and can be verified."""
        parent = announcement.parent
        if parent is None:
            return None
        root = announcement.location.rstrip("/").rpartition("/")[0]
        try:
            manifest = await self._off_loop(lambda: self._fetch(root, parent))
        except (ModelRefused, TransientError, ConfigurationError) as error:
            log.warning("models: %s, the parent of %s, is not used: %s", parent, announcement.model_version, error)
            return None
        return replace(
            announcement,
            model_version=parent,
            location=f"{root}/{parent}",
            sha256=dict(manifest.files),
            dimension=manifest.dimension,
            serving=manifest.serving,
            parent=manifest.parent,
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, root: str, version: str) -> Manifest:
        folder = ModelStore(root).fetch(version, self._cache, self._verify_key())
        return folder_manifest(folder)

    def _fetch_and_load(self, announcement: Announcement) -> EncodesTexts:
        version = announcement.model_version
        try:
            key = self._verify_key()
            try:
                folder, _ = fetch_announced(announcement, self._cache, key)
            except ConfigurationError as error:
                # An announced version that the store lacks: an empty mount point looks like that. It is asked again.
                raise TransientError(str(error)) from error
            encoder = self._load(str(folder))
        except SETUP as error:
            raise ModelRefused(Refusal.MALFORMED, str(error)) from error
        if (encoder.version, encoder.dimension) == (version, announcement.dimension):
            for gone in expire_copies(self._cache, needed=(version,)):
                log.info("the copy of %s was not used for a month and is removed", gone)
            return encoder
        encoder.close()
        if encoder.version == version:
            raise ModelRefused(
                Refusal.DIMENSION, f"its vectors have {encoder.dimension} dimensions, not {announcement.dimension}; add it again"
            )
        raise ModelRefused(Refusal.OTHER_CONTENT, f"the files belong to version {encoder.version}, not {version}; add the model again")

    def _verify_key(self) -> VerifyKey:
        if self._key is None:
            raise ConfigurationError("models.pub is missing, so no model can be verified; run `veilstream keys generate --only models`")
        return self._key

    async def _off_loop(self, function: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

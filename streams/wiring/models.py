"""Constructs the models' objects of a worker, for the composition root."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry

from streams import topics
from streams.clock import Clock
from streams.engine.followers import Follower
from streams.engine.ports import CandidateScan, FloatArray
from streams.engine.records import SourceRecord
from streams.errors import SETUP, ConfigurationError
from streams.models.hotswap.announced import Announced, AnnouncedModels, NothingAnnounced
from streams.models.hotswap.built_model import BuiltModel
from streams.models.hotswap.catalogue_models import CatalogueModels
from streams.models.hotswap.completeness import FIELDS, Completeness
from streams.models.hotswap.loading import ModelLoader
from streams.models.hotswap.metrics import ModelMetrics
from streams.models.hotswap.profile_models import ProfileModels
from streams.models.registry.channels import Channels
from streams.models.registry.known import KnownAnnouncements
from streams.models.registry.ranker_file import read_ranker
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import load_model_verify_key
from streams.ranking.learned.model import Ranker
from streams.ranking.rules import ProfileRules
from streams.ranking.whitened_matrix import WhitenedItemMatrix
from streams.serde.codec import Codecs
from streams.settings import Settings

if TYPE_CHECKING:
    from encoders.batching.batched_encoder import BatchedEncoder
    from encoders.batching.micro_batcher import EncodesTexts

log = logging.getLogger(__name__)


class Root(Protocol):
    """What the composition root gives."""

    settings: Settings
    registry: CollectorRegistry
    codecs: Codecs
    clock: Clock

    def follow(self, topic: str, apply: Callable[[Sequence[SourceRecord]], object]) -> Follower: ...


class ModelParts:
    """Of one stage in one process."""

    def __init__(self, root: Root) -> None:
        """Raises ConfigurationError for a key file that exists and can't be used, and if VEILSTREAM_MODEL is not a model. It may not
        be needed now, but it serves if another model is refused.
        """
        from encoders.batching.cache import VectorCache
        from encoders.batching.metrics import EncoderMetrics
        from encoders.folder import check_files, locate

        settings = self._settings = root.settings
        if settings.model != "hashing":
            check_files(locate(settings.model))
        self._root = root
        self._metrics = ModelMetrics(root.registry)
        self._encoder_metrics = EncoderMetrics(root.registry)
        self._cache = VectorCache(settings.encoder_cache_mb * 2**20)
        self._precision = settings.precision
        self._rankers: dict[str, Ranker] = {}
        path = key_folder(settings) / "models.pub"
        key = load_model_verify_key(path) if path.exists() else None
        self._announced: Announced
        if key is None:
            log.warning("models: %s is missing, so announcements are ignored and VEILSTREAM_MODEL serves", path)
            self._announced = NothingAnnounced()
        else:
            channels = Channels(root.codecs.for_topic(topics.MODELS), key, uncounted=settings.models_uncounted)
            known = KnownAnnouncements(settings.models_cache, settings.topic_prefix + topics.MODELS, settings.models, key)
            self._announced = AnnouncedModels(channels, lambda apply: root.follow(topics.MODELS, apply), self._metrics, known)
        self._loader = ModelLoader(self._load, settings.model, settings.models_cache, key, self._metrics)

    def catalogue_models(self) -> CatalogueModels:
        return CatalogueModels(
            topic=self._settings.topic_prefix + topics.MODELS,
            announced=self._announced,
            loader=self._loader,
            open_encoder=self._open,
            metrics=self._metrics,
            clock=self._root.clock,
            grace_s=self._settings.model_grace_s,
        )

    def profile_models(self, rules: ProfileRules) -> ProfileModels:
        return ProfileModels(
            topic=self._settings.topic_prefix + topics.ITEMS_VECTORS,
            announced=self._announced,
            loader=self._loader,
            build=self._build,
            rules=rules,
            metrics=self._metrics,
        )

    def _build(self, encoder: EncodesTexts) -> BuiltModel:
        codecs, settings = self._root.codecs, self._settings
        opened = self._open(encoder)
        matrix = WhitenedItemMatrix(
            codecs.for_topic(topics.ITEMS_VECTORS), opened.version, opened.dimension, make_scan=item_scan, exact_up_to=settings.exact_items
        )
        completeness = Completeness(codecs.reading(topics.ITEMS_VECTORS, FIELDS), opened.version, settings.model_items_share)
        ranker = self._rankers.get(opened.version)
        return BuiltModel(opened, matrix, completeness, lambda apply: self._root.follow(topics.ITEMS_VECTORS, apply), ranker=ranker)

    def _open(self, encoder: EncodesTexts) -> BatchedEncoder:
        from encoders.batching.batched_encoder import BatchedEncoder

        return BatchedEncoder(encoder, cache=self._cache, metrics=self._encoder_metrics)

    def _load(self, name_or_path: str) -> EncodesTexts:
        """By the engine that was found the fastest for the first model: trying them all again would take the processor from the
        batches. Raises ConfigurationError, also for a ranker in the folder that can't be served."""
        from encoders.folder import locate

        try:
            encoder = self._load_with(name_or_path, self._precision)
        except SETUP:
            if self._precision == self._settings.precision:
                raise
            encoder = self._load_with(name_or_path, self._settings.precision)
        self._precision = getattr(encoder, "engine", self._precision).removeprefix("torch-")
        try:
            ranker = None if name_or_path == "hashing" else read_ranker(locate(name_or_path))
        except ConfigurationError:
            encoder.close()
            raise
        if ranker is not None:
            self._rankers[encoder.version] = ranker
        return encoder

    def _load_with(self, name_or_path: str, precision: str) -> EncodesTexts:
        from encoders import load_encoder

        settings = self._settings
        return load_encoder(
            name_or_path,
            device=settings.device,
            precision=precision,
            token_budget=settings.encoder_token_budget,
            compile_graphs=settings.encoder_compile,
        )


def item_scan(vectors: FloatArray) -> CandidateScan | None:
    """None if search has to be exact whatever the catalogue's size: without the instructions for a scan, or if it misses too much."""
    try:
        from encoders.nearest.item_scan import ItemScan
        from encoders.nearest.recall import FLOOR
    except ImportError as error:
        log.warning("the exact search is used for catalogues of any size: %s", error)
        return None
    scan = ItemScan(vectors.shape[1])
    scan.put(slice(0, len(vectors)), vectors)
    recall = scan.recall(vectors)
    if recall < FLOOR:
        log.warning("a scan of %d items has a recall of %.3f, below %.2f; the exact search is used", len(vectors), recall, FLOOR)
        return None
    log.info("%d items are searched by a scan with a recall of %.3f", len(vectors), recall)
    return scan

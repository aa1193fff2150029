"""Checks the logs of features of a running shop: reads its topics, loads the models that computed them, rebuilds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders import load_encoder
from encoders.batching.micro_batcher import MicroBatcher
from encoders.errors import UnusableError
from encoders.folder import locate
from streams.errors import ConfigurationError, RecordError
from streams.kafka.clients import reader
from streams.kafka.topic_records import records_so_far
from streams.models.hotswap.query_vectors import QueryVectors
from streams.models.registry.folder import folder_manifest
from streams.models.registry.ranker_file import read_ranker
from streams.models.registry.store import ModelStore
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import load_model_verify_key
from streams.ranking.rules import DAY_MS, ProfileRules
from streams.ranking.serving_params import ServingParams
from streams.serde.codec import Codecs, open_codecs
from streams.settings import KafkaSettings, Settings
from streams.stages.profile.rebuild import Checked, LoggingModel, Records, Topics, rebuild, requests_of, texts_of
from streams.topics import BEHAVIOUR_CLEAN, ITEMS_POPULARITY, ITEMS_TOGETHER, ITEMS_VECTORS, RANKING_FEATURES

if TYPE_CHECKING:
    from encoders.batching.micro_batcher import EncodesTexts
    from streams.engine.ports import FloatArray

_ENGINES = ("fp32", "int16", "bf16", "fp16")


class LoggedModels:
    """Versions from the store, or the model of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = ProfileRules.from_settings(settings)

    @property
    def rules(self) -> ProfileRules:
        """By which profiles are kept, whatever model serves."""
        return self._rules

    async def load(self, version: str, texts: Collection[str]) -> tuple[LoggingModel, list[dict[str, FloatArray]]]:
        """The model and its vectors of the texts, by each engine that a worker may have chosen. Raises ConfigurationError if it can't be
        had or has no ranker, and as the store does."""
        folder, serving = self._folder(version)
        ranker = read_ranker(folder)
        if ranker is None:
            raise ConfigurationError(
                f"{version} has no ranker, so it logged nothing; check that VEILSTREAM_MODEL and the store are the shop's"
            )
        found: list[dict[str, FloatArray]] = []
        dimension = 0
        for precision in self._precisions(texts):
            try:
                encoder = self._open(folder, precision)
            except UnusableError:
                continue  # no worker on such a machine has it
            with closing(encoder):
                if encoder.version != version:
                    raise ConfigurationError(f"the store does not have {version}, and VEILSTREAM_MODEL is {encoder.version}")
                dimension = encoder.dimension
                found.append(await QueryVectors(MicroBatcher(encoder), capacity=1 << 62).lookup(texts))
        if not found:
            raise ConfigurationError(f"{version} can't be loaded with VEILSTREAM_PRECISION={self._settings.precision} on this machine")
        return LoggingModel(version, dimension, ranker, self._served(serving)), found

    def _precisions(self, texts: Collection[str]) -> tuple[str, ...]:
        chosen = self._settings.precision
        return _ENGINES if chosen == "auto" and texts else (chosen,)

    def _open(self, folder: Path, precision: str) -> EncodesTexts:
        settings = self._settings
        return load_encoder(str(folder), device=settings.device, precision=precision, token_budget=settings.encoder_token_budget)

    def _folder(self, version: str) -> tuple[Path, ServingParams | None]:
        settings = self._settings
        path = key_folder(settings) / "models.pub"
        store = ModelStore(settings.models)
        if path.exists() and version in store.list_versions():
            folder = store.fetch(version, settings.models_cache, load_model_verify_key(path))
            return folder, folder_manifest(folder).serving
        return locate(settings.model), None

    def _served(self, serving: ServingParams | None) -> ProfileRules:
        """The half-life decides a shopper's vector; the other parameters decide scores, and no feature."""
        return self._rules if serving is None else replace(self._rules, half_life_ms=serving.half_life_days * DAY_MS)


async def check_logs(
    settings: Settings, kafka: KafkaSettings, show: Callable[[str, int, int], object] = lambda topic, done, total: None
) -> tuple[list[Checked], int]:
    """All logs of ``ranking.features``, rebuilt, and how many of its records can't be read. ``show`` is told of each
    topic how far it is read. Raises as ``LoggedModels.load`` and
    ``reader``."""
    codecs = open_codecs(settings, max_bytes=settings.max_record_bytes)
    models = LoggedModels(settings)
    sources = (BEHAVIOUR_CLEAN, ITEMS_VECTORS, ITEMS_POPULARITY, ITEMS_TOGETHER)
    await asyncio.to_thread(codecs.ask_ids, (RANKING_FEATURES, *sources))
    decode = codecs.for_topic(RANKING_FEATURES).decode
    by_version: dict[str, list[Any]] = defaultdict(list)
    unreadable = 0
    # The logs first: what they were made of is older than they are.
    for records in (await _read(settings, kafka, codecs, RANKING_FEATURES, show)).values():
        for record in records:
            try:
                log = decode(record.value, record.headers)
            except RecordError:
                unreadable += 1
            else:
                by_version[log["model_version"]].append(log)
    if not by_version:
        return [], unreadable
    topics = Topics(*[await _read(settings, kafka, codecs, name, show) for name in sources])
    checked: list[Checked] = []
    for version, own in by_version.items():
        wanted = requests_of(own, topics.clean, codecs, models.rules)
        model, vectors = await models.load(version, texts_of(wanted))
        checked += rebuild(wanted, topics, codecs, model, vectors)
    return checked, unreadable


async def _read(settings: Settings, kafka: KafkaSettings, codecs: Codecs, topic: str, show: Callable[[str, int, int], object]) -> Records:
    codec = codecs.for_topic(topic)
    async with reader(kafka, settings.topic_prefix + topic) as consumer:
        found: dict[int, list[Any]] = {tp.partition: [] for tp in consumer.assignment()}
        async for record in records_so_far(consumer, topic, show=partial(show, topic)):
            await codec.prepare(record.value)
            found[record.partition].append(record)
    return found

"""The topics that the console follows, and what it keeps of them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nacl.signing import VerifyKey

from streams import topics
from streams.audit.auditors import known_keys
from streams.clock import Clock
from streams.console.auditing import AuditCheck
from streams.console.following import Follower
from streams.console.letters import Letters
from streams.console.models import Announced
from streams.console.recommendations import KEPT, Latest, Titles
from streams.console.rounds import Rounds
from streams.errors import ModelRefused, RecordError
from streams.models.registry.announcement import verify_announcement
from streams.privacy.keys import load_model_verify_key
from streams.serde.codec import Codecs
from streams.settings import KafkaSettings, Settings
from streams.sources.item_settings import item_sources
from streams.sources.sources import NONE

log = logging.getLogger(__name__)

_LETTERS = 2000
"""Of each partition."""


class Topics:
    """What is known from the topics. A record that can't be read is passed over: whoever it is for says so."""

    def __init__(self, settings: Settings, kafka: KafkaSettings, codecs: Codecs, clock: Clock) -> None:
        """Raises ConfigurationError for a wrong setting or key file. Key files that are missing are none: the view says what it lacks."""
        self._codecs = codecs
        self._sources = item_sources(settings, codecs)
        self._model_key = _model_key(settings.keys_dir)
        self._members: dict[tuple[str, bytes], tuple[str, ...]] = {}
        self.titles = Titles()
        self.latest = Latest(secrets.token_bytes(32))
        self.letters = Letters()
        self.announced = Announced()
        self.rounds = Rounds()
        self.audit = AuditCheck(codecs.for_topic(topics.PRIVACY_AUDIT), known_keys([settings.keys_dir]), clock)
        own = settings.topic_prefix
        self.of_audit = Follower(kafka, own + topics.PRIVACY_AUDIT, self.audit.take, begin=self.audit.begin)
        self._followers = {
            topics.RECOMMENDATIONS: Follower(kafka, own + topics.RECOMMENDATIONS, self._recommendations, newest=KEPT),
            topics.DEAD_LETTER: Follower(
                kafka, own + topics.DEAD_LETTER, self._dead_letters, newest=_LETTERS, skipped=self._skipped, begin=self._begin_letters
            ),
            topics.MODELS: Follower(kafka, own + topics.MODELS, self._models),
            topics.TRAINING_CONTROL: Follower(kafka, own + topics.TRAINING_CONTROL, self._control),
            topics.PRIVACY_AUDIT: self.of_audit,
        }
        for name in dict.fromkeys((topics.CATALOGUE_ITEMS, *topics.item_topics(settings.items_source_topics))):
            self._followers[name] = Follower(kafka, own + name, self._items)

    def followers(self) -> Sequence[Follower]:
        return list(self._followers.values())

    def problems(self) -> dict[str, str]:
        """By topic, why it can't be read."""
        return {name: one.problem for name, one in self._followers.items() if one.problem is not None}

    async def _decoded(self, topic: str, record: Any) -> Mapping[str, Any] | None:
        codec = self._codecs.for_topic(topic)
        await codec.prepare(record.value)
        try:
            return codec.decode(record.value, record.headers)
        except RecordError:
            return None

    async def _recommendations(self, records: Sequence[Any]) -> None:
        for record in records:
            value = await self._decoded(topics.RECOMMENDATIONS, record)
            if value is not None:
                self.latest.take(f"{record.partition}/{record.offset}", record.timestamp, value)

    def _begin_letters(self) -> None:
        self.letters = Letters()

    def _skipped(self, count: int) -> None:
        self.letters.skipped += count

    async def _dead_letters(self, records: Sequence[Any]) -> None:
        for record in records:
            value = await self._decoded(topics.DEAD_LETTER, record)
            if value is not None:
                self.letters.take(value)

    async def _models(self, records: Sequence[Any]) -> None:
        for record in records:
            value = await self._decoded(topics.MODELS, record)
            if value is None or record.key != value["channel"].encode():
                continue
            if self._model_key is not None:
                try:
                    verify_announcement(value, self._model_key)
                except ModelRefused:
                    continue  # no worker obeys it, and each says so
            self.announced.take(value, is_verified=self._model_key is not None)

    async def _control(self, records: Sequence[Any]) -> None:
        for record in records:
            value = await self._decoded(topics.TRAINING_CONTROL, record)
            if value is not None:
                self.rounds.take(value)

    async def _items(self, records: Sequence[Any]) -> None:
        """Titles, by the same sources as the catalogue stage; that one also checks the items, which is not needed to name them."""
        for record in records:
            name = (record.topic, record.key or b"")
            before = self._members.pop(name, ())
            if record.value is None:
                for item_id in before or (name[1].decode(errors="replace"),):
                    self.titles.remove(item_id)
                continue
            await self._codecs.for_topic(topics.CATALOGUE_ITEMS).prepare(record.value)
            source, lines = self._sources.read(record)
            items = [line for line in lines if not isinstance(line, RecordError)]
            for item in items:
                self.titles.put(item["item_id"], item["title"] or next(iter(item["titles"].values()), item["item_id"]))
            if source != NONE:
                self._members[name] = tuple(item["item_id"] for item in items)


def _model_key(folder: Path) -> VerifyKey | None:
    """Raises ConfigurationError for a file that is there and can't be used."""
    path = folder / "models.pub"
    if not path.exists():
        log.warning("%s is not there: announcements of models are shown without a check of their signatures", path)
        return None
    return load_model_verify_key(path)

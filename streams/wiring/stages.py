"""The composition root: settings in, a stage ready to run out. Production objects are constructed only here.

Imports are inside the functions that need them. A worker without a model must not load torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, Gauge

from streams import topics
from streams.access.asking import Rights
from streams.access.rights import Right, data_keys_of, rights_of
from streams.app import CATALOGUE, FEEDBACK, INGEST, LEARNING, PROFILE, STAGES
from streams.audit.trail import StageTrail
from streams.clock import Clock, SystemClock
from streams.dead_letters.letters import DeadLetterBuilder
from streams.engine.handler import StageSpec
from streams.engine.ingest_metrics import IngestMetrics
from streams.engine.kafka.topic_follower import TopicFollower
from streams.engine.learning_metrics import LearningMetrics
from streams.engine.metrics import StageMetrics, tell_build
from streams.engine.parts import StageParts
from streams.engine.process import StageProcess
from streams.kafka.clients import client_config, no_broker
from streams.privacy.key_folder import key_folder
from streams.privacy.keys import StageSigningKey, load_public_key, load_stage_signing_key
from streams.privacy.moves import ingest_keys, moves_reader
from streams.privacy.seal import IdSealer, Sealer
from streams.serde.codec import Codecs, open_codecs
from streams.settings import KafkaSettings, Settings
from streams.wiring.audit import worker_journal
from streams.wiring.state import state_of

if TYPE_CHECKING:
    from streams.engine.records import SourceRecord
    from streams.privacy.keys import Stage


class Bootstrap:
    """What all stages of a process share, and a factory for each stage."""

    def __init__(self, settings: Settings, kafka: KafkaSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.kafka = kafka
        self.clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        tell_build(self.registry)
        self.keys = key_folder(settings)
        self.codecs: Codecs = open_codecs(settings, max_bytes=settings.max_record_bytes)

    def ask_ids(self, stage: str) -> None:
        """Ask the registry for the schema ids that a stage needs. Raises as the registry does."""
        spec = STAGES[stage]
        self.codecs.ask_ids(dict.fromkeys((*spec.sources, *spec.outputs, *spec.follows)))

    def process(self, stage: str) -> StageProcess:
        """The process of one stage. Raises ConfigurationError if a key, a model or a setting is missing or wrong."""
        parts = self.parts(stage)
        keys_topic = data_keys_of(stage, self.settings) if parts.state is None or parts.state.topic is None else None
        needed = [right for right in rights_of(stage, self.settings) if right.name != keys_topic]
        return stage_process(parts, self.settings, self.kafka, needed=needed)

    def parts(self, stage: str) -> StageParts:
        """The handler of one stage and what goes with it. Raises as above."""
        makers: dict[str, Callable[[StageMetrics], StageParts]] = {
            INGEST.name: self._ingest,
            CATALOGUE.name: self._catalogue,
            PROFILE.name: self._profile,
            FEEDBACK.name: self._feedback,
            LEARNING.name: self._learning,
        }
        parts = makers[stage](StageMetrics(self.registry, stage))
        return replace(parts, journal=worker_journal(self, stage), state=state_of(stage, self.settings, self.registry))

    def trail(self, spec: StageSpec) -> StageTrail:
        """Where a stage appends what it does with its records. The heads of its chains lie in its table."""
        return StageTrail(
            spec.name,
            self._signing_key(spec.name),
            self.codecs.for_topic(topics.PRIVACY_AUDIT),
            topic_prefix=self.settings.topic_prefix,
            step_ms=timestamp_step_ms(spec.name, self.settings),
        )

    def _dead_letters(self, stage: str, metrics: StageMetrics) -> DeadLetterBuilder:
        recovery = load_public_key(self.keys / "recovery.pub", "recovery")
        return DeadLetterBuilder(
            self.codecs.for_topic(topics.DEAD_LETTER),
            Sealer(recovery),
            stage,
            self.clock,
            self.settings.max_record_bytes,
            signing_key=self._signing_key(stage),
            has_met=self.codecs.has_met,
        )

    def _signing_key(self, stage: str) -> StageSigningKey:
        return load_stage_signing_key(self.keys / f"{stage}.key", cast("Stage", stage))

    def follow(self, topic: str, apply: Callable[[Sequence[SourceRecord]], object]) -> TopicFollower:
        return TopicFollower(client_config(self.kafka), self.settings.topic_prefix + topic, apply)

    def _ingest(self, metrics: StageMetrics) -> StageParts:
        from streams.privacy.consent import GATED, ConsentTable
        from streams.privacy.pseudonym import Pseudonymizer
        from streams.sources.loading import load_sources
        from streams.sources.sources import Sources
        from streams.stages.ingest.consents import ConsentBook
        from streams.stages.ingest.rules import IngestRules
        from streams.stages.ingest.stage import IngestStage

        dead_letters = self._dead_letters(INGEST.name, metrics)
        settings = self.settings
        raw = topics.raw_topics(settings.source_topics)
        spec = replace(INGEST, sources=tuple(dict.fromkeys((*INGEST.sources, *raw))))
        sources = Sources(
            self.codecs.for_topic(topics.BEHAVIOUR_RAW),
            load_sources(settings.sources_dir),
            default=settings.source,
            by_topic={settings.topic_prefix + topic: name for topic, name in raw.items()},
            max_bytes=settings.max_record_bytes,
        )
        watch = IngestMetrics(self.registry)
        rules = IngestRules.from_settings(settings)
        pseudonyms = ingest_keys(self.keys)
        former_id = None if pseudonyms.former is None else pseudonyms.former.key_id
        consents = ConsentBook(self.codecs.for_topic(topics.CONSENT_DECISIONS), ConsentTable(rules.allowed), watch.decision, former_id)
        decisions = self.follow(topics.CONSENT_DECISIONS, consents.apply)
        consents.catch_up = decisions.caught_up
        watch.watch_consents(
            {
                (purpose, decision): functools.partial(consents.table.count, purpose, allows=decision == "allowed")
                for purpose in GATED
                for decision in ("allowed", "refused")
            },
            lambda: consents.bad_records,
        )
        handler = IngestStage(
            codecs=self.codecs,
            pseudonymizer=Pseudonymizer(pseudonyms.current),
            sealer=IdSealer(
                load_public_key(self.keys / "subscriber.pub", "subscriber"),
                self._signing_key(INGEST.name),
            ),
            dead_letters=dead_letters,
            rules=rules,
            clock=self.clock,
            sources=sources,
            watch=watch,
            consents=consents,
            former=None if pseudonyms.former is None else Pseudonymizer(pseudonyms.former),
            moves=pseudonyms.moves,
        )
        if handler.quarantine is not None:
            watch.watch_quarantine(functools.partial(getattr, handler.quarantine, "apart"))
        return StageParts(spec, handler, dead_letters, metrics, self.registry, (decisions,))

    def _catalogue(self, metrics: StageMetrics) -> StageParts:
        from streams.sources.item_settings import item_sources
        from streams.stages.catalogue.stage import CatalogueRules, CatalogueStage
        from streams.wiring.models import ModelParts

        dead_letters = self._dead_letters(CATALOGUE.name, metrics)
        settings = self.settings
        own = topics.item_topics(settings.items_source_topics)
        spec = replace(CATALOGUE, sources=tuple(dict.fromkeys((*CATALOGUE.sources, *own))))
        models = ModelParts(self).catalogue_models()
        handler = CatalogueStage(
            codecs=self.codecs,
            models=models,
            dead_letters=dead_letters,
            rules=CatalogueRules.from_settings(settings),
            clock=self.clock,
            sources=item_sources(settings, self.codecs),
        )
        without_text = Gauge(
            "veilstream_catalogue_items_without_text",
            "Items that a new model lacks until they are published again: their state is of a version that kept no texts.",
            registry=self.registry,
        )
        without_text.set_function(lambda: sum(handler.textless.values()))
        return StageParts(spec, handler, dead_letters, metrics, self.registry, (models,), closers=(models.close,))

    def _profile(self, metrics: StageMetrics) -> StageParts:
        from streams.ranking.popularity_table import PopularityTable
        from streams.ranking.together_table import TogetherTable
        from streams.stages.profile.stage import ProfileRules, ProfileStage
        from streams.wiring.models import ModelParts

        dead_letters = self._dead_letters(PROFILE.name, metrics)
        rules = ProfileRules.from_settings(self.settings)
        models = ModelParts(self).profile_models(rules)
        popularity = PopularityTable(self.codecs.for_topic(topics.ITEMS_POPULARITY), rules.popularity_half_life_ms)
        together = TogetherTable(self.codecs.for_topic(topics.ITEMS_TOGETHER), rules.together.half_life_ms)
        for name, rows in (("items", lambda: models.items), ("popularity", popularity.__len__), ("together", together.__len__)):
            metrics.read_model(name, rows)
        handler = ProfileStage(
            codecs=self.codecs,
            models=models,
            popularity=popularity,
            together=together,
            dead_letters=dead_letters,
            rules=rules,
            trail=self.trail(PROFILE),
            moves=moves_reader(self.keys),
        )
        followers = (models, self.follow(topics.ITEMS_POPULARITY, popularity.apply), self.follow(topics.ITEMS_TOGETHER, together.apply))
        return StageParts(PROFILE, handler, dead_letters, metrics, self.registry, followers, closers=(models.close,))

    def _feedback(self, metrics: StageMetrics) -> StageParts:
        from streams.stages.feedback.stage import FeedbackRules, FeedbackStage

        dead_letters = self._dead_letters(FEEDBACK.name, metrics)
        handler = FeedbackStage(
            codecs=self.codecs,
            dead_letters=dead_letters,
            rules=FeedbackRules.from_settings(self.settings),
            clock=self.clock,
            trail=self.trail(FEEDBACK),
            moves=moves_reader(self.keys),
        )
        return StageParts(FEEDBACK, handler, dead_letters, metrics, self.registry)

    def _learning(self, metrics: StageMetrics) -> StageParts:
        from streams.stages.learning.rounds import Rounds
        from streams.stages.learning.rules import LearningRules
        from streams.stages.learning.stage import LearningStage
        from streams.stages.learning.tallies import Tallies

        dead_letters = self._dead_letters(LEARNING.name, metrics)
        tallies = Tallies(self.codecs.for_topic(topics.TRAINING_TALLIES))
        rounds = Rounds(self.codecs.for_topic(topics.TRAINING_CONTROL))
        control = self.follow(topics.TRAINING_CONTROL, rounds.apply)
        handler = LearningStage(
            codecs=self.codecs,
            tallies=tallies,
            rounds=rounds,
            catch_up=control.caught_up,
            dead_letters=dead_letters,
            rules=LearningRules.from_settings(self.settings),
            clock=self.clock,
            metrics=LearningMetrics(self.registry, lambda: tallies.bad_records + rounds.bad_records),
        )
        followers = (self.follow(topics.TRAINING_TALLIES, tallies.apply), control)
        return StageParts(LEARNING, handler, dead_letters, metrics, self.registry, followers)


def timestamp_step_ms(stage: str, settings: Settings) -> int:
    """What the times that a stage writes are rounded to. An exact one beside a clean event would join it to its raw one, whose time is
    rounded for that reason."""
    from streams.stages.ingest.rules import IngestRules

    return IngestRules.from_settings(settings).time_step_ms if stage == INGEST.name else 1


def stage_process(parts: StageParts, settings: Settings, kafka: KafkaSettings, *, needed: Sequence[Right] = ()) -> StageProcess:
    """A stage's parts on Kafka, in a consumer group that Faust keeps. It ends where it lacks a right that is ``needed``."""
    from streams.engine.faust.member import FaustMember
    from streams.engine.kafka.batches import BatchLimits
    from streams.engine.kafka.broker import KafkaBroker

    def make_broker(spec: StageSpec) -> KafkaBroker:
        return KafkaBroker(
            client_config(kafka),
            group_id=f"{settings.app_prefix}-{spec.name}",
            topic_prefix=settings.topic_prefix,
            idempotent=settings.idempotent_producer,
            fetch_wait_ms=settings.fetch_wait_ms,
            limits=BatchLimits(settings.max_batch_bytes, settings.max_batch_records),
            timestamp_step_ms=timestamp_step_ms(spec.name, settings),
        )

    return StageProcess(
        parts,
        settings,
        make_broker=make_broker,
        make_member=functools.partial(FaustMember, settings=settings, kafka=kafka),
        no_broker=functools.partial(no_broker, kafka),
        find_refusal=Rights(kafka, parts.spec.name, needed).refusal,
    )

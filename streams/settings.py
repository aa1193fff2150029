"""All settings, as environment variables ``VEILSTREAM_<NAME>`` (Kafka's own ones as ``KAFKA_<NAME>``).

``veilstream settings`` prints this list with defaults and meanings. A secret is never a setting. Instead, a setting names the file that
holds the secret.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.errors import ConfigurationError

log = logging.getLogger(__name__)

_PREFIX = "VEILSTREAM_"
_OF_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
"""Kubernetes sets such variables for a service whose name begins with ``veilstream``; this is the part after the prefix."""


class KafkaSettings(BaseSettings):
    """How to reach the broker (environment prefix ``KAFKA_``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", frozen=True)

    bootstrap_servers: str = Field("localhost:9092", description="Broker addresses: a comma-separated host:port list.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the connection to the broker."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism. Used with the SASL protocols."
    )
    sasl_username: str | None = Field(None, description="SASL user name. Used with the SASL protocols.")
    sasl_password_file: Path | None = Field(None, description="File with the SASL password.")
    ssl_cafile: Path | None = Field(
        None, description="File with the CA certificates (PEM) that the broker's certificate is checked against."
    )
    ssl_certfile: Path | None = Field(None, description="File with the client certificate (PEM).")
    ssl_keyfile: Path | None = Field(None, description="File with the client key (PEM).")


class Settings(BaseSettings):
    """The product's settings (environment prefix ``VEILSTREAM_``)."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True, protected_namespaces=())

    # deployment
    app_prefix: str = Field("veilstream", description="Prefix of consumer groups and changelog topics: <prefix>-<stage>.")
    topic_prefix: str = Field("", description="Prefix of every topic name. Use it if one cluster holds several shops.")
    partitions: int = Field(4, ge=1, le=256, description="Partitions of the topics that `topics create` makes.")
    replication: int = Field(1, ge=1, description="Replication factor of the topics that are made.")
    state_dir: Path = Field(Path("var/state"), description="Folder where RocksDB keeps the tables of each stage.")
    state_store: Literal["rocksdb", "memory"] = Field("rocksdb", description="Table store. Both kinds are backed by changelog topics.")
    keys_dir: Path = Field(Path("var/keys"), description="Folder with the key files that `keys generate` makes.")
    registry_url: str | None = Field(
        None,
        description="URL of a Confluent-compatible schema registry, with its path if it has one (Apicurio: /apis/ccompat/v7). Unset: the "
        "local registry, made from the schema files.",
    )
    registry_user: str | None = Field(
        None, description="User of the schema registry (basic authentication). With Confluent Cloud: the API key."
    )
    registry_password_file: Path | None = Field(
        None, description="File with the password of the schema registry. Read at each request. With Confluent Cloud: the API secret."
    )
    registry_token_file: Path | None = Field(
        None, description="File with a bearer token for the schema registry, instead of user and password. Read at each request."
    )
    registry_headers: str = Field(
        "",
        description="Further headers of requests to the schema registry, as name=value, separated by commas. With a token, Confluent Cloud "
        "needs target-sr-cluster and Confluent-Identity-Pool-Id.",
    )
    registry_cafile: Path | None = Field(
        None, description="File with the CA certificates (PEM) that the schema registry's certificate is checked against."
    )
    registry_certfile: Path | None = Field(None, description="File with the client certificate for the schema registry (PEM).")
    registry_keyfile: Path | None = Field(
        None, description="File with the client key for the schema registry (PEM). Unset: it is in the certificate's file."
    )
    registry_subjects: Literal["TopicName", "RecordName", "TopicRecordName"] = Field(
        "TopicName",
        description="How the subject of a schema is named: <topic>-value (TopicName), the record's full name (RecordName), or both as "
        "<topic>-<record> (TopicRecordName).",
    )
    registry_cache: Path = Field(
        Path("var/registry"),
        description="Folder where the schema registry's answers are kept. With them a worker starts while the registry is away.",
    )
    idempotent_producer: bool = Field(
        True, description="Whether to use Kafka's idempotent producer. Turn it off for brokers without InitProducerId."
    )
    session_timeout_s: float = Field(30.0, gt=0, description="Session timeout of the consumer group, seconds.")
    instance_id: str | None = Field(
        None,
        pattern=r"[A-Za-z0-9._-]{1,200}",
        description="Name of this worker in its groups (static membership). It must be unique among the workers of a stage, and the same "
        "after a restart. Then a restart within the session timeout moves no partition. Unset: a restarted worker is a new member.",
    )
    fetch_max_records: int = Field(2000, ge=1, description="Maximum number of records in a batch.")
    fetch_wait_ms: int = Field(
        20,
        ge=1,
        description="Time for which the broker holds a fetch open while it has no records, milliseconds. A partition whose queue was full "
        "waits as long before it is fetched again, if the other partitions of its broker are idle.",
    )
    lookup_max_records: int = Field(
        5_000_000,
        ge=0,
        description="If the offsets of a group are lost, the stage reads its outputs to find out what is already written. This is the "
        "maximum number of records. With more, the stage does not start and says so.",
    )
    commit_interval_s: float = Field(1.0, gt=0, description="Time between two commits of the source offsets, seconds.")
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of /metrics, /healthz and /readyz. In a container, probes and Prometheus need 0.0.0.0 (or ::).",
    )
    metrics_port: int = Field(
        9464,
        ge=0,
        le=65535,
        description="Port of /metrics, /healthz and /readyz. `--stage all` uses this port and the following four. 0: any free port.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level. Client libraries stay at WARNING or above."
    )

    # ingest
    time_bucket_s: int = Field(60, ge=1, le=86_400, description="Event times are rounded down to this many seconds.")
    max_future_s: int = Field(300, ge=0, description="Events further in the future than this are refused, seconds.")
    max_age_days: float = Field(7300.0, gt=0, description="Events older than this are refused, days.")
    default_currency: str = Field("EUR", min_length=3, max_length=3, description="Currency of prices without a currency (ISO 4217).")
    default_region: str | None = Field(None, description="Country of events without a country (ISO 3166 alpha-2).")
    max_record_bytes: int = Field(262_144, ge=1024, description="Records larger than this are refused, bytes.")
    max_batch_bytes: int = Field(
        67_108_864,
        ge=1_048_576,
        description="A producer's batch that unpacks to more than this is one dead letter, bytes. Unpacking stops there.",
    )
    max_batch_records: int = Field(200_000, ge=1, description="A producer's batch of more records than this is one dead letter.")
    throttle_per_minute: int = Field(
        600, ge=1, description="Maximum number of events per user and minute of event time. Above it, the user counts as automated."
    )
    quantity_cap: int = Field(1000, ge=1, description="Maximum quantity of an event. Larger quantities are reduced to this.")
    dedup_window: int = Field(100_000, ge=0, description="Number of recent event ids that an ingest worker remembers to drop duplicates.")
    sources_dir: Path | None = Field(None, description="Folder with the mappings of the shop's own sources (*.yaml). Presets need none.")
    source: str | None = Field(
        None, description="Source of raw events without the header `veilstream-source`, such as `segment`. Unset: the product's own form."
    )
    items_source: str | None = Field(
        None,
        description="Source of records of `catalogue.items` without the header `veilstream-source`, such as `shopify-products`. Unset: the "
        "product's own form.",
    )
    items_source_topics: str = Field(
        "",
        description="Topics of items of their own for some sources, as topic=source, separated by commas. They need as many partitions as "
        "`catalogue.items`; `topics create` makes them.",
    )
    source_topics: str = Field(
        "",
        description="Raw topics of their own for some sources, as topic=source, separated by commas. They need as many partitions as "
        "behaviour.raw; `topics create` makes them.",
    )
    shuffle_batches: bool = Field(
        False,
        description="Whether ingest writes a batch of events in random order, but for those of one shopper: who knows the order of the raw "
        "events then learns less about which is which. Batches are small where there is little to do.",
    )
    item_pattern: str | None = Field(
        None,
        description="Regular expression (Python) that the item ids of events must match as a whole, such as `[0-9]{6,12}`. Unset: ids "
        "that look like personal data (telephone and card numbers, addresses, links with parameters) are refused.",
    )
    scrub_off: str = Field(
        "",
        description="Kinds of personal data that stay in search queries, separated by commas: email, phone, id, card, ip, url, handle, "
        "address, name, plate, document, order, token. Unset: none stays.",
    )
    nobody: Literal["dead-letter", "popularity"] = Field(
        "dead-letter",
        description="What becomes of events whose user id names nobody (null, 0, guest, ...): dead letters, or they count for the "
        "popularity of their items and for nothing else.",
    )
    rejects: Literal["quarantine", "stop"] = Field(
        "quarantine",
        description="What happens if most records of one producer are refused: only its records are set aside (quarantine), or the stage "
        "stops. A producer is told by the headers veilstream-source and client-id, or by the key before the first : or / or |. Where "
        "nothing tells whose they are, with quarantine ingest and catalogue log an error and go on.",
    )
    shared_events: int = Field(
        5000, ge=1, description="Number of events of one user in a day of event time from which on the id counts as shared by many."
    )
    shared_sessions: int = Field(
        200, ge=1, description="Number of sessions of one user in a day of event time from which on the id counts as shared by many."
    )
    reject_share_max: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Maximum share of refused records among the recent ones of a producer. Above it, see VEILSTREAM_REJECTS; stages behind "
        "ingest stop.",
    )
    reject_window: int = Field(
        2000, ge=100, description="Number of recent records for the share of refused records. For one producer in one partition, a tenth."
    )

    # encoder
    model: str = Field(
        "bundled",
        description="Encoder: `bundled` (`bundled-multilingual`), `bundled-en`, a Hugging Face id, a folder, or `hashing` (no model).",
    )
    device: str = Field("auto", description="Device of the encoder: auto, cpu, cuda, cuda:0 ...")
    precision: str = Field(
        "auto", description="Arithmetic of the encoder: auto (the fastest that is exact enough on this machine), int16, fp32, bf16, fp16."
    )
    encoder_token_budget: int = Field(2048, ge=64, description="Maximum number of tokens in one encoder batch, padding included.")
    encoder_compile: bool = Field(
        False, description="Whether to compile the encoder's passes on a GPU. Each of about 36 shapes takes seconds at its first use."
    )
    encoder_cache_mb: int = Field(64, ge=0, description="Size of the cache for vectors of recent texts, MiB per worker.")
    item_text_characters: int = Field(
        1000,
        ge=16,
        le=10_000,
        description="Maximum length of the text of an item that is encoded (title, category, brand, description), characters.",
    )
    item_language: str | None = Field(
        None,
        pattern=r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}",
        description="Language (BCP 47, small letters) of the title that is encoded, where an item has titles in several. Unset: `title`.",
    )

    # models
    models: str = Field("models", description="Store of the model versions: a folder, or any fsspec URL (s3://bucket/models, gs://...).")
    models_uncounted: bool = Field(
        True,
        description="Whether announcements of models without a counter are obeyed: those made before version 0.2. Version 0.3 refuses "
        "them. Turn it off as soon as `veilstream models list` names none.",
    )
    models_cache: Path = Field(Path("var/models"), description="Folder where fetched model versions are kept and verified.")
    model_grace_s: float = Field(
        3600.0,
        ge=0,
        description="Time for which the catalogue's vectors are kept under a model that no channel uses any more, seconds.",
    )
    model_items_share: float = Field(
        1.0, gt=0, le=1, description="Share of the catalogue's items that must be encoded under a new model before the model serves."
    )

    # profile
    half_life_days: float = Field(120.0, gt=0, description="Age at which the weight of an event has halved, days.")
    history_size: int = Field(50, ge=1, le=1000, description="Maximum number of history entries per shopper.")
    popularity_half_life_days: float = Field(
        5.0, gt=0, description="Age at which an event counts half for the popularity of an item, days."
    )
    popularity_weight: float = Field(0.2, ge=0, description="Weight of the popularity prior in the score.")
    popularity_events_a_day: int = Field(
        500, ge=1, description="Maximum number of a shopper's events that count for the popularity of items, a day of event time."
    )
    popularity_breadth: int = Field(
        5,
        ge=1,
        description="Number of different items with which a shopper must have had to do, to count in full for the popularity of the next. "
        "1: everybody counts in full at once.",
    )
    unknown_items: int = Field(
        10_000,
        ge=0,
        description="Number of items without a catalogue record whose popularity is counted all the same, in a partition. Beyond it, those "
        "with the oldest events are forgotten.",
    )
    match_weight: float = Field(
        1.0, ge=0, description="Weight in a search's score of the share of the query's words and characters that an item has."
    )
    together_half_life_days: float = Field(
        60.0, gt=0, description="Age at which two items bought together count half, days. A shopper counts once for a pair within it."
    )
    together_weight: float = Field(0.5, ge=0, description="Weight in the score of what is bought together with items of the history.")
    together_shoppers: int = Field(
        3, ge=2, description="Number of shoppers in one partition from which on a pair of items is published and counts."
    )
    threshold: float = Field(0.25, description="Minimum score of a recommended item. Only items above it are recommended.")
    top_k: int = Field(10, ge=1, le=1000, description="Maximum number of items in one recommendation.")
    debounce_s: float = Field(60.0, ge=0, description="Minimum event time between two behaviour recommendations for a shopper, seconds.")
    recommended_cooldown_s: float = Field(
        3600.0,
        ge=0,
        description="Event time in which an item is not recommended again to the same shopper, seconds.",
    )
    bought_cooldown_days: float = Field(
        90.0,
        ge=0,
        description="Event time in which a bought item is not recommended to its buyer, days.",
    )
    search_blend: float = Field(0.7, ge=0, le=1, description="Weight of the query in search recommendations. The profile has the rest.")
    exact_items: int = Field(
        50_000,
        ge=0,
        description="Maximum number of items for exact search. Larger catalogues are searched by a scan with small integers (recall at "
        "least 0.98).",
    )
    dismissal_weight: float = Field(
        0.0, ge=0, description="Weight by which the predicted share of an item's exposures that end in a dismissal lowers its score."
    )
    return_weight: float = Field(
        0.0, ge=0, description="Weight by which the predicted share of an item's buyers who return it lowers its score."
    )
    diversity_weight: float = Field(
        0.0,
        ge=0,
        description="Weight by which an item's largest similarity (cosine) to an item above it in the list lowers its place, not its "
        "score. 0: lists are in order of the scores.",
    )
    variants_once: bool = Field(
        False, description="Whether a list has at most one of the items with the same text (title, category, brand, description)."
    )
    groups_once: bool = Field(
        True, description="Whether a list has at most one of the items with the same `group_id` (the variants of one product)."
    )
    new_items_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the places of lists that new items have, where any is above the threshold. Chance chooses the places and the "
        "items.",
    )
    new_items_exposures: int = Field(30, ge=1, description="Number of impressions up to which an item is new.")
    new_items_days: float = Field(7.0, gt=0, description="Time after its first event in which an item is new, days.")
    reasons_max: int = Field(3, ge=0, description="Maximum number of reasons per item.")

    feature_log_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of the events after which a fitted ranker's candidates and their features are logged to `ranking.features`: "
        "what it is trained and judged by. 0: none.",
    )

    # feedback
    attribution_window_s: float = Field(1800.0, gt=0, description="Event time in which a reaction counts for a recommendation, seconds.")
    idle_close_s: float = Field(
        300.0,
        gt=0,
        description="Real time without events after which the due windows of a partition are closed by the wall clock, seconds.",
    )
    feedback_records: Literal["item", "recommendation"] = Field(
        "item",
        description="What one record of `feedback` holds: the outcome of one recommended item, or of all items of a recommendation (the "
        "others in `others`). The latter is a fifth of the records, and less work for the broker and every reader.",
    )
    training_history_size: int = Field(20, ge=1, description="Maximum number of history entries in a training pair.")

    # trainer
    trainer_dir: Path = Field(Path("var/trainer"), description="Folder for the trainer's pairs, rounds, reports and TensorBoard logs.")
    trainer_minutes: float = Field(15.0, gt=0, description="Real time for the fine-tuning of one round, minutes.")
    trainer_max_pairs: int = Field(200_000, ge=1, description="Maximum number of stored training pairs. The oldest are removed first.")
    trainer_max_age_days: float = Field(
        90.0, gt=0, description="Maximum age of a stored training pair, compared with the newest one, days."
    )
    trainer_adapter: Literal["lora", "full"] = Field(
        "lora", description="What is trained: low-rank adapters (lora), or every weight (full)."
    )
    trainer_batch_size: int = Field(1024, ge=2, description="Number of examples in one step of fine-tuning, per process.")
    trainer_learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate of the fine-tuning.")
    trainer_drift: float = Field(
        1.0,
        ge=0,
        description="How strongly a new model is held close to the one before it. Use less if that one knows few of the shop's words.",
    )
    trainer_checkpoint_minutes: float = Field(2.0, gt=0, description="Time between two checkpoints of a round, minutes.")
    trainer_processes: int = Field(
        1, ge=1, description="Number of processes for the fine-tuning of a round (torchrun): one per GPU, or parts of the cores."
    )
    trainer_threads: int = Field(0, ge=0, description="Number of threads of a round. 0: torch's default.")
    trainer_validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the pairs (by time, before the newest) on which the serving parameters are fitted."
    )
    trainer_test_share: float = Field(0.1, gt=0, lt=0.5, description="Share of the pairs (the newest) on which a model is judged.")
    trainer_gate_metric: Literal["hit", "ndcg", "recall"] = Field("ndcg", description="Metric in which a new model must be better.")
    trainer_gate_cases: int = Field(200, ge=1, description="Minimum number of cases in the test slice. With fewer, no model is promoted.")
    trainer_gate_users: int = Field(
        100, ge=1, description="Minimum number of shoppers in the test slice. With fewer, no model is promoted."
    )
    trainer_gate_tolerance: float = Field(
        0.1,
        ge=0,
        description="Share by which coverage, the long tail's share, and the metric of any part of the shoppers may fall under a new "
        "model.",
    )
    trainer_target_precision: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Precision for which the threshold is fitted to a new model. Unset, with no target volume: as many items pass as under "
        "the serving model.",
    )
    trainer_target_volume: float | None = Field(
        None,
        gt=0,
        description="Items per recommendation for which the threshold is fitted, instead of a precision. Unset: see the target precision.",
    )
    trainer_canary_share: float = Field(
        0.1, ge=0, le=1, description="Share of the pseudonyms that get a new model first. 0: everybody at once."
    )
    trainer_canary_recommendations: int = Field(
        200, ge=2, description="Minimum number of recommendations of each model before a canary is promoted or withdrawn."
    )

    # learning
    training_min_pairs: int = Field(
        5000, ge=0, description="Number of new training pairs that start a round. 0: their number never starts a round."
    )
    training_cron: str | None = Field(
        None, description="Schedule of rounds: five cron fields, UTC, such as `0 3 * * *`. Unset: no schedule."
    )
    training_pause_h: float = Field(
        6.0, ge=0, description="Minimum real time from one round to the next, hours. A round that an operator requests does not wait."
    )
    training_drift_psi: float = Field(0.25, gt=0, description="Population stability index of the scores at which drift starts a round.")
    training_drift_ignored: float = Field(
        0.1, gt=0, le=1, description="Rise of the share of recommended items without a reaction at which drift starts a round."
    )
    training_drift_window_h: float = Field(24.0, ge=1, description="Event time over which drift is measured, hours.")
    training_drift_min: int = Field(1000, ge=1, description="Minimum number of items in a window to measure drift.")
    training_stale_h: float = Field(48.0, gt=0, description="Time after which a round that started and is silent counts as ended, hours.")


S = TypeVar("S", bound=BaseSettings)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Unknown variables with the product's prefix are named in the log. Raises ConfigurationError that names the wrong variable.
    """
    for warning in unknown_settings(os.environ):
        log.warning(warning)
    return _load(Settings)


def unknown_settings(names: Iterable[str]) -> list[str]:
    """One line for each environment variable that has the product's prefix and is not a setting.

    >>> unknown_settings(["VEILSTREAM_TRESHOLD", "VEILSTREAM_SERVICE_HOST", "PATH"])
    ['VEILSTREAM_TRESHOLD is not a setting and has no effect; did you mean VEILSTREAM_THRESHOLD?']
    """
    known = [name.upper() for name in Settings.model_fields]
    lines = []
    for variable in sorted(names):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        nearest = get_close_matches(name, known, n=1)
        hint = f"did you mean {_PREFIX}{nearest[0]}?" if nearest else "see `veilstream settings`"
        lines.append(f"{variable} is not a setting and has no effect; {hint}")
    return lines


def load_kafka_settings() -> KafkaSettings:
    """Read the Kafka settings from the environment. Raises ConfigurationError that names the wrong variable."""
    return _load(KafkaSettings)


def _load(cls: type[S]) -> S:
    try:
        return cls()
    except ValidationError as error:
        prefix = str(cls.model_config.get("env_prefix", ""))
        problems = "; ".join(f"{prefix}{'_'.join(str(part) for part in e['loc'])}".upper() + f": {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"wrong setting: {problems} (see `veilstream settings`)") from None

"""All settings, as environment variables ``VEILSTREAM_<NAME>`` (Kafka's own ones as ``KAFKA_<NAME>``).

``veilstream settings`` prints this list with defaults and meanings. Secrets are never settings: a setting names the
file that holds one.
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
"""What follows the prefix in variables that Kubernetes sets for a service whose name begins with ``veilstream``."""


class KafkaSettings(BaseSettings):
    """How to reach the broker (environment prefix ``KAFKA_``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", frozen=True)

    bootstrap_servers: str = Field("localhost:9092", description="Comma-separated host:port list.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the broker."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("SCRAM-SHA-512", description="For the SASL protocols.")
    sasl_username: str | None = Field(None, description="For the SASL protocols.")
    sasl_password_file: Path | None = Field(None, description="File with the SASL password.")
    ssl_cafile: Path | None = Field(None, description="CA certificates (PEM) that vouch for the broker.")
    ssl_certfile: Path | None = Field(None, description="Client certificate (PEM).")
    ssl_keyfile: Path | None = Field(None, description="Client key (PEM).")


class Settings(BaseSettings):
    """The product's settings (environment prefix ``VEILSTREAM_``)."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True, protected_namespaces=())

    # deployment
    app_prefix: str = Field("veilstream", description="Prefix of consumer groups and changelog topics: <prefix>-<stage>.")
    topic_prefix: str = Field("", description="Prefix of every topic name, where one cluster holds several shops.")
    partitions: int = Field(4, ge=1, le=256, description="Partitions of topics that `topics create` makes.")
    replication: int = Field(1, ge=1, description="Replication factor of topics that are made.")
    state_dir: Path = Field(Path("var/state"), description="Where RocksDB keeps each stage's tables.")
    state_store: Literal["rocksdb", "memory"] = Field("rocksdb", description="Table store; both are backed by changelog topics.")
    keys_dir: Path = Field(Path("var/keys"), description="Folder with the key files that `keys generate` makes.")
    registry_url: str | None = Field(
        None, description="Confluent-compatible schema registry; unset: the local one made from the schema files."
    )
    idempotent_producer: bool = Field(True, description="Kafka's idempotent producer; turn off for brokers without InitProducerId.")
    session_timeout_s: float = Field(30.0, gt=0, description="Consumer group session timeout, seconds.")
    instance_id: str | None = Field(
        None,
        pattern=r"[A-Za-z0-9._-]{1,200}",
        description="Name of this worker in its groups (static membership), unique among a stage's workers and the same after a restart: "
        "then a restart within the session timeout moves no partition. Unset: a restarted worker is a new one.",
    )
    fetch_max_records: int = Field(2000, ge=1, description="Most records in a batch handed to a stage.")
    fetch_wait_ms: int = Field(
        20,
        ge=1,
        description="How long the broker holds a fetch back while it has nothing, milliseconds; a partition that was full waits as "
        "long before it is fetched again, where others of its broker are idle.",
    )
    lookup_max_records: int = Field(
        5_000_000,
        ge=0,
        description="Where a group's offsets are lost: most records in a stage's outputs that are read to find out what is written "
        "already; with more the stage does not start, and says so.",
    )
    commit_interval_s: float = Field(1.0, gt=0, description="How often source offsets are committed, seconds.")
    metrics_host: str = Field("0.0.0.0", description="Address of /metrics, /healthz and /readyz.")
    metrics_port: int = Field(
        9464, ge=0, le=65535, description="Port of /metrics; `--stage all` uses this and the following four; 0 takes a free one."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level; client libraries stay at WARNING or above."
    )

    # ingest
    time_bucket_s: int = Field(60, ge=1, le=86_400, description="Event times are rounded down to this many seconds.")
    max_future_s: int = Field(300, ge=0, description="Events further ahead of the clock are refused, seconds.")
    max_age_days: float = Field(7300.0, gt=0, description="Events older than this are refused, days.")
    default_currency: str = Field("EUR", min_length=3, max_length=3, description="Currency of prices that carry none.")
    default_region: str | None = Field(None, description="Country (ISO 3166 alpha-2) of events that carry none.")
    max_record_bytes: int = Field(262_144, ge=1024, description="Larger records are refused.")
    throttle_per_minute: int = Field(
        600, ge=1, description="Events per user and minute of event time above which the user counts as automated."
    )
    quantity_cap: int = Field(1000, ge=1, description="Larger quantities are capped to this.")
    dedup_window: int = Field(100_000, ge=0, description="Recent event ids that an ingest worker remembers.")
    reject_share_max: float = Field(0.5, gt=0, le=1, description="Share of refused records, over the recent ones, at which a stage stops.")
    reject_window: int = Field(2000, ge=100, description="How many recent records that share is taken over.")

    # encoder
    model: str = Field(
        "bundled",
        description="Encoder: `bundled` (`bundled-multilingual`), `bundled-en`, a Hugging Face id, a folder, or `hashing` (no model).",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0 ...")
    precision: str = Field("auto", description="auto (the fastest that is exact enough here), int16, fp32, bf16, fp16.")
    encoder_token_budget: int = Field(2048, ge=64, description="Padded tokens in one encoder batch.")
    encoder_compile: bool = Field(
        False, description="On a GPU: compile the encoder's passes; each of about 36 shapes takes seconds when it is first met."
    )
    encoder_cache_mb: int = Field(64, ge=0, description="MiB of vectors of texts seen lately that a worker keeps.")
    item_text_characters: int = Field(
        1000, ge=16, le=10_000, description="Most characters of an item's title, category, brand and description that are encoded."
    )

    # models
    models: str = Field("models", description="Store of model versions: a folder, or any fsspec URL (s3://bucket/models, gs://...).")

    models_cache: Path = Field(Path("var/models"), description="Folder where fetched model versions are kept and verified.")
    model_grace_s: float = Field(
        3600.0,
        ge=0,
        description="How long the catalogue is kept under a model that no channel needs any more, seconds.",
    )
    model_items_share: float = Field(
        1.0, gt=0, le=1, description="Share of the catalogue's items that must be encoded under a new model before it serves."
    )

    # profile
    half_life_days: float = Field(120.0, gt=0, description="Age at which an event's weight has halved, days.")
    history_size: int = Field(50, ge=1, le=1000, description="Most history entries kept for a shopper.")
    popularity_half_life_days: float = Field(5.0, gt=0, description="Age at which an event counts half for an item's popularity, days.")
    popularity_weight: float = Field(0.2, ge=0, description="Weight of the popularity prior in the score.")
    threshold: float = Field(0.3, description="Scores must pass this to be recommended.")
    top_k: int = Field(10, ge=1, le=1000, description="Most items in one recommendation.")
    debounce_s: float = Field(60.0, ge=0, description="Least event time between two behaviour recommendations for a shopper, seconds.")
    recommended_cooldown_s: float = Field(
        3600.0,
        ge=0,
        description="An item is not recommended again to a shopper within this event time, seconds.",
    )
    bought_cooldown_days: float = Field(
        90.0,
        ge=0,
        description="An item bought is not recommended to the buyer within this event time, days.",
    )
    search_blend: float = Field(0.7, ge=0, le=1, description="Weight of the query against the profile in search recommendations.")
    exact_items: int = Field(
        200_000,
        ge=0,
        description="Catalogues of more items are searched by a scan of small integers (recall above 0.98) instead of exactly.",
    )
    reasons_max: int = Field(3, ge=0, description="Most reasons given for an item.")

    # feedback
    attribution_window_s: float = Field(1800.0, gt=0, description="Event time in which a reaction counts for a recommendation, seconds.")
    idle_close_s: float = Field(
        300.0, gt=0, description="Real time without events after which a partition's due windows close by the wall clock, seconds."
    )
    feedback_records: Literal["item", "recommendation"] = Field(
        "item",
        description="What a record of `feedback` tells of: one recommended item, or all items of a recommendation (the others in "
        "`others`), which is a fifth of the records and less work for the broker and every reader.",
    )
    training_history_size: int = Field(20, ge=1, description="Most history elements in a training pair.")

    # trainer
    trainer_dir: Path = Field(Path("var/trainer"), description="Where the trainer keeps pairs, rounds, reports and TensorBoard logs.")
    trainer_minutes: float = Field(15.0, gt=0, description="Wall budget of one round's fine-tuning, minutes.")
    trainer_max_pairs: int = Field(200_000, ge=1, description="Most training pairs kept; the oldest go first.")
    trainer_max_age_days: float = Field(90.0, gt=0, description="Training pairs older than the newest by this much are dropped, days.")
    trainer_adapter: Literal["lora", "full"] = Field("lora", description="What is trained: low-rank adapters, or every weight.")
    trainer_batch_size: int = Field(1024, ge=2, description="Examples in one step of fine-tuning.")
    trainer_learning_rate: float = Field(3e-4, gt=0, description="Learning rate of the fine-tuning at its peak.")
    trainer_drift: float = Field(
        1.0, ge=0, description="How strongly a model is held to the one before it; less where that one knows little of the shop's words."
    )
    trainer_checkpoint_minutes: float = Field(2.0, gt=0, description="How often a round's checkpoint is saved, minutes.")
    trainer_processes: int = Field(
        1, ge=1, description="Processes that share a round's fine-tuning (torchrun): one a GPU, or parts of the cores."
    )
    trainer_threads: int = Field(0, ge=0, description="Threads of a round; 0: as many as torch takes.")
    trainer_validation_share: float = Field(0.1, gt=0, lt=0.5, description="Share of the pairs, by time, that parameters are fitted to.")
    trainer_test_share: float = Field(0.1, gt=0, lt=0.5, description="Share of the pairs, the newest, by which a model is judged.")
    trainer_gate_metric: Literal["hit", "ndcg", "recall"] = Field("ndcg", description="The metric in which a new model must gain.")
    trainer_gate_cases: int = Field(200, ge=1, description="With fewer cases in the test slice no model is promoted.")
    trainer_gate_users: int = Field(100, ge=1, description="With fewer shoppers in the test slice no model is promoted.")
    trainer_gate_tolerance: float = Field(
        0.1, ge=0, description="Share by which coverage, the long tail's share and any part of the shoppers may fall under a new model."
    )
    trainer_target_precision: float | None = Field(
        None, ge=0, le=1, description="Precision for which the threshold is fitted to a new model; unset: it stays."
    )
    trainer_target_volume: float | None = Field(
        None, gt=0, description="Items a recommendation for which the threshold is fitted, instead of a precision; unset: it stays."
    )
    trainer_canary_share: float = Field(
        0.1, ge=0, le=1, description="Share of pseudonyms that get a new model first; 0: everybody at once."
    )
    trainer_canary_recommendations: int = Field(
        200, ge=2, description="Recommendations of each model before a canary is promoted or withdrawn."
    )

    # learning
    training_min_pairs: int = Field(
        5000, ge=0, description="New training pairs that ask for a round of training; 0: never because of their number."
    )
    training_cron: str | None = Field(None, description="Schedule of rounds: five cron fields, UTC, such as `0 3 * * *`; unset: none.")
    training_pause_h: float = Field(
        6.0, ge=0, description="Least real time from one round to the next, hours; an operator's need not wait."
    )
    training_drift_psi: float = Field(0.25, gt=0, description="Population stability index of the scores from which drift asks for a round.")
    training_drift_ignored: float = Field(
        0.1, gt=0, le=1, description="Rise of the share of recommended items without a reaction that asks for a round."
    )
    training_drift_window_h: float = Field(24.0, ge=1, description="Event time in which drift is measured, hours.")
    training_drift_min: int = Field(1000, ge=1, description="Fewer items in a window are not enough to tell drift.")
    training_stale_h: float = Field(48.0, gt=0, description="A round that started and is silent for so long counts as ended, hours.")


S = TypeVar("S", bound=BaseSettings)


def load_settings() -> Settings:
    """Settings from the environment; raises ConfigurationError that names the variable at fault. What looks like a setting and is none is
    named in the log."""
    for warning in unknown_settings(os.environ):
        log.warning(warning)
    return _load(Settings)


def unknown_settings(names: Iterable[str]) -> list[str]:
    """One line for each name of an environment variable that begins like a setting's and is none.

    >>> unknown_settings(["VEILSTREAM_TRESHOLD", "VEILSTREAM_SERVICE_HOST", "PATH"])
    ['VEILSTREAM_TRESHOLD is no setting and has no effect; did you mean VEILSTREAM_THRESHOLD?']
    """
    known = [name.upper() for name in Settings.model_fields]
    lines = []
    for variable in sorted(names):
        name = variable.upper().removeprefix(_PREFIX)
        if name == variable.upper() or name in known or _OF_KUBERNETES.fullmatch(name):
            continue
        nearest = get_close_matches(name, known, n=1)
        hint = f"did you mean {_PREFIX}{nearest[0]}?" if nearest else "see `veilstream settings`"
        lines.append(f"{variable} is no setting and has no effect; {hint}")
    return lines


def load_kafka_settings() -> KafkaSettings:
    """Kafka settings from the environment; raises ConfigurationError that names the variable at fault."""
    return _load(KafkaSettings)


def _load(cls: type[S]) -> S:
    try:
        return cls()
    except ValidationError as error:
        prefix = str(cls.model_config.get("env_prefix", ""))
        problems = "; ".join(f"{prefix}{'_'.join(str(part) for part in e['loc'])}".upper() + f": {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"wrong setting: {problems} (see `veilstream settings`)") from None

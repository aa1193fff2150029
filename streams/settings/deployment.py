"""Settings of a deployment: where things are, how a process reads, keeps and tells."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class DeploymentSettings(BaseSettings):
    """Of all processes."""

    app_prefix: str = Field("veilstream", description="Prefix of consumer groups and changelog topics: <prefix>-<stage>.")
    topic_prefix: str = Field("", description="Prefix of every topic name. Use it if one cluster holds several shops.")
    partitions: int = Field(4, ge=1, le=256, description="Partitions of the topics that `topics create` makes.")
    replication: int = Field(1, ge=1, description="Replication factor of the topics that are made.")
    state_dir: Path = Field(Path("var/state"), description="Folder where RocksDB keeps the tables of each stage.")
    state_store: Literal["rocksdb", "memory"] = Field("rocksdb", description="Table store. Both kinds are backed by changelog topics.")
    keys_dir: Path = Field(Path("var/keys"), description="Folder with the key files that `keys generate` makes.")
    keys: str = Field(
        "",
        description="Where the key files are, if not in VEILSTREAM_KEYS_DIR: vault://HOST:PORT/MOUNT/PATH (fields of a secret of the KV "
        "engine, version 2), vault-transit://HOST:PORT/MOUNT/KEY (in the folder, wrapped by this key of the transit engine), or "
        "kms:MODULE:FACTORY (in the folder, wrapped by what the factory of your module makes).",
    )
    vault_token_file: Path | None = Field(None, description="File with the token for Vault. Read at each request.")
    vault_cafile: Path | None = Field(None, description="File with the CA certificates (PEM) that Vault's certificate is checked against.")
    vault_namespace: str | None = Field(None, description="Namespace in Vault, where it has several.")
    seal_state: Literal["auto", "required", "migrate"] = Field(
        "auto",
        description="Whether states and the trainer's store are sealed on disk and in changelogs: where the keys folder has state.key "
        "(auto), or always, and nothing starts without that key (required). migrate: as required, and plain values from before are read "
        "and sealed in the background. Otherwise plain values are refused where there is a state key.",
    )
    reseal_per_s: int = Field(
        500,
        ge=1,
        description="Maximum number of values that each partition seals anew in a second, after a change of the state key or from plain.",
    )
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
    log_format: Literal["text", "json"] = Field(
        "text",
        description="What workers, the trainer and the console log: lines of text, or a JSON object a line, always with the same fields.",
    )

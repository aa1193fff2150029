"""How to reach the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaSettings(BaseSettings):
    """How to reach the broker (environment prefix ``KAFKA_``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", frozen=True)

    bootstrap_servers: str = Field("localhost:9092", description="Broker addresses: a comma-separated host:port list.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol of the connection to the broker."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism. Used with the SASL protocols."
    )
    sasl_username: str | None = Field(None, description="SASL user name. Used with the SASL protocols.")
    sasl_password_file: Path | None = Field(None, description="File with the SASL password.")
    sasl_token_file: Path | None = Field(
        None,
        description="File with a bearer token (OAUTHBEARER), such as a mounted service account token. It is read for each connection, so "
        "it may be renewed.",
    )
    sasl_token_url: str | None = Field(
        None, description="Address of a token endpoint (OAUTHBEARER with client credentials), instead of a file. https only."
    )
    sasl_client_id: str | None = Field(None, description="Client id at the token endpoint.")
    sasl_client_secret_file: Path | None = Field(
        None, description="File with the client secret for the token endpoint. Read at each request."
    )
    sasl_scope: str | None = Field(None, description="Scope that is asked for at the token endpoint.")
    sasl_token_cafile: Path | None = Field(
        None, description="File with the CA certificates (PEM) that the token endpoint's certificate is checked against."
    )
    ssl_cafile: Path | None = Field(
        None, description="File with the CA certificates (PEM) that the broker's certificate is checked against."
    )
    ssl_certfile: Path | None = Field(None, description="File with the client certificate (PEM).")
    ssl_keyfile: Path | None = Field(None, description="File with the client key (PEM).")

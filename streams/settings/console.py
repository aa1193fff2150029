"""Settings of the console."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class ConsoleSettings(BaseSettings):
    """Of `veilstream console`, and of the one that a worker starts."""

    console: bool = Field(
        False, description="Whether `veilstream worker` starts the console, too, as a process of its own with the worker's rights."
    )
    console_host: str = Field(
        "127.0.0.1", description="Address of the console's page. One that other machines reach needs VEILSTREAM_CONSOLE_TOKEN_FILE."
    )
    console_port: int = Field(9480, ge=0, le=65535, description="Port of the console's page. 0: any free port.")
    console_token_file: Path | None = Field(
        None,
        description="File with the token that the console's page asks for as a password, at least 16 characters. Read at the start. Unset: "
        "nobody is asked, and only this machine reaches the page.",
    )
    console_workers: str = Field(
        "127.0.0.1:9464-9469",
        description="Addresses of /metrics of all workers and of the trainer, as HOST:PORT or HOST:FIRST-LAST, separated by commas. Of a "
        "name that stands for several machines, all are asked.",
    )

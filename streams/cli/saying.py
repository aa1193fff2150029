"""What a command says on standard error beside its log: a line for people, or a line of the log where that is JSON."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import click


def is_json() -> bool:
    """Whether this process logs JSON lines. Only who has set up a log has imported what does, and `--help` is to answer at once."""
    logs = sys.modules.get("streams.logs")
    return logs is not None and bool(logs.is_json())


def say(level: Literal["WARNING", "ERROR"], message: str, error: BaseException | None = None) -> None:
    """``error`` is what the message is about: its place in the code is a field of a JSON line."""
    if is_json():
        logging.getLogger("streams").log(logging.getLevelNamesMapping()[level], "%s", message, exc_info=error)
    else:
        click.echo(f"{level.lower()}: {message}", err=True)

"""``veilstream settings``: every setting, its value and its meaning."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_settings import BaseSettings


@click.command(name="settings")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> int:
    """List all settings: environment variable, value now, default (where the value differs from it), meaning.

    Of addresses, *** stands in place of what may be a user, a password or a key.

    A last line warns if records travel unencrypted beyond this machine.

    Values that are wrong, and variables that are no setting, are named at the end; the exit code is then 1.
    """
    from streams.settings import KafkaSettings, Settings, unknown_settings

    rows: list[dict[str, str]] = []
    problems: list[str] = []
    for cls in (KafkaSettings, Settings):
        found, wrong = _rows(cls, os.environ)
        rows += found
        problems += wrong
    problems += unknown_settings(os.environ)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    for warning in _unencrypted():
        click.echo(f"warning: {warning}", err=True)
    return 1 if problems else 0


def _unencrypted() -> list[str]:
    """What travels unencrypted beyond this machine."""
    from streams.errors import ConfigurationError
    from streams.kafka.security import in_clear
    from streams.settings import load_kafka_settings

    try:
        found = in_clear(load_kafka_settings())
    except ConfigurationError:
        return []  # it is named above
    return [] if found is None else [found]


def _rows(cls: type[BaseSettings], environment: Mapping[str, str]) -> tuple[list[dict[str, str]], list[str]]:
    """The settings of a class, and what is wrong with those that can't be read."""
    from pydantic import ValidationError

    prefix = str(cls.model_config.get("env_prefix", ""))
    given = {name.upper(): value for name, value in environment.items()}
    loaded: Any = None
    problems: list[str] = []
    try:
        loaded = cls()
    except ValidationError as error:
        problems = [f"{prefix}{'_'.join(str(part) for part in e['loc'])}".upper() + f": {e['msg']}" for e in error.errors()]
    rows = []
    for name, field in cls.model_fields.items():
        variable = f"{prefix}{name}".upper()
        value = getattr(loaded, name) if loaded is not None else given.get(variable, field.default)
        rows.append(
            {"variable": variable, "value": _shown(value, name), "default": _shown(field.default), "meaning": field.description or ""}
        )
    return rows, problems


def _shown(value: Any, name: str = "") -> str:
    """Without what may be a secret: outputs of this command are pasted into tickets."""
    from streams.visible_text import without_secrets

    text = "" if value is None else str(value)
    if name == "registry_headers":
        return ",".join(f"{header.partition('=')[0].strip()}=***" for header in text.split(",") if header.strip())
    return without_secrets(text)


def _print_table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    table = Table(box=None, header_style="bold", pad_edge=False)
    # Names are for copying, so they stay whole; the meaning takes what is left.
    table.add_column("variable", no_wrap=True)
    for title in ("value", "default", "meaning"):
        table.add_column(title, overflow="fold")
    for row in rows:
        changed = row["value"] != row["default"]
        default = Text(row["default"] or "unset") if changed else Text()
        table.add_row(row["variable"], Text(row["value"], style="bold" if changed else ""), default, Text(row["meaning"]))
    console.print(table)

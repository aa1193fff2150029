"""``veilstream settings``: every setting, its value and its meaning."""

from __future__ import annotations

import json

import click


@click.command(name="settings")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """List all settings: environment variable, value now, default, meaning."""
    from streams.settings import load_kafka_settings, load_settings

    rows: list[dict[str, str]] = []
    for loaded in (load_kafka_settings(), load_settings()):
        prefix = str(type(loaded).model_config.get("env_prefix", ""))
        rows += [
            {
                "variable": f"{prefix}{name}".upper(),
                "value": str(getattr(loaded, name)),
                "default": str(field.default),
                "meaning": field.description or "",
            }
            for name, field in type(loaded).model_fields.items()
        ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("variable", "value", "meaning", show_lines=False, box=None, header_style="bold")
    for row in rows:
        changed = row["value"] != row["default"]
        table.add_row(row["variable"], f"[bold]{row['value']}[/bold]" if changed else row["value"], row["meaning"])
    Console(soft_wrap=False).print(table)

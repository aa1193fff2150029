"""``veilstream metrics``: every metric, and which process serves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.wiring.metrics_list import MetricEntry

_INTRODUCTION = """# Metrics
Every worker and the trainer serve these at `/metrics` on `VEILSTREAM_METRICS_PORT`, for Prometheus.
Labels never hold data of a record: no shopper, no item. What to do when one of them is bad: [runbooks.md](runbooks.md).

Written by `veilstream metrics --markdown`.
"""


@click.command(name="metrics")
@click.option("--json", "form", flag_value="json", help="As JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="As docs/metrics.md.")
def command(form: str | None) -> None:
    """List all metrics: name, type, labels, meaning, and who serves it (the stages, the trainer)."""
    from streams.wiring.metrics_list import metric_entries

    entries = metric_entries()
    if form == "json":
        click.echo(json.dumps([entry._asdict() for entry in entries], indent=2))
    elif form == "markdown":
        click.echo(as_markdown(entries), nl=False)
    else:
        for entry in entries:
            labels = "{" + ",".join(entry.labels) + "}" if entry.labels else ""
            click.echo(f"{entry.name}{labels}\n    {entry.kind}, {_who(entry)}: {entry.text}")


def as_markdown(entries: Sequence[MetricEntry]) -> str:
    """The page."""
    lines = [_INTRODUCTION, "| metric | type | labels | of | meaning |", "| --- | --- | --- | --- | --- |"]
    for entry in entries:
        labels = ", ".join(f"`{label}`" for label in entry.labels)
        text = entry.text.replace("|", "\\|")
        lines.append(f"| `{entry.name}` | {entry.kind} | {labels} | {_who(entry)} | {text} |")
    return "\n".join(lines) + "\n"


def _who(entry: MetricEntry) -> str:
    from streams.app import STAGES

    if set(entry.processes) >= set(STAGES):
        return "all" if "trainer" in entry.processes else "all stages"
    return ", ".join(entry.processes)

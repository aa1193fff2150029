"""Model versions as a table, and as JSON objects."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from streams.models.registry.channels import Channels
from streams.models.registry.manifest import Manifest

_WIDTH = 160


def table(manifests: Sequence[Manifest], channels: Channels | None) -> str:
    """One line a version: where it comes from, how it did, who serves it ("?" where that is not known)."""
    table = Table(box=SIMPLE_HEAD)
    for title in ("version", "parent", "created (UTC)", "HR@10", "NDCG@10", "pairs", "serves"):
        table.add_column(title, no_wrap=True, justify="right" if title in ("HR@10", "NDCG@10", "pairs") else "left")
    for manifest in manifests:
        table.add_row(
            manifest.model_version,
            manifest.parent or "-",
            moment(manifest.created_at),
            _number(metric(manifest.metrics, "hr@10")),
            _number(metric(manifest.metrics, "ndcg@10")),
            str(manifest.pairs),
            _served(manifest, channels),
        )
    out = io.StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines() if line.strip())


def as_object(manifest: Manifest, channels: Channels | None) -> dict[str, Any]:
    """The same, for machines; ``channels`` is null where it is not known."""
    return {
        "version": manifest.model_version,
        "parent": manifest.parent,
        "created_at": manifest.created_at,
        "metrics": manifest.metrics,
        "serving": manifest.serving.to_dict(),
        "pairs": manifest.pairs,
        "channels": None if channels is None else channels.serving(manifest.model_version),
    }


def metric(metrics: Mapping[str, float], name: str) -> float | None:
    """A metric by its name, however it is cased."""
    return next((value for found, value in metrics.items() if found.casefold() == name), None)


def moment(at_ms: int) -> str:
    """UTC to the minute; the number itself where it is no time of our calendar."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms}ms"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _served(manifest: Manifest, channels: Channels | None) -> str:
    if channels is None:
        return "?"
    shares = []
    for name in channels.serving(manifest.model_version):
        current = channels.current(name)
        shares.append(f"{name} {current.canary_share:.0%}" if name == "canary" and current is not None else name)
    return ", ".join(shares) or "-"

"""Draws a generated dashboard with what a real Prometheus answers: places, titles, units and legends as the file says. It is no Grafana; it
stands in for one where none can be installed, for tests and the picture in the documents.

Written by ``DASHBOARD_PREVIEW=FOLDER pytest tests/endtoend/test_monitoring.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

Series = tuple[dict[str, str], Sequence[tuple[float, float]]]
Ask = Callable[[str], Sequence[Series]]
"""From a query to labels and (time, value) of its series."""

_BACKGROUND, _PANEL, _TEXT, _MUTED = "#111217", "#181b1f", "#d8d9da", "#8e9297"
_COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff9830", "#f2495c", "#b877d9", "#5794f2", "#c8f2c2", "#ffcb7d", "#e0b6f4")
_ROW = 0.34
"""Inches of a step of the grid."""
_WIDTH = 15.0


def in_unit(value: float, unit: str) -> str:
    """
    >>> [in_unit(v, u) for v, u in ((0.158, "percentunit"), (0.0231, "s"), (90.4, "ops"), (1234.0, "short"), (2_500_000.0, "bytes"))]
    ['15.8%', '23.1 ms', '90.4/s', '1.23 K', '2.5 MB']
    """
    if not isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return f"{value:.3g} s" if abs(value) >= 1 or value == 0 else f"{value * 1000:.3g} ms"
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}{'B' if unit == 'bytes' else ''}"
    return f"{value:.3g}{'/s' if unit == 'ops' else ' B' if unit == 'bytes' else ''}"


def draw(dashboard: Path, ask: Ask, picture: Path) -> None:
    """A PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    board: dict[str, Any] = json.loads(dashboard.read_text(encoding="utf-8"))
    panels = board["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    height = rows * _ROW + 0.6
    figure = pyplot.figure(figsize=(_WIDTH, height), facecolor=_BACKGROUND)
    figure.text(0.012, 1 - 0.22 / height, board["title"], color=_TEXT, size=14, weight="bold", va="center")
    for panel in panels:
        place = panel["gridPos"]
        left, width = place["x"] / 24 + 0.004, place["w"] / 24 - 0.008
        bottom = 1 - (0.5 + (place["y"] + place["h"]) * _ROW) / height
        tall = place["h"] * _ROW / height - 0.006
        if panel["type"] == "row":
            figure.text(left + 0.008, bottom + tall / 2, panel["title"], color=_TEXT, size=10, va="center")
            continue
        figure.add_artist(Rectangle((left, bottom), width, tall, facecolor=_PANEL, edgecolor="#2c3235", linewidth=0.8, zorder=-1))
        figure.text(left + 0.006, bottom + tall - 0.17 / height, panel["title"], color=_TEXT, size=9, va="center")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        series = [
            (named(target.get("legendFormat", ""), labels), values)
            for target in panel["targets"]
            for labels, values in ask(target["expr"])
            if any(isfinite(value) for _, value in values)
        ]
        if not series:
            figure.text(left + width / 2, bottom + tall / 2, "No data", color=_MUTED, size=10, ha="center", va="center")
        elif panel["type"] == "stat":
            last = series[0][1][-1][1]
            figure.text(left + width / 2, bottom + tall * 0.45, in_unit(last, unit), color=_COLOURS[0], size=22, ha="center", va="center")
        else:
            _lines(figure, (left + 0.034, bottom + 0.62 / height, width - 0.044, tall - 0.98 / height), series, unit)
    figure.savefig(picture, dpi=80, facecolor=_BACKGROUND)
    pyplot.close(figure)


def named(template: str, labels: dict[str, str]) -> str:
    """A legend."""
    if template in ("", "__auto"):
        return ", ".join(labels.values()) or "all"
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def _lines(figure: Any, box: tuple[float, float, float, float], series: Sequence[tuple[str, Any]], unit: str) -> None:
    axes = figure.add_axes(box, facecolor=_PANEL)
    newest = max(at for _, values in series for at, _ in values)
    for (name, values), colour in zip(series, (_COLOURS * 9)[: len(series)], strict=False):
        axes.plot([at - newest for at, _ in values], [value for _, value in values], color=colour, linewidth=1.2, label=name)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: in_unit(value, unit))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s" if value else "now")
    axes.yaxis.set_major_locator(_ticks(4))
    axes.xaxis.set_major_locator(_ticks(4))
    axes.tick_params(colors=_MUTED, labelsize=7, length=0)
    axes.grid(color="#2c3235", linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(-0.08, -0.1), ncol=4, frameon=False, fontsize=7, handlelength=1, columnspacing=1)
    for text in legend.get_texts():
        text.set_color(_MUTED)


def _ticks(count: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count)

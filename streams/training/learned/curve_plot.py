"""A ranker's curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.ranking.learned.model import Ranker
from streams.training.learned.curves import Curve, curves, label, ticks, unused

_COLUMNS = 4
_COLOURS = {"line": "#2f6f8f", "band": "#b8c4ce", "axis": "#16324a", "text": "#5a6771"}


def plot_curves(path: Path, ranker: Ranker, title: str) -> None:
    """One small picture a feature, the heaviest first: what its value adds to the score. All have one scale of scores, so the curves
    compare."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = curves(ranker)
    rows = max(1, -(-len(found) // _COLUMNS))
    figure = Figure(figsize=(3.1 * _COLUMNS, 2.15 * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(found):
            _one(axes, found[place], first=place % _COLUMNS == 0)
        else:
            axes.set_axis_off()
    figure.suptitle(title, color=_COLOURS["axis"], fontsize=12)
    together = len(ranker.forest.features) or len(ranker.crosses.features)
    notes = ["grey: from the least to the most, whatever the other features are"] if together else []
    notes += [f"not used: {', '.join(unused(found))}"] if unused(found) else []
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=8, color=_COLOURS["text"], wrap=True)
    figure.savefig(path, dpi=120)


def _one(axes: Any, curve: Curve, *, first: bool) -> None:
    begin, last = curve.shown
    levels = range(begin, last + 1)
    axes.axhline(0, color=_COLOURS["axis"], linewidth=0.6)
    if (curve.high > curve.low).any():
        axes.fill_between(levels, curve.low[begin : last + 1], curve.high[begin : last + 1], step="mid", color=_COLOURS["band"], alpha=0.5)
    axes.step(levels, curve.mean[begin : last + 1], where="mid", color=_COLOURS["line"], linewidth=1.6)
    axes.set_title(f"{curve.feature.name} ({curve.weight:.2f})", fontsize=9, loc="left", color=_COLOURS["axis"])
    marks = ticks(begin, last, 4)
    axes.set_xticks(marks, [label(curve.feature, level) for level in marks], fontsize=7)
    axes.set_xlabel(curve.feature.unit, fontsize=7, labelpad=1, color=_COLOURS["text"])
    axes.tick_params(axis="y", labelsize=7)
    if first:
        axes.set_ylabel("adds to the score", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)

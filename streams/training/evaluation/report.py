"""The report that is kept with a model, for the operator: Markdown and a plot. The only module here that writes files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streams.ranking.serving_params import ServingParams
from streams.training.evaluation.gate import METRICS, GateVerdict
from streams.training.evaluation.measure import Measurement
from streams.training.evaluation.off_policy import OffPolicy
from streams.visible_text import as_markdown, visible

_NAMES = {"hit": "shoppers with a hit (HR@K)", "ndcg": "ranking quality (NDCG@K)", "recall": "targets found (recall@K)"}


def write_report(
    folder: Path,
    verdict: GateVerdict,
    candidate: Measurement,
    incumbent: Measurement,
    *,
    versions: tuple[str, str],
    fitted: tuple[ServingParams, ServingParams],
    off_policy: OffPolicy | None = None,
) -> Path:
    """``report.md`` and ``report.png`` in the folder, which is made; the path of the first. ``versions`` and ``fitted`` are the
    candidate's and the incumbent's."""
    folder.mkdir(parents=True, exist_ok=True)
    plot(folder / "report.png", verdict, candidate, incumbent)
    path = folder / "report.md"
    path.write_text(markdown(verdict, candidate, incumbent, versions=versions, fitted=fitted, off_policy=off_policy), encoding="utf-8")
    return path


def markdown(
    verdict: GateVerdict,
    candidate: Measurement,
    incumbent: Measurement,
    *,
    versions: tuple[str, str],
    fitted: tuple[ServingParams, ServingParams],
    off_policy: OffPolicy | None = None,
) -> str:
    """The report's text; it refers to ``report.png`` beside it."""
    new, old = versions
    lines = [
        f"# Model {new}: {'promoted' if verdict.promote else 'not promoted'}",
        f"Compared with {old} on {len(candidate.users)} cases of {len(set(candidate.users))} shoppers that neither was trained on.",
        "",
        *(f"- {as_markdown(reason)}" for reason in verdict.reasons),
        "",
        "## Metrics",
        *_table(["", "candidate", "serving now", "difference", "interval"], _metric_rows(verdict, candidate, incumbent)),
        "",
        "A difference is beyond chance if its interval does not contain 0. Definitions: docs/evaluation.md.",
        "",
        "## Serving parameters",
        *_table(
            ["", "candidate", "serving now"],
            [[name.replace("_", " "), *(f"{getattr(of, name):.4g}" for of in fitted)] for name in fitted[0].to_dict()],
        ),
        "",
    ]
    if off_policy is not None and off_policy.answers:
        lines += _off_policy(off_policy)
    parts = [name for name in verdict.differences if name not in METRICS]
    if parts:
        rows = [[name, _size(name, candidate), *_interval(verdict, name)] for name in parts]
        lines += ["## Parts of the shoppers", *_table(["", "cases", "difference", "interval"], rows), ""]
    bins = [[f"{b.low:.3f} to {b.high:.3f}", f"{b.items:,}", f"{b.precision:.1%}"] for b in candidate.calibration]
    lines += ["## Precision by score", *_table(["score", "items recommended", "share that were targets"], bins), ""]
    lines += [f"Threshold {candidate.threshold:.3f}: {candidate.volume:.1f} items per request, {candidate.precision:.1%} targets.", ""]
    return "\n".join([*lines, "![differences and calibration](report.png)", ""])


def plot(path: Path, verdict: GateVerdict, candidate: Measurement, incumbent: Measurement) -> None:
    """Left the differences with their intervals, right the precision by score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = list(verdict.differences)[::-1]
    for place, name in enumerate(names):
        change = verdict.differences[name]
        colour = "#2f6f8f" if change.low > 0 else "#b04a3a" if change.high < 0 else "#7a8791"
        left.plot([change.low, change.high], [place, place], color=colour, linewidth=2)
        left.plot([change.mean], [place], "o", color=colour)
    left.axvline(0, color="#16324a", linewidth=0.8)
    left.set_yticks(range(len(names)), [visible(name) for name in names], parse_math=False)
    left.set_xlabel("candidate less serving now, with interval")
    for label, of, colour in (("candidate", candidate, "#2f6f8f"), ("serving now", incumbent, "#b8c4ce")):
        middles = [(b.low + b.high) / 2 for b in of.calibration]
        right.plot(middles, [b.precision for b in of.calibration], "o-", color=colour, label=label)
    right.axvline(candidate.threshold, color="#16324a", linewidth=0.8, linestyle="--", label="candidate's threshold")
    right.set_xlabel("score")
    right.set_ylabel("share of recommended items that were right")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _off_policy(of: OffPolicy) -> list[str]:
    rows = [
        [name, f"{value.mean:.4f}", f"{value.low:.4f} to {value.high:.4f}"]
        for name, value in (("as served", of.served), ("candidate, SNIPS", of.snips), ("candidate, IPS", of.ips), ("gain (SNIPS)", of.gain))
    ]
    return [
        "## What the ranker would have earned",
        f"Rewards an answer, estimated from {of.answers} logged answers of {of.shoppers} shoppers from after what it was fitted to; "
        f"{of.supported:.1%} of its exposure was logged, worth {of.effective:.0f} shown items.",
        "",
        *_table(["", "rewards", "interval"], rows),
        "",
    ]


def _metric_rows(verdict: GateVerdict, candidate: Measurement, incumbent: Measurement) -> list[list[str]]:
    rows = []
    for metric in METRICS:
        means = [_mean(of, metric) for of in (candidate, incumbent)]
        rows.append([_NAMES[metric], *means, *_interval(verdict, metric)])
    for name, label in (("coverage", "catalogue coverage"), ("long_tail", "long tail's share of places")):
        before, after = getattr(incumbent, name), getattr(candidate, name)
        rows.append([label, f"{after:.4f}", f"{before:.4f}", f"{after - before:+.4f}", ""])
    return rows


def _mean(of: Measurement, metric: str) -> str:
    return f"{getattr(of.values, metric).mean():.4f}" if len(of.users) else "none"


def _interval(verdict: GateVerdict, name: str) -> list[str]:
    change = verdict.differences.get(name)
    return ["not judged", ""] if change is None else [f"{change.mean:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}"]


def _size(name: str, of: Measurement) -> str:
    return str(len(of.old_users) if name == "old slice" else int(of.segments[name].sum()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(as_markdown(cell) for cell in row)} |" for row in (head, ["---"] * len(head), *rows)]

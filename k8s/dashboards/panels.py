"""What a panel asks and says, and how it becomes one of Grafana's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as dashboard_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = dashboard_models.DataSourceRef(type_val="prometheus", uid="${source}")
NAMESPACE = 'namespace=~"$namespace"'
STAGE = f'{NAMESPACE},stage=~"$stage"'
"""In a query, ``@`` stands for the first, ``@s`` for the second."""


@dataclass(frozen=True)
class Query:
    expr: str
    """PromQL, with ``@`` and ``@s`` for the selectors of the variables."""
    legend: str = "__auto"

    @property
    def promql(self) -> str:
        return self.expr.replace("@s", STAGE).replace("@", NAMESPACE)


def rate(series: str, by: str = "") -> str:
    """A second, over Grafana's own interval; of all together, or by some labels."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({series}[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    return f"({part}) / ({whole})"


def quantile(share: float, metric: str, labels: str = "@") -> str:
    """Of a histogram, over all its series."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket{{{labels}}}', 'le')})"


def quantiles(metric: str, by: str, labels: str, *shares: float) -> tuple[Query, ...]:
    """Lines of a histogram, for each of ``by``."""
    return tuple(
        Query(f"histogram_quantile({one}, {rate(f'{metric}_bucket{{{labels}}}', f'le, {by}')})", f"{{{{{by}}}}} p{one * 100:g}")
        for one in shares
    )


@dataclass(frozen=True)
class Panel:
    """``unit`` is one of Grafana's. ``bad_from``: from where on a value is shown in red."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["lines", "stacked", "number", "bars", "heat"] = "lines"
    bad_from: float | None = None
    width: int = 8
    height: int = 7


@dataclass(frozen=True)
class Board:
    """A dashboard: rows of panels, each with its heading."""

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...] = field(default_factory=tuple)

    @property
    def panels(self) -> list[Panel]:
        return [panel for _, panels in self.rows for panel in panels]


def dashboard_of(board: Board) -> dashboard_models.Dashboard:
    """The dashboard as Grafana imports it."""
    built = (
        dashboard.Dashboard(f"Veilstream: {board.title}")
        .uid(f"veilstream-{board.uid}")
        .description(board.description)
        .tags(["veilstream"])
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(dashboard_models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Veilstream").type(dashboard_models.DashboardLinkType.DASHBOARDS).tags(["veilstream"]).keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(_variable("namespace", "Namespace", "veilstream_ready"))
        .with_variable(_variable("stage", "Stage", 'veilstream_ready{namespace=~"$namespace"}'))
    )
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title))
        for panel in panels:
            built = built.with_panel(_panel(panel))
    return built.build()


def _variable(name: str, label: str, series: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({series}, {name})")
        .refresh(dashboard_models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        # Also where nothing adds such a label.
        .all_value(".*")
        .current(dashboard_models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel) -> Any:
    builders: dict[str, Any] = {
        "lines": timeseries.Panel,
        "stacked": timeseries.Panel,
        "number": stat.Panel,
        "bars": bargauge.Panel,
        "heat": heatmap.Panel,
    }
    built = (
        builders[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
        .no_value("no data")
    )
    if panel.kind in ("lines", "stacked"):
        built = built.fill_opacity(12 if panel.kind == "lines" else 45).line_width(1).show_points(common_models.VisibilityMode.NEVER)
        built = built.axis_soft_min(0).legend(
            common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST).placement(common_models.LegendPlacement.BOTTOM)
        )
    if panel.kind == "stacked":
        built = built.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if panel.bad_from is not None:
        steps = [dashboard_models.Threshold(value=None, color="green"), dashboard_models.Threshold(value=panel.bad_from, color="red")]
        built = built.thresholds(dashboard.ThresholdsConfig().mode(dashboard_models.ThresholdsMode.ABSOLUTE).steps(steps))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query.promql).legend_format(query.legend).ref_id(letter)
        if panel.kind in ("number", "bars"):
            target = target.instant()
        elif panel.kind == "heat":
            target = target.format(PromQueryFormat.HEATMAP)
        built = built.with_target(target)
    return built

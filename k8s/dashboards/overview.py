"""The dashboard of overview."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, quantiles, rate, share

_CLICKS = 'sum(increase(veilstream_outcomes_total{@,outcome=~"click|cart|purchase"}[1h]))'
_SHOWN = "sum(increase(veilstream_outcomes_total{@}[1h]))"

BOARD = Board(
    "overview",
    "overview",
    "Is everything well? One look.",
    (
        (
            "Now",
            (
                Panel(
                    "Events",
                    "Clean events written, a second.",
                    "ops",
                    (Query(rate("veilstream_events_total{@}")),),
                    "number",
                    width=4,
                    height=4,
                ),
                Panel(
                    "Recommendations",
                    "Lists written, a second.",
                    "ops",
                    (Query(rate("veilstream_recommendations_total{@}")),),
                    "number",
                    width=4,
                    height=4,
                ),
                Panel(
                    "Click-through",
                    "Recommended items of the last hour that were clicked, put into the cart or bought.",
                    "percentunit",
                    (Query(share(_CLICKS, _SHOWN)),),
                    "number",
                    width=4,
                    height=4,
                ),
                Panel(
                    "Oldest waiting record",
                    "Of all stages. Behind ingest up to VEILSTREAM_K_TIME_S too large.",
                    "s",
                    (Query("max(veilstream_behind_seconds{@})"),),
                    "number",
                    900,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Refused",
                    "Share of source records that became dead letters.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate("veilstream_records_rejected_total{@}"),
                                rate("veilstream_records_total{@}"),
                            )
                        ),
                    ),
                    "number",
                    0.05,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Oldest open erasure",
                    "Age of the oldest request to forget a shopper that is not done.",
                    "s",
                    (Query("max(veilstream_erasure_oldest_seconds{@})"),),
                    "number",
                    86400,
                    width=4,
                    height=4,
                ),
            ),
        ),
        (
            "Flow",
            (
                Panel(
                    "Events by type",
                    "Clean events written.",
                    "ops",
                    (Query(rate("veilstream_events_total{@}", "type"), "{{type}}"),),
                    "stacked",
                ),
                Panel(
                    "Recommendations by policy",
                    "What caused them: behaviour or a search.",
                    "ops",
                    (Query(rate("veilstream_recommendations_total{@}", "policy"), "{{policy}}"),),
                    "stacked",
                ),
                Panel(
                    "What became of recommended items",
                    "Each counted once, when it is known.",
                    "ops",
                    (Query(rate("veilstream_outcomes_total{@}", "outcome"), "{{outcome}}"),),
                    "stacked",
                ),
                Panel(
                    "Records that wait",
                    "Source records not yet applied, by stage.",
                    "short",
                    (Query("sum by (stage) (veilstream_lag_records{@s})", "{{stage}}"),),
                ),
                Panel(
                    "Time of a record, p99",
                    "From its arrival at the stage until all it causes is acknowledged.",
                    "s",
                    quantiles("veilstream_record_seconds", "stage", "@s", 0.99),
                ),
                Panel(
                    "Workers that are ready",
                    "By stage; none is an alert.",
                    "short",
                    (Query("sum by (stage) (veilstream_ready{@s})", "{{stage}}"),),
                ),
            ),
        ),
    ),
)

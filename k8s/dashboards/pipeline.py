"""The dashboard of pipeline."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, rate, share

BOARD = Board(
    "pipeline",
    "pipeline",
    "What each stage does with its records.",
    (
        (
            "Records",
            (
                Panel(
                    "Settled",
                    "Source records whose outputs and state are acknowledged.",
                    "ops",
                    (Query(rate("veilstream_records_total{@s}", "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Written",
                    "Output records acknowledged by the brokers.",
                    "ops",
                    (Query(rate("veilstream_outputs_total{@s}", "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Not written again",
                    "Outputs that were already there after a take-over: nothing is doubled.",
                    "ops",
                    (Query(rate("veilstream_outputs_suppressed_total{@s}", "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Dead letters by reason",
                    "`veilstream recover` shows and mends them.",
                    "ops",
                    (Query(rate("veilstream_dead_letters_total{@s}", "stage, reason"), "{{stage}} {{reason}}"),),
                    "stacked",
                ),
                Panel(
                    "Dropped by rule",
                    "Without a dead letter: duplicates, what a withdrawal stops, and others.",
                    "ops",
                    (Query(rate("veilstream_dropped_total{@s}", "stage, reason"), "{{stage}} {{reason}}"),),
                    "stacked",
                ),
                Panel(
                    "Refused by source",
                    "Share of the events of each source of the shop.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate("veilstream_source_refused_total{@}", "source"),
                                rate("veilstream_source_events_total{@}", "source"),
                            ),
                            "{{source}}",
                        ),
                    ),
                ),
            ),
        ),
        (
            "Workers",
            (
                Panel(
                    "Partitions",
                    "That workers process, by stage.",
                    "short",
                    (Query("sum by (stage) (veilstream_partitions_owned{@s})", "{{stage}}"),),
                ),
                Panel(
                    "Given out anew",
                    "Rebalances of the workers, an hour.",
                    "short",
                    (Query("sum by (stage) (increase(veilstream_rebalances_total{@s}[1h]))", "{{stage}}"),),
                ),
                Panel(
                    "Fenced",
                    "Batches not written because the partition went to another worker, an hour.",
                    "short",
                    (Query("sum by (stage) (increase(veilstream_fenced_total{@s}[1h]))", "{{stage}}"),),
                ),
                Panel(
                    "Tried in vain",
                    "Longest time for which a partition retries one step.",
                    "s",
                    (Query("max by (stage) (veilstream_retrying_seconds{@s})", "{{stage}}"),),
                    bad_from=120,
                ),
                Panel(
                    "Batches that failed",
                    "Whose handler raised; they were halved or became dead letters.",
                    "ops",
                    (Query(rate("veilstream_handler_errors_total{@s}", "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Producers set aside",
                    "Because most of their records were refused.",
                    "short",
                    (Query("sum(veilstream_producers_quarantined{@})", "producers"),),
                ),
            ),
        ),
    ),
)

"""The dashboard of Kafka, as the workers see it."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, rate

BOARD = Board(
    "kafka",
    "Kafka, as the workers see it",
    "Topics, partitions, states and read models. The brokers' own metrics are Strimzi's.",
    (
        (
            "Topics",
            (
                Panel(
                    "Lag",
                    "Source records not yet applied, by topic.",
                    "short",
                    (Query("sum by (stage, topic) (veilstream_lag_records{@s})", "{{stage}} {{topic}}"),),
                ),
                Panel(
                    "Oldest waiting record",
                    "By topic. Behind ingest up to VEILSTREAM_K_TIME_S too large.",
                    "s",
                    (Query("max by (stage, topic) (veilstream_behind_seconds{@s})", "{{stage}} {{topic}}"),),
                ),
                Panel(
                    "Lost to retention",
                    "Records that were deleted before they were read, a day. Never right.",
                    "short",
                    (Query("sum by (stage, topic) (increase(veilstream_lost_to_retention_total{@s}[1d]))", "{{stage}} {{topic}}"),),
                    bad_from=1,
                ),
            ),
        ),
        (
            "States and read models",
            (
                Panel(
                    "Values kept",
                    "By stage, as their stores estimate.",
                    "short",
                    (Query("sum by (stage) (veilstream_state_values{@s})", "{{stage}}"),),
                ),
                Panel("Size", "Of these values.", "bytes", (Query("sum by (stage) (veilstream_state_bytes{@s})", "{{stage}}"),)),
                Panel(
                    "Being restored",
                    "Records of changelogs that are still to be read.",
                    "short",
                    (Query("sum by (stage) (veilstream_recovery_records_left{@s})", "{{stage}}"),),
                ),
                Panel(
                    "Read models",
                    "Entries.",
                    "short",
                    (Query("max by (stage, model) (veilstream_read_model_rows{@s})", "{{stage}} {{model}}"),),
                ),
                Panel(
                    "Age of read models",
                    "Time since they were last known to be up to date.",
                    "s",
                    (Query("max by (stage, topic) (veilstream_follower_age_seconds{@s})", "{{stage}} {{topic}}"),),
                    bad_from=300,
                ),
                Panel(
                    "Attempts repeated",
                    "After a transient failure.",
                    "ops",
                    (Query(rate("veilstream_retries_total{@s}", "stage"), "{{stage}}"),),
                ),
            ),
        ),
    ),
)

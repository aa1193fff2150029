"""The dashboard of latency."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, quantile, quantiles, rate, share

BOARD = Board(
    "latency",
    "latency",
    "How long everything takes, and where the time goes.",
    (
        (
            "Objective: 99% of records within a second",
            (
                Panel(
                    "Within a second",
                    "Share of records settled within a second of their arrival at the stage.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate('veilstream_record_seconds_bucket{@s,le="1.0"}', "stage"),
                                rate("veilstream_record_seconds_count{@s}", "stage"),
                            ),
                            "{{stage}}",
                        ),
                    ),
                ),
                Panel(
                    "Time of a record",
                    "From its arrival at the stage until all it causes is acknowledged.",
                    "s",
                    quantiles("veilstream_record_seconds", "stage", "@s", 0.5, 0.99),
                ),
                Panel(
                    "From the record's own time",
                    "Waiting in Kafka included. Not of behaviour.clean, whose times are rounded.",
                    "s",
                    quantiles("veilstream_latency_seconds", "topic", "@s", 0.5, 0.99),
                ),
            ),
        ),
        (
            "Where it goes",
            (
                Panel(
                    "The stage itself",
                    "Time of the handler for a batch, p99.",
                    "s",
                    quantiles("veilstream_handler_seconds", "stage", "@s", 0.99),
                ),
                Panel(
                    "The brokers",
                    "Time until the outputs of a batch are acknowledged, p99.",
                    "s",
                    quantiles("veilstream_write_seconds", "stage", "@s", 0.99),
                ),
                Panel(
                    "The encoder",
                    "Time that a text waits for its batch, and that a batch takes, p99.",
                    "s",
                    (
                        Query(
                            quantile(0.99, "veilstream_encoder_queue_wait_seconds"),
                            "waits",
                        ),
                        Query(
                            quantile(0.99, "veilstream_encoder_compute_seconds"),
                            "computes",
                        ),
                    ),
                ),
                Panel(
                    "All records",
                    "Of the chosen stages, by how long they took.",
                    "s",
                    (Query("sum by (le) (increase(veilstream_record_seconds_bucket{@s}[$__rate_interval]))", "{{le}}"),),
                    "heat",
                    width=16,
                ),
                Panel(
                    "Consent",
                    "From a shop's message until a worker of ingest knows the decision, p99.",
                    "s",
                    (Query("histogram_quantile(0.99, sum by (le) (rate(veilstream_consent_delay_seconds_bucket{@}[1h])))", "p99"),),
                ),
            ),
        ),
    ),
)

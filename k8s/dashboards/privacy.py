"""The dashboard of privacy."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, rate

BOARD = Board(
    "privacy",
    "privacy",
    "What is promised to shoppers, as it is kept now.",
    (
        (
            "Consent and erasure",
            (
                Panel(
                    "Decisions",
                    "Shoppers by purpose and decision, as a worker of ingest knows them.",
                    "short",
                    (Query("max by (purpose, decision) (veilstream_consents{@})", "{{purpose}} {{decision}}"),),
                    "bars",
                ),
                Panel(
                    "Open erasures",
                    "Requests to forget a shopper that not all stages have receipted.",
                    "short",
                    (Query("max(veilstream_erasures_open{@})", "open"),),
                ),
                Panel(
                    "Oldest open erasure",
                    "An alert from a day on.",
                    "s",
                    (Query("max(veilstream_erasure_oldest_seconds{@})", "oldest"),),
                    bad_from=86400,
                ),
                Panel(
                    "Stopped by a withdrawal",
                    "Events that were passed on before the withdrawal was known, and have no effect.",
                    "ops",
                    (Query(rate('veilstream_dropped_total{@,reason="no_consent"}', "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Told less of",
                    "Events of which less is told than is known, since too few shoppers share it.",
                    "ops",
                    (Query(rate("veilstream_kept_back_total{@}", "flag"), "{{flag}}"),),
                ),
                Panel(
                    "Expired",
                    "States of shoppers removed because they did nothing for long, a day.",
                    "short",
                    (Query("sum by (stage) (increase(veilstream_state_expired_total{@s}[1d]))", "{{stage}}"),),
                ),
            ),
        ),
        (
            "At rest",
            (
                Panel(
                    "Shoppers with a data key",
                    "In the states of profile and feedback.",
                    "short",
                    (Query("sum by (stage) (veilstream_state_data_keys{@s})", "{{stage}}"),),
                ),
                Panel(
                    "Not yet under the current key",
                    "Partitions. 0: the old state key is not needed any more.",
                    "short",
                    (Query("sum by (stage) (veilstream_state_unmoved_partitions{@s})", "{{stage}}"),),
                ),
                Panel(
                    "Shredded values met",
                    "After an old copy of a state was put back, a day.",
                    "short",
                    (Query("sum by (stage) (increase(veilstream_state_shredded_total{@s}[1d]))", "{{stage}}"),),
                ),
            ),
        ),
    ),
)

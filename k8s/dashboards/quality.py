"""The dashboard of recommendations and experiments."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, quantile, rate, share

BOARD = Board(
    "quality",
    "recommendations and experiments",
    "What is recommended, and whether it is wanted.",
    (
        (
            "Wanted",
            (
                Panel(
                    *(
                        "Click-through by model",
                        "Items that were clicked, put into the cart or bought, of all that were recommended.",
                        "percentunit",
                    ),
                    (
                        Query(
                            share(
                                'sum by (model_version) (increase(veilstream_outcomes_total{@,outcome=~"click|cart|purchase"}[1h]))',
                                "sum by (model_version) (increase(veilstream_outcomes_total{@}[1h]))",
                            ),
                            "{{model_version}}",
                        ),
                    ),
                ),
                Panel(
                    "Conversion by policy",
                    "Items that were bought, of all that were recommended.",
                    "percentunit",
                    (
                        Query(
                            share(
                                'sum by (policy) (increase(veilstream_outcomes_total{@,outcome="purchase"}[1h]))',
                                "sum by (policy) (increase(veilstream_outcomes_total{@}[1h]))",
                            ),
                            "{{policy}}",
                        ),
                    ),
                ),
                Panel(
                    "Canary less stable",
                    "Difference of the mean reward, and its interval.",
                    "short",
                    (Query("max by (bound) (veilstream_trainer_canary_difference{@})", "{{bound}}"),),
                ),
            ),
        ),
        (
            "Given, and not given",
            (
                Panel(
                    "No list, by reason",
                    "Events that ask for one: debounced (one was made a moment ago), nothing_fits.",
                    "ops",
                    (Query(rate("veilstream_recommendations_suppressed_total{@}", "reason"), "{{reason}}"),),
                ),
                Panel(
                    "Scores of first items",
                    "Beside what a score has to reach.",
                    "short",
                    (
                        *(
                            Query(
                                quantile(q, "veilstream_recommendation_score"),
                                f"p{q * 100:g}",
                            )
                            for q in (0.1, 0.5, 0.9)
                        ),
                        Query("max by (model_version) (veilstream_recommendation_threshold{@})", "threshold {{model_version}}"),
                    ),
                ),
                Panel(
                    "Without a profile",
                    "Lists for shoppers who allow no personalization, of all lists.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate('veilstream_recommendations_total{@,profiled="false"}') + " or vector(0)",
                                rate("veilstream_recommendations_total{@}"),
                            ),
                            "not profiled",
                        ),
                    ),
                ),
            ),
        ),
        (
            "How even",
            (
                Panel(
                    "Different items shown",
                    "In the last half hour to hour, by each worker.",
                    "short",
                    (Query("max(veilstream_exposed_items{@})", "items"),),
                ),
                Panel(
                    "Share of the most shown",
                    "Places that went to the hundredth of items shown most; 1% is even.",
                    "percentunit",
                    (Query("max(veilstream_exposure_top_share{@})", "share"),),
                ),
                Panel(
                    "Ignored",
                    "Share of recommended items without a reaction, as the trigger of training sees it.",
                    "percentunit",
                    (Query("max(veilstream_training_ignored_share{@})", "ignored"),),
                ),
            ),
        ),
    ),
)

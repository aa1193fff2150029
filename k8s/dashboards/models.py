"""The dashboard of models and training."""

from __future__ import annotations

from k8s.dashboards.panels import Board, Panel, Query, quantile, rate, share

BOARD = Board(
    "models",
    "models and training",
    "Which models serve, how the encoder works, and what is being learnt.",
    (
        (
            "Serving",
            (
                Panel(
                    "Models that serve",
                    "Workers by channel and version.",
                    "short",
                    (Query("sum by (channel, model_version) (veilstream_model_info{@})", "{{channel}} {{model_version}}"),),
                    "bars",
                ),
                Panel(
                    "Items ready",
                    "Share of the catalogue under a version that is to serve.",
                    "percentunit",
                    (Query("min by (model_version) (veilstream_model_items_share{@})", "{{model_version}}"),),
                ),
                Panel(
                    "Refused",
                    "Models and announcements, an hour.",
                    "short",
                    (Query("sum by (reason) (increase(veilstream_models_refused_total{@}[1h]))", "{{reason}}"),),
                    bad_from=1,
                ),
            ),
        ),
        (
            "Encoder",
            (
                Panel(
                    "Texts",
                    "Computed a second.",
                    "ops",
                    (Query(rate("veilstream_encoder_texts_total{@}", "model_version"), "{{model_version}}"),),
                ),
                Panel(
                    *(
                        "Padding and cache",
                        "Share of computed positions that are padding; share of texts found in the cache.",
                        "percentunit",
                    ),
                    (
                        Query(
                            share(
                                rate("veilstream_encoder_padding_total{@}"),
                                rate("veilstream_encoder_padding_total{@}") + " + " + rate("veilstream_encoder_tokens_total{@}"),
                            ),
                            "padding",
                        ),
                        Query(
                            share(
                                rate("veilstream_encoder_cache_hits_total{@}"),
                                rate("veilstream_encoder_cache_hits_total{@}") + " + " + rate("veilstream_encoder_cache_misses_total{@}"),
                            ),
                            "found in the cache",
                        ),
                    ),
                ),
                Panel(
                    "Texts a batch",
                    "Median.",
                    "short",
                    (Query(quantile(0.5, "veilstream_encoder_batch_texts"), "texts"),),
                ),
            ),
        ),
        (
            "Training",
            (
                Panel(
                    "Pairs",
                    "In the trainer's store, and new since the last round was requested.",
                    "short",
                    (Query("max(veilstream_trainer_pairs_stored{@})", "stored"), Query("max(veilstream_training_new_pairs{@})", "new")),
                ),
                Panel(
                    "Round under way",
                    "Share of its planned steps that are done.",
                    "percentunit",
                    (Query("max(veilstream_trainer_step{@} / (veilstream_trainer_steps{@} > 0))", "done"),),
                ),
                Panel("Time left", "Of the fine-tuning under way.", "s", (Query("max(veilstream_trainer_seconds_left{@})", "left"),)),
                Panel("Loss", "Of the last step.", "short", (Query("max(veilstream_trainer_loss{@})", "loss"),)),
                Panel(
                    "Rounds",
                    "By how they ended, a day.",
                    "short",
                    (Query("sum by (state) (increase(veilstream_trainer_rounds_total{@}[1d]))", "{{state}}"),),
                ),
                Panel(
                    "Drift",
                    "Population stability index of the scores; above 0.25 is much.",
                    "short",
                    (Query("max(veilstream_training_score_stability{@})", "index"),),
                    bad_from=0.25,
                ),
            ),
        ),
    ),
)

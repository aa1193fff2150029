"""The flow, on one page.

::

    behaviour.raw ──ingest──▶ behaviour.clean ──profile──▶ recommendations ─┐
                     │                │            │                        ▼
                     ▼                │            ▼                     feedback ──▶ feedback
             behaviour.dead-letter    │      items.popularity, .together    ▲  └────▶ training.pairs
                                      │      ranking.features               │
                                      │      profile.links (read by profile)│
                                      │      privacy.moves (read by profile, feedback)
                                      └─────────────────────────────────────┘
    consent.updates, privacy.erasure ──ingest──▶ behaviour.clean, consent.decisions (read whole by ingest), privacy.forgotten

    catalogue.items ──catalogue──▶ items.vectors (read whole by profile)

    training.pairs, feedback, recommendations ──learning──▶ training.tallies, training.control (read whole by learning)

Every stage is a Faust app of its own (its own consumer group and rights) with one agent: the agent gets whole fetched runs and hands
them to the engine, which calls the stage's handler with batches of them and writes what it returns. What somebody may ask for later goes
to privacy.audit as well (streams/audit).
"""

from __future__ import annotations

from streams import topics
from streams.engine.handler import StageSpec

INGEST = StageSpec(
    "ingest",
    (topics.BEHAVIOUR_RAW, topics.CONSENT_UPDATES, topics.PRIVACY_ERASURE),
    (topics.BEHAVIOUR_CLEAN, topics.CONSENT_DECISIONS, topics.PRIVACY_FORGOTTEN, topics.DEAD_LETTER, topics.PRIVACY_AUDIT),
    follows=(topics.CONSENT_DECISIONS,),
)
CATALOGUE = StageSpec(
    "catalogue",
    (topics.CATALOGUE_ITEMS,),
    (topics.ITEMS_VECTORS, topics.DEAD_LETTER, topics.PRIVACY_AUDIT),
    table="items",
    follows=(topics.MODELS,),
    uses_encoder=True,
    timer_s=0.5,
)
PROFILE = StageSpec(
    "profile",
    (topics.BEHAVIOUR_CLEAN, topics.PROFILE_LINKS, topics.PRIVACY_MOVES),
    (
        *(topics.RECOMMENDATIONS, topics.RANKING_FEATURES, topics.ITEMS_POPULARITY, topics.ITEMS_TOGETHER),
        *(topics.PROFILE_LINKS, topics.PRIVACY_MOVES, topics.DEAD_LETTER, topics.PRIVACY_AUDIT),
    ),
    table="profiles",
    seals="shoppers",
    aligned=True,
    scattered=(topics.PROFILE_LINKS, topics.PRIVACY_MOVES),
    follows=(topics.ITEMS_VECTORS, topics.ITEMS_POPULARITY, topics.ITEMS_TOGETHER, topics.MODELS),
    uses_encoder=True,
)
FEEDBACK = StageSpec(
    "feedback",
    (topics.BEHAVIOUR_CLEAN, topics.RECOMMENDATIONS, topics.PRIVACY_MOVES),
    (topics.FEEDBACK, topics.TRAINING_PAIRS, topics.PRIVACY_MOVES, topics.DEAD_LETTER, topics.PRIVACY_AUDIT),
    table="outstanding",
    seals="shoppers",
    aligned=True,
    scattered=(topics.PRIVACY_MOVES,),
    linger_ms=50,
    timer_s=5.0,
)
LEARNING = StageSpec(
    "learning",
    (topics.TRAINING_PAIRS, topics.FEEDBACK, topics.RECOMMENDATIONS),
    (topics.TRAINING_TALLIES, topics.TRAINING_CONTROL, topics.DEAD_LETTER, topics.PRIVACY_AUDIT),
    table="tallies",
    seals="values",
    aligned=True,
    linger_ms=200,
    follows=(topics.TRAINING_TALLIES, topics.TRAINING_CONTROL),
    timer_s=5.0,
)
STAGES: dict[str, StageSpec] = {spec.name: spec for spec in (INGEST, CATALOGUE, PROFILE, FEEDBACK, LEARNING)}

"""Which workers answer, what they run, and what an older one lacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from streams.console.samples import Readings, Scrape
from streams.console.texts import shown
from streams.console.view import Worker

EXPECTED: Mapping[str, tuple[str, ...]] = {
    "stage": (
        *("veilstream_records", "veilstream_outputs", "veilstream_lag_records", "veilstream_behind_seconds", "veilstream_ready"),
        *("veilstream_dead_letters", "veilstream_handler_seconds", "veilstream_write_seconds", "veilstream_retrying_seconds"),
        "veilstream_lost_to_retention",
    ),
    "ingest": ("veilstream_events", "veilstream_source_events", "veilstream_source_refused", "veilstream_kept_back", "veilstream_consents"),
    "profile": ("veilstream_recommendations", "veilstream_model_info"),
    "feedback": ("veilstream_outcomes",),
    "learning": ("veilstream_training_new_pairs",),
    "trainer": ("veilstream_trainer_training", "veilstream_trainer_pairs", "veilstream_erasures_open"),
}
"""What the page reads, by who has it: names without ``_total``."""
TRAINER = "trainer"


def stages_of(scrape: Scrape) -> list[str]:
    """What a worker runs: the stages that its samples name, ``trainer``; empty where it is no worker of this product."""
    found = {labels["stage"] for own in scrape.values.values() for labels, _ in own if "stage" in labels}
    if any(name.startswith("veilstream_trainer_") for name in scrape.families):
        found.add(TRAINER)
    return sorted(found)


def missing_in(scrape: Scrape) -> list[str]:
    """What the page reads and this worker does not have, since it is older; sorted."""
    wanted: set[str] = set()
    for stage in stages_of(scrape):
        wanted |= {*(() if stage == TRAINER else EXPECTED["stage"]), *EXPECTED.get(stage, ())}
    return sorted(wanted - scrape.families)


def workers_view(addresses: Mapping[str, str | None], readings: Readings) -> list[Worker]:
    """One row for each address that is to be asked; its value says why it does not answer, or None.

    States: ``away``, ``other`` (answers, and is no worker), ``old`` (lacks metrics), ``starting``, ``ok``.
    """
    latest, found = readings.latest(), []
    for address, problem in addresses.items():
        scrape = latest.get(address)
        if scrape is None:
            found.append(Worker(address, [], "away", [], problem or "", ""))
            continue
        stages, missing = stages_of(scrape), missing_in(scrape)
        is_ready = all(value > 0 for _, value in scrape.of("veilstream_ready", {}))
        state = "other" if not stages else "old" if missing else "ok" if is_ready else "starting"
        found.append(Worker(address, stages, state, missing, "", _version(scrape)))
    return found


def _version(scrape: Scrape) -> str:
    return next((shown(labels.get("version", ""), 20) for labels, _ in scrape.of("veilstream_build_info", {})), "")

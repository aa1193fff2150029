"""Rounds of training: their steps on the control topic, and their curves. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from streams.console.samples import Readings
from streams.console.texts import shown
from streams.console.view import Round, Training

SHOWN = 8
_KEPT = 50
_ID = re.compile(r"[0-9a-f]{8,64}")
"""Whose name may be that of a folder."""
_POINTS = 240
_TIMES = {"requested": "requested_at", "started": "started_at", "finished": "ended_at", "failed": "ended_at"}

Points = list[tuple[float, float]]


class Curves:
    """Loss and validation by step, of the rounds that this process saw running."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, dict[float, float]]] = {}

    def take(self, round_id: str, step: float, values: Mapping[str, float | None]) -> None:
        own = self._of.setdefault(round_id, {})
        for name, value in values.items():
            if value is not None:
                own.setdefault(name, {})[step] = value
        while len(self._of) > _KEPT:
            del self._of[next(iter(self._of))]

    def of(self, round_id: str, name: str) -> Points:
        return thinned(sorted(self._of.get(round_id, {}).get(name, {}).items()))


class Rounds:
    """Takes the records of ``training.control`` in their order."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Any]] = {}
        self.curves = Curves()

    def take(self, record: Mapping[str, Any]) -> None:
        known = self._of.setdefault(record["request_id"], {"cause": record["cause"], "asked": record["reason"]})
        known["state"] = record["state"]
        if record["state"] in _TIMES:
            known[_TIMES[record["state"]]] = record["at"]
        known |= {name: record[name] for name in ("reason", "verdict", "model_version", "pairs") if record[name]}
        while len(self._of) > _KEPT:
            del self._of[next(iter(self._of))]

    @property
    def running(self) -> str | None:
        """The round that has started and not ended."""
        return next((name for name, known in reversed(self._of.items()) if known["state"] == "started"), None)

    def shown(self) -> dict[str, bool]:
        """The rounds that are shown and have begun, and whether each is over."""
        newest = list(reversed(self._of.items()))[:SHOWN]
        return {name: known["state"] != "started" for name, known in newest if known["state"] != "requested" and _ID.fullmatch(name)}

    def watch(self, readings: Readings) -> None:
        """Keep what the trainer tells of the running round."""
        step = readings.largest("veilstream_trainer_step")
        if self.running is not None and step and (readings.largest("veilstream_trainer_training") or 0) > 0:
            values = {name: readings.largest(f"veilstream_trainer_{name}") for name in ("loss", "validation")}
            self.curves.take(self.running, step, {name: value or None for name, value in values.items()})

    def view(self, readings: Readings, kept: Callable[[str], Mapping[str, Points]]) -> Training:
        """``kept``: the curves of a round that lie in the trainer's folder, if it can be read."""
        newest = list(reversed(self._of.items()))[:SHOWN]
        is_training = (readings.largest("veilstream_trainer_training") or 0) > 0

        def now(name: str) -> float | None:
            return readings.largest(f"veilstream_trainer_{name}") if is_training else None

        return Training(
            rounds=[self._round(name, known, kept(name)) for name, known in newest],
            step=now("step"),
            steps=now("steps"),
            seconds_left=now("seconds_left"),
            new_pairs=readings.largest("veilstream_training_new_pairs"),
            score_stability=readings.largest("veilstream_training_score_stability"),
            ignored_share=readings.largest("veilstream_training_ignored_share"),
            pairs_stored=readings.total("veilstream_trainer_pairs_stored"),
        )

    def _round(self, name: str, known: Mapping[str, Any], kept: Mapping[str, Points]) -> Round:
        seen = {curve: max(self.curves.of(name, curve), thinned(kept.get(curve, [])), key=len) for curve in ("loss", "validation")}
        version = known.get("model_version")
        return Round(
            id=shown(name, 12),
            state=shown(known["state"], 20),
            cause=shown(known["cause"], 20),
            reason=shown(known.get("reason", "")),
            requested_at=known.get("requested_at"),
            started_at=known.get("started_at"),
            ended_at=known.get("ended_at"),
            version=None if version is None else shown(version, 60),
            verdict=shown(known.get("verdict", ""), 400),
            pairs=known.get("pairs", 0),
            loss=seen["loss"],
            validation=seen["validation"],
        )


def thinned(points: Points, most: int = _POINTS) -> Points:
    """Evenly chosen points, the first and the last among them.

    >>> thinned([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], 3)
    [(0, 1), (2, 3), (4, 5)]
    """
    if len(points) <= most:
        return points
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]

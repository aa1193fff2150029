"""Learning in the demo: pairs, round, canary and promotion, and the purchases of both groups meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from streams.errors import BrokerUnavailable, TransientError
from streams.models.hotswap.serving_model import in_canary
from streams.models.registry.channels import current_channels
from streams.privacy.keys import load_model_verify_key
from streams.settings import KafkaSettings, Settings
from streams.simulator.accounting import Account, percentile
from streams.simulator.groups import Comparison
from streams.simulator.shop import Shop
from streams.simulator.stages import StageProcesses
from streams.topics import TRAINING_CONTROL

_LOOK_S = 1.5
_AFTERWARDS_S = 10.0
"""That the shop stays open when it is over."""
_ENDED = ("finished", "failed")

SETTINGS = {
    # A shop whose day passes in 25 seconds learns from less, faster. The multilingual model's steps take longer than the demo, beside
    # the shop on the same cores. The small one does not know the half of the titles that are Chinese, so it need not be kept close to.
    "VEILSTREAM_MODEL": "bundled-en",
    "VEILSTREAM_TRAINING_MIN_PAIRS": "55000",
    "VEILSTREAM_TRAINING_DRIFT_MIN": "1000000000",
    "VEILSTREAM_TRAINER_MINUTES": "2",
    "VEILSTREAM_TRAINER_VALIDATION_SHARE": "0.25",
    "VEILSTREAM_TRAINER_TEST_SHARE": "0.4",
    "VEILSTREAM_TRAINER_GATE_METRIC": "hit",
    "VEILSTREAM_TRAINER_BATCH_SIZE": "256",
    "VEILSTREAM_TRAINER_LEARNING_RATE": "0.001",
    "VEILSTREAM_TRAINER_DRIFT": "0.1",
    "VEILSTREAM_TRAINER_CANARY_SHARE": "0.5",
    "VEILSTREAM_TRAINER_CANARY_RECOMMENDATIONS": "3000",
    "VEILSTREAM_MODEL_GRACE_S": "30",
}


class Learning:
    """Follows the topics ``training.control`` and ``models`` and the trainer's metrics, as an operator would."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaSettings,
        stages: StageProcesses,
        shop: Shop,
        account: Account,
        read_all: Callable[[str], Any],
        say: Callable[[str], None],
    ) -> None:
        """``read_all`` (async) gives every value of a topic; ``say`` is told each step once."""
        self._settings, self._kafka, self._stages, self._shop = settings, kafka, stages, shop
        self._key = load_model_verify_key(settings.keys_dir / "models.pub")
        self._pseudonym = account.pseudonymizer.pseudonym
        self._latencies = account.latencies_ms
        self._read_all, self._say = read_all, say
        self._begin = time.monotonic()
        self._states: list[tuple[str, str]] = []
        self._ended_s: float | None = None
        self.now = "collecting training pairs"
        """In one line."""
        self.candidate: str | None = None
        self.promoted = False
        self.verdict = ""
        self.comparison: Comparison | None = None
        self._share = 0.0
        self._events: dict[str, float] = {}
        self._answered: dict[str, int] = {"open": 0}
        """Recommendations up to each event."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until the story is over and a little longer; then sets ``stop``."""
        while not stop.is_set():
            try:
                await self._look()
            except (BrokerUnavailable, TransientError) as error:
                self.now = f"{error}"  # a busy broker: it is asked again
            if self._ended_s is not None and time.monotonic() - self._ended_s > _AFTERWARDS_S:
                stop.set()
            await asyncio.sleep(_LOOK_S)

    def saw(self, recommendation: Mapping[str, Any]) -> None:
        """A recommendation came out: the first of the new model begins the comparison, the first to somebody outside the canary's share
        ends it."""
        if self.candidate is None or recommendation["model_version"] != self.candidate:
            return
        new, share = self.candidate, self._share
        if self.comparison is None:
            self.comparison = Comparison(self._shop.shoppers, lambda user: in_canary(self._pseudonym(user), share, new))
            self._note("serving", f"{new} serves {share:.0%} of the shoppers; their purchases are compared")
        elif "everybody" not in self._events and not in_canary(recommendation["pseudonym"], share, new):
            self.comparison.close()
            self.promoted = True
            self._note("everybody", f"{new} serves everybody")
            self._ended_s = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """For summary.json."""
        summary: dict[str, Any] = {"promoted": self.promoted, "version": self.candidate, "verdict": self.verdict, "seconds": self._events}
        parts = {"before_round": ("open", "requested"), "round": ("training", "finished"), "swap": ("announced", "serving")}
        summary["latency_ms"] = {
            name: {"p50": percentile(own, 0.5), "p99": percentile(own, 0.99), "recommendations": len(own)}
            for name, (first, last) in parts.items()
            if first in self._answered and last in self._answered
            for own in [self._latencies[self._answered[first] : self._answered[last]]]
        }
        if self.comparison is not None:
            result = self.comparison.outcome()
            low, high = result.uplift_interval
            summary |= {
                "new_model_rate": round(result.treated_rate, 5),
                "first_model_rate": round(result.control_rate, 5),
                "uplift_interval_95": [round(low, 5), round(high, 5)],
                "new_model_sessions": result.treated_sessions,
                "first_model_sessions": result.control_sessions,
            }
        return summary

    async def _look(self) -> None:
        for record in await self._read_all(TRAINING_CONTROL):
            step = (record["request_id"], record["state"])
            if step not in self._states:
                self._states.append(step)
                self._step(record)
        channels = await current_channels(self._settings, self._kafka, self._key)
        canary, stable = channels.current("canary"), channels.current("stable")
        if canary is not None and self.candidate is None:
            self.candidate, self._share = canary.model_version, canary.canary_share
            self._note("announced", f"{canary.model_version} is announced to {canary.canary_share:.0%} of the shoppers")
        if canary is None and self.candidate is not None and self._ended_s is None:
            if stable is not None and stable.model_version == self.candidate:
                self._note("promoted", f"{self.candidate} is promoted: {stable.reason}")
            elif "withdrawn" not in self._events:
                self._note("withdrawn", f"{self.candidate} is withdrawn; the first model continues to serve")
                self._ended_s = time.monotonic()
        self._tell()

    def _step(self, record: Mapping[str, Any]) -> None:
        state, reason = record["state"], record["reason"]
        if state == "requested":
            self._note("requested", f"a round is requested: {reason}")
        elif state == "started":
            self._note("training", "the round begins")
        elif state in _ENDED:
            self.verdict = record["verdict"] or reason
            self._note(state, f"the round has {state}: {reason}; {record['verdict']}")
            if record["model_version"] is None:
                self._ended_s = time.monotonic()

    def _tell(self) -> None:
        metrics = self._stages.metrics("trainer")
        step, steps = metrics.get("veilstream_trainer_step", 0.0), metrics.get("veilstream_trainer_steps", 0.0)
        if self.comparison is not None and not self.promoted:
            result = self.comparison.outcome()
            low, high = result.uplift_interval
            self.now = (
                f"purchases per session {result.treated_rate:.3f} by {self.candidate}, {result.control_rate:.3f} by the first model "
                f"({low:+.3f} to {high:+.3f})"
            )
        elif self._ended_s is not None:
            self.now = "finished"
        elif self.candidate is not None:
            self.now = f"the catalogue is being encoded under {self.candidate}; the first model serves"
        elif metrics.get("veilstream_trainer_training"):
            left = metrics.get("veilstream_trainer_seconds_left", 0.0)
            self.now = f"fine-tuning, step {step:.0f} of {steps:.0f}, {left:.0f} s left" if step else "a round begins"
            if step and step >= steps:
                self.now = "fitting and judging the new model"
        else:
            self.now = f"{metrics.get('veilstream_trainer_pairs_stored', 0):.0f} training pairs so far"

    def _note(self, name: str, sentence: str) -> None:
        self._events[name] = round(time.monotonic() - self._begin, 1)
        self._answered[name] = len(self._latencies)
        self._say(sentence)

"""The output of the demo: a live panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.simulator.accounting import Account, percentile
from streams.simulator.driver import ShopDriver
from streams.simulator.learning import Learning
from streams.simulator.shop import Shop

_PLAIN_EVERY_S = 5.0


class Screen:
    """A context manager; ``show`` as often as there is something new."""

    def __init__(self, console: Console, driver: ShopDriver, account: Account, shop: Shop) -> None:
        self._console = console
        self._driver = driver
        self._account = account
        self._shop = shop
        self.learning: Learning | None = None
        """Whose state is shown, where there is any."""
        self._begin = time.monotonic()
        self._last_plain = self._begin
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, share: float) -> None:
        """``share`` of the run that is over."""
        if self._live is not None:
            self._live.update(self._panel(share))
        elif time.monotonic() - self._last_plain >= _PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._console.print(self._figures(), soft_wrap=True)
            if self.learning is not None:
                self._console.print(Text(f"    learning: {self.learning.now}"), soft_wrap=True)
            for recommendation in list(self._driver.figures.recommendations)[-1:]:
                self._console.print(Text("    " + self._sentence(recommendation)), soft_wrap=True)

    def say(self, sentence: str) -> None:
        """A step that is worth a line of its own."""
        self._console.print(Text(f"{time.monotonic() - self._begin:4.0f} s  ") + Text(sentence, style="bold"), soft_wrap=True)

    def _figures(self) -> str:
        figures, outcome = self._driver.figures, self._shop.outcome()
        elapsed = time.monotonic() - self._begin
        latency = percentile(self._account.latencies_ms[-500:], 0.5)
        return (
            f"{elapsed:4.0f} s  {figures.produced} events ({figures.produced / max(elapsed, 0.1):.0f}/s)  "
            f"{figures.consumed} recommendations, {figures.shown} shown  latency {'-' if latency is None else f'{latency:.0f} ms'}  "
            f"purchases per session: {outcome.treated_rate:.3f} with, {outcome.control_rate:.3f} without recommendations"
        )

    def _sentence(self, recommendation: Any) -> str:
        best = recommendation["items"][0]
        item = self._shop.by_id.get(best["item_id"])
        why = []
        for reason in best["reasons"]:
            cause = self._shop.by_id.get(reason["item_id"] or "")
            name = f"“{cause.title}” ({reason['event_type']})" if cause else reason["kind"]
            why.append(f"{name} {reason['share']:+.2f}")
        title = item.title if item else best["item_id"]
        who = recommendation["pseudonym"][:10]
        return f"{who}… after a {recommendation['trigger_type']}: {title}  score {best['score']:.2f} = {', '.join(why)}"

    def _panel(self, share: float) -> Panel:
        table = Table.grid(padding=(0, 1))
        for query in self._driver.figures.searches:
            table.add_row("[cyan]search[/cyan]", Text(query))
        for recommendation in self._driver.figures.recommendations:
            table.add_row("[green]recommend[/green]", Text(self._sentence(recommendation)))
        parts: list[Any] = [Text(self._figures()), table]
        if self.learning is not None:
            parts.insert(1, Text(f"learning: {self.learning.now}", style="magenta"))
        if share:
            parts.append(ProgressBar(total=1.0, completed=share))
        return Panel(Group(*parts), title="Veilstream: a simulated shop, three days in a minute")

    @staticmethod
    def summary(console: Console, summary: dict[str, Any], path: Path) -> None:
        """The end of the demo."""
        table = Table(box=None, show_header=False)
        table.add_row("events in", str(summary["events_in"]))
        table.add_row("clean events", str(summary["events_clean"]))
        table.add_row(
            "dead letters", f"{sum(summary['dead_letters'].values())} ({', '.join(f'{k} {v}' for k, v in summary['dead_letters'].items())})"
        )
        table.add_row("recommendations", str(summary["recommendations"]))
        table.add_row(
            "without consent", f"{summary['unprofiled']} of the recommendations know nobody, {summary['held_back']} events were not used"
        )
        table.add_row("feedback", ", ".join(f"{k} {v}" for k, v in summary["feedback"].items()))
        table.add_row("lost, duplicated", f"{summary['lost']}, {summary['duplicated']}")
        table.add_row("latency", f"p50 {summary['latency_ms']['p50']} ms, p99 {summary['latency_ms']['p99']} ms")
        table.add_row("purchases per session", _rates(summary))
        for language, rates in summary["by_language"].items():
            table.add_row(f"  {language} shoppers", _rates(rates))
        features = summary["features"]
        if features["logs"]:
            told = f"{features['agree']} of {features['logs']} logs agree with what is rebuilt from the topics"
            table.add_row("features", told + (f", {features['untold']} can't be told" if features["untold"] else ""))
        learnt = summary.get("learning")
        if learnt is not None:
            table.add_row("learning", f"{learnt['version']} promoted" if learnt["promoted"] else f"nothing promoted: {learnt['verdict']}")
            if "new_model_rate" in learnt:
                low, high = learnt["uplift_interval_95"]
                table.add_row(
                    "by model",
                    f"{learnt['new_model_rate']:.4f} by the new one, {learnt['first_model_rate']:.4f} by the first, while both served "
                    f"(difference {low:+.4f} to {high:+.4f}, 95 %)",
                )
            parts = learnt["latency_ms"]
            latencies = ", ".join(f"{own['p50']} / {own['p99']} {name.replace('_', ' ')}" for name, own in parts.items())
            table.add_row("latency then", f"p50 / p99 in ms: {latencies}")
        console.print(table)
        console.print(f"wrote {path}")


def _rates(rates: dict[str, Any]) -> str:
    low, high = rates["uplift_interval_95"]
    return (
        f"{rates['treated_rate']:.4f} with recommendations, {rates['control_rate']:.4f} without "
        f"(difference {low:+.4f} to {high:+.4f}, 95 %)"
    )

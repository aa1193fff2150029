"""``veilstream backtest``: recommend from files, without a broker."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from encoders.finetune.progress import OnProgress, Progress
    from streams.backtest.runner import Backtest
    from streams.ranking.learned.model import Ranker
    from streams.serde.records import CleanEvent, TrainingPair
    from streams.settings import Settings
    from streams.training.round import Judged

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="backtest")
@click.option("--items", required=True, type=_FILE, help="CSV or CSV.gz, as for replay.")
@click.option("--events", required=True, type=_FILE, help="CSV or CSV.gz, as for replay.")
@click.option("--source", metavar="PRESET|FILE", help="How the events are written: see `veilstream sources list`, or a mapping of yours.")
@click.option("--items-source", metavar="PRESET|FILE", help="How the items are written: a preset of items, or a mapping of yours.")
@click.option("--cutoff", required=True, help="Learn from events before this time (ISO 8601, UTC, or epoch seconds).")
@click.option("--top", default=10, show_default=True, type=click.IntRange(1, 1000), help="Items for each user.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="CSV to write: user,rank,item,score.")
@click.option("--include-seen", is_flag=True, help="Also recommend items that the user has interacted with.")
@click.option(
    "--finetune",
    "minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="Fine-tune the model for this many minutes on the events before the cutoff. It is used if the gate lets it pass.",
)
@click.option("--no-fit", is_flag=True, help="Fit no ranker to the events before the cutoff: about a minute instead of several.")
def command(
    items: Path,
    events: Path,
    source: str | None,
    items_source: str | None,
    cutoff: str,
    top: int,
    out: Path,
    include_seen: bool,
    minutes: float | None,
    no_fit: bool,
) -> None:
    """Run the stages' own code over files. It learns from the events before the cutoff, fits a ranker to them, and writes the best items
    of every user who has such an event.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from encoders import load_encoder
    from encoders.batching.micro_batcher import MicroBatcher
    from encoders.errors import require
    from streams.backtest.finetune import pair_rules
    from streams.backtest.history import EventsBefore
    from streams.backtest.pairs import PairMaker
    from streams.backtest.runner import Backtest
    from streams.errors import ConfigurationError, RecordError
    from streams.producers.csv_files import ReadReport, read_events, read_items
    from streams.serde.codec import local_codecs
    from streams.settings import load_settings
    from streams.sources.loading import find_item_mapping, find_mapping
    from streams.stages.times import to_milliseconds

    try:
        cutoff_ms = to_milliseconds(cutoff)
    except RecordError as error:
        raise click.UsageError(f"--cutoff: {error.detail}") from None
    settings = load_settings()
    mapping = find_mapping(source, settings.sources_dir) if source is not None else None
    items_mapping = find_item_mapping(items_source, settings.sources_dir) if items_source is not None else None
    if not no_fit:
        require("train", "lightgbm", "scipy")
    report = ReadReport()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with TemporaryDirectory(prefix="veilstream-") as scratch, Bars(*columns, console=Console(stderr=True)) as progress:
        before = EventsBefore(read_events(events, report, mapping), cutoff_ms)
        if not before.users:
            raise ConfigurationError(f"{events} has no event before {cutoff}")
        catalogue = list(read_items(items, report, items_mapping, at_ms=cutoff_ms))

        def learned(model: str, serving: Settings, on_clean: Callable[[list[CleanEvent]], None] | None = None) -> Backtest:
            loaded = load_encoder(model, device=settings.device, precision=settings.precision, token_budget=settings.encoder_token_budget)
            backtest = Backtest(serving, local_codecs(), MicroBatcher(loaded), cutoff_ms)
            task = progress.add_task("items encoded", total=None)
            count = backtest.load_items(catalogue, lambda n: progress.advance(task, n))
            progress.update(task, total=count, completed=count)
            task = progress.add_task("events learned", total=len(before.events))
            backtest.learn(before.events, lambda n: progress.advance(task, n), on_clean)
            return backtest

        maker = PairMaker(pair_rules(settings))
        backtest = learned(settings.model, settings, None if minutes is None and no_fit else maker.add)
        pairs = [] if minutes is None and no_fit else maker.pairs()
        if minutes is not None:
            task = progress.add_task("fine-tuning steps", total=None)
            judged = _finetuned(
                pairs,
                catalogue,
                minutes,
                settings,
                Path(scratch),
                include_seen,
                lambda p: progress.update(task, completed=p.step, total=p.steps, description=_describe(p)),
            )
            if judged is not None and judged.promote:
                fitted = judged.fitted
                changes = {"half_life_days": fitted.half_life_days, "popularity_weight": fitted.popularity_weight}
                backtest = learned(str(Path(scratch) / "model"), settings.model_copy(update=changes))
        ranker = None if no_fit else _ranked(backtest, pairs, include_seen, progress)
        task = progress.add_task("users served", total=len(before.users))
        rows = backtest.recommend(before.users, {} if include_seen else before.seen, top, lambda n: progress.advance(task, n), ranker)
        _write(out, rows)
    click.echo(f"wrote {out}: {len(before.users)} users, {backtest.items} items, {len(before.events)} events before the cutoff")
    for reason, number in sorted((report.broken | backtest.rejected).items()):
        click.echo(f"left out {number}: {reason}", err=True)


def _ranked(backtest: Backtest, pairs: list[TrainingPair], include_seen: bool, progress: Bars) -> Ranker | None:
    """A ranker fitted to the pairs, and a line about it. None, with the reason, where there is too little."""
    from streams.training.learned.fit import RankerRule

    steps = progress.add_task("ranker", total=None)
    begun = time.monotonic()
    fitted = backtest.fit(
        pairs, RankerRule(), include_seen=include_seen, on_step=lambda s: progress.update(steps, description=f"ranker: {s}")
    )
    if fitted is None:
        progress.update(steps, total=1, completed=1, description="ranker: too little to fit")
        click.echo("no ranker is fitted, hand-set weights are used: too few shoppers came back before the cutoff")
        return None
    progress.update(steps, total=1, completed=1, description="ranker: fitted")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in fitted.validation.items())
    click.echo(
        f"ranker fitted in {time.monotonic() - begun:.0f} s to {fitted.lists} lists, {fitted.shape}; NDCG@10 at the last moment: {scores}"
    )
    sources = ", ".join(f"{name} {share:.3f}" for name, share in fitted.found.items())
    click.echo(f"share of what was taken that the candidates hold: {sources}")
    if not fitted.beats_the_sum:
        click.echo("the hand-set weights ranked better at the last moment: they are used")
        return None
    return fitted.ranker


def _finetuned(
    pairs: list[TrainingPair],
    catalogue: list[dict[str, Any]],
    minutes: float,
    settings: Settings,
    folder: Path,
    include_seen: bool,
    on_progress: OnProgress,
) -> Judged | None:
    """The gate's verdict. None if nothing could be trained; then the reason is printed and the unchanged model is used."""
    from encoders.errors import require
    from encoders.folder import locate
    from streams.backtest.finetune import OFFLINE_GATE, finetune_before, item_facts, round_rules
    from streams.errors import FATAL, ConfigurationError

    require("train", "torch", "transformers", "peft", "tensorboard", "matplotlib")
    if settings.model == "hashing":
        raise ConfigurationError("`hashing` cannot be fine-tuned; leave --finetune out, or set VEILSTREAM_MODEL")
    rules = round_rules(settings, minutes, include_seen=include_seen)
    try:
        judged = finetune_before(pairs, item_facts(catalogue, settings), locate(settings.model), rules, settings, folder, on_progress)
    except (*FATAL, OSError) as error:
        click.echo(f"not fine-tuned, the result uses the unchanged model: {error}")
        return None
    used = "the fine-tuned model is used" if judged.promote else "the unchanged model is used"
    fitted = f"half-life {judged.fitted.half_life_days:.4g} days, popularity weight {judged.fitted.popularity_weight:.4g}"
    click.echo(f"fine-tuned in {judged.seconds:.0f} s, {judged.steps} steps, on {judged.pairs} examples before the cutoff")
    click.echo(f"{used}: {judged.summary} ({OFFLINE_GATE})" + (f"; {fitted}" if judged.promote else ""))
    return judged


def _describe(progress: Progress) -> str:
    return (
        f"fine-tuning steps, loss {progress.loss:.3f}, rate {progress.learning_rate:.1e}, {progress.pairs_per_second:,.0f} pairs/s, "
        f"{progress.seconds_left:.0f} s left"
    )


def _write(out: Path, rows: object) -> None:
    """Write the file completely or not at all."""
    from streams.files import replacing

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, mode=0o666) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(("user", "rank", "item", "score"))
        for user, rank, item, score in rows:  # type: ignore[attr-defined]
            writer.writerow((user, rank, item, f"{score:.6f}"))
        text.detach()  # written to the file, which stays open

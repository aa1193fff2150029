"""``veilstream sources``: the mappings that are known, and what one would make of a file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from streams.cli.completing import offering, presets

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(name="sources")
def command() -> None:
    """List the sources that are known, and check what would become of a file's records."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_sources(as_json: bool) -> None:
    """List the presets, and the mappings in VEILSTREAM_SOURCES_DIR: first of events, then of items."""
    from streams.settings import load_settings
    from streams.sources.loading import load_mappings

    known = load_mappings(load_settings().sources_dir)
    events = {name: mapping.about for name, mapping in known.events.items()}
    items = {name: mapping.about for name, mapping in known.items.items()}
    if as_json:
        kinds = {"events": events, "items": items}
        found = [{"kind": kind, "name": name, "about": about} for kind, abouts in kinds.items() for name, about in sorted(abouts.items())]
        click.echo(json.dumps(found, indent=2))
        return
    for title, abouts in (("events (--source)", events), ("items (--items-source)", items)):
        click.echo(f"{title}:")
        for name, about in sorted(abouts.items()):
            click.echo(f"  {name:<26} {about}")


@command.command()
@click.argument("name", shell_complete=offering(presets))
def show(name: str) -> None:
    """Print the mapping of a preset, as a beginning for a mapping of your own."""
    from streams.sources.loading import preset_text

    click.echo(preset_text(name), nl=False)


@command.command()
@click.argument("file", type=_FILE)
@click.option("--mapping", type=_FILE, help="A mapping of yours.")
@click.option("--source", metavar="NAME", shell_complete=offering(presets), help="A preset, or a mapping in VEILSTREAM_SOURCES_DIR.")
@click.option("--records", default=1000, show_default=True, type=click.IntRange(1, 10_000_000), help="Check this many records.")
@click.option("--show", "shown", default=10, show_default=True, type=click.IntRange(0, 1000), help="Show this many of them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(file: Path, mapping: Path | None, source: str | None, records: int, shown: int, as_json: bool) -> int:
    """Show what would become of a file's records, of events or of items, the share refused by reason, and which preset fits. Nothing is
    published.

    Without --mapping and --source the preset that fits is used. User ids are not shown. The exit code is 1 if most of the records would be
    refused.
    """
    from streams.cli.item_report import report_on_items
    from streams.cli.source_report import report_on
    from streams.producers.fitting import fitting
    from streams.producers.item_fitting import item_fitting
    from streams.settings import load_settings
    from streams.sources.item_mapping import ItemMapping
    from streams.sources.loading import find_any, load_any

    if mapping is not None and source is not None:
        raise click.UsageError("--mapping and --source exclude each other")
    settings = load_settings()
    fits = fitting(file) or item_fitting(file)
    if not as_json:
        click.echo(f"preset that fits: {fits or 'none'}")
    if mapping is None and source is None:
        if fits is None:
            raise click.UsageError("no preset fits; say how the file is written with --mapping or --source (`veilstream sources list`)")
        source = fits
    used = load_any(mapping) if mapping is not None else find_any(source or "", settings.sources_dir)
    report = (
        report_on_items(file, used, settings, records, shown)
        if isinstance(used, ItemMapping)
        else report_on(file, used, settings, records, shown)
    )
    if as_json:
        click.echo(json.dumps({"fits": fits, **report.as_object()}, indent=2))
    for line in () if as_json else report.lines():
        click.echo(line)
    return 0 if report.mostly_good else 1

"""``veilstream models``: the model versions, and which of them serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.visible_text import visible

if TYPE_CHECKING:
    from nacl.signing import VerifyKey

    from streams.models.registry.channels import Channels
    from streams.models.registry.manifest import Manifest
    from streams.models.registry.store import ModelStore
    from streams.privacy.keys import ModelSigningKey
    from streams.ranking.learned.model import Ranker
    from streams.settings import Settings


@click.group(name="models")
def command() -> None:
    """List, add, promote and roll back model versions.

    VEILSTREAM_MODELS names the store: a folder, or any fsspec URL. Commands that change something need models.key, from
    `veilstream keys generate --only models`.
    """


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per version.")
def list_(as_json: bool) -> int:
    """List the versions, newest first, and the channels that serve them.

    The exit code is 1 if the manifest of a version can't be verified.
    """
    from streams.cli.models_table import as_object, table
    from streams.errors import ModelRefused

    settings, store, key = _opened()
    manifests: list[Manifest] = []
    refused = 0
    for version in store.list_versions():
        try:
            manifests.append(store.read_manifest(version, key))
        except ModelRefused as error:
            refused += 1
            click.echo(visible(f"{version}: {error}"), err=True)
    manifests.sort(key=lambda manifest: manifest.created_at, reverse=True)
    channels = _channels_if_reachable(settings, key)
    if as_json:
        for manifest in manifests:
            click.echo(json.dumps(as_object(manifest, channels)))
    elif manifests:
        click.echo(table(manifests, channels), nl=False)
    else:
        click.echo(f"no model versions in {store.root}; add one with `veilstream models add FOLDER`", err=True)
    _tell_missing(channels, {manifest.model_version for manifest in manifests})
    return 1 if refused else 0


@command.command()
@click.argument("version")
def show(version: str) -> None:
    """Verify every byte of VERSION, then show its manifest as JSON."""
    from dataclasses import asdict

    _, store, key = _opened()
    manifest = store.verify(version, key)
    click.echo(json.dumps({**asdict(manifest), "location": store.location(version)}, indent=2, sort_keys=True))


@command.command()
@click.argument("version", required=False)
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A model's folder, in place of VERSION.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png", help="Draw all curves, too.")
def explain(version: str | None, folder: Path | None, plot: Path | None) -> None:
    """Show what the ranker of VERSION has learned.

    A version may hold a ranker, which gives every candidate a score. The score is a sum: each feature (how similar the item is, how
    often it was bought, what it is bought with, …) adds what its curve says at its value. This prints the curves, those that
    can change a score most first:

    \b
     1. related: weight 1.052, group pairs
        related to the history by EASE
                  ▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▇▇▇▇▇▇████
        weight    -0.01          0.00369        0.0491         0.149
        adds      -0.284         -0.133         +0.191         +0.768

    Bars are scaled curve by curve; the lines below tell values in the feature's unit, and what each adds to the score. A curve that
    ends early stays as it is beyond its end. Where trees ask for several features, the curve is the mean over the others, and the pairs
    of features that act together are listed.

    The ranker is verified against the signed manifest; with --folder nothing is verified, and no keys are needed. --plot needs
    matplotlib (the extra `train`); in the picture all curves have one scale.
    """
    from encoders.folder import RANKER
    from streams.models.registry.ranker_file import ranker_in, read_ranker
    from streams.training.learned.curves import text

    if (version is None) == (folder is None):
        raise click.UsageError("name a VERSION, or --folder PATH, one of them")
    if folder is not None:
        ranker, title = read_ranker(folder), f"ranker in {folder}"
    else:
        _, store, key = _opened()
        data = store.read_file(str(version), RANKER, key)
        ranker, title = None if data is None else ranker_in(data), f"ranker of {version}"
    if ranker is None:
        where = f"{folder}" if folder is not None else f"version {version}"
        click.echo(visible(f"{where} has no ranker: the score is the sum by hand-set weights, of cosine, popularity and what is"), nl=False)
        click.echo(" bought together (VEILSTREAM_POPULARITY_WEIGHT, VEILSTREAM_TOGETHER_WEIGHT, or the version's own serving parameters)")
        return
    for line in text(ranker, title).splitlines():
        click.echo(visible(line))
    if plot is not None:
        _draw(plot, ranker, title)


@command.command()
@click.argument("folder")
@click.option("--parent", help="Version that it was trained from, if the store has it.")
def add(folder: str, parent: str | None) -> None:
    """Add the model in FOLDER (a folder, a Hugging Face id, or `bundled`) as a version; nothing serves it yet.

    The model is loaded and tried, which gives its version and dimension. Files that a model does not need are left out. It is
    served with the half-life, popularity weight and threshold that the settings have now.
    """
    from encoders import load_encoder
    from encoders.folder import locate
    from streams.clock import SystemClock
    from streams.models.registry.folder import file_sizes, hash_files, model_files
    from streams.models.registry.manifest import Manifest
    from streams.training.rules import fitted_by_settings

    settings, store, _ = _opened()
    key = _signing_key(settings)
    if parent is not None:
        store.read_manifest(parent, key.verify_key)
    source = locate(folder)
    encoder = load_encoder(str(source), device="cpu", precision="fp32")
    encoder.close()
    kept, left_out = model_files(source)
    manifest = Manifest(
        model_version=encoder.version,
        parent=parent,
        base=source.name if Path(folder).is_dir() else folder,
        created_at=SystemClock().now_ms(),
        dimension=encoder.dimension,
        files=hash_files(source, kept),
        sizes=file_sizes(source, kept),
        metrics={},
        serving=fitted_by_settings(settings),
        verdict="added by hand",
    )
    there = store.publish(source, manifest, key)
    if left_out:
        click.echo(visible(f"left out {', '.join(left_out)}"), err=True)
    click.echo(f"{'added' if there is manifest else 'already there:'} {manifest.model_version} in {store.root}")


@command.command()
@click.argument("folder")
@click.option("--layers", metavar="LIST", help="Layers to keep, counted from 0, such as 0,1,2,4,5.")
@click.option("--scripts", metavar="LIST", help="Scripts whose pieces to keep, such as latin,han. Needs a multilingual model.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the smaller model.")
def prune(folder: str, layers: str | None, scripts: str | None, out: Path) -> None:
    """Write a smaller model from the one in FOLDER (a folder, a Hugging Face id, or a bundled model's name).

    With --layers it is faster by about the share of layers left out. Before you serve it, measure the loss of quality on your own
    data: `VEILSTREAM_MODEL=OUT veilstream backtest`.

    With --scripts it needs less memory and disk. Texts of these scripts have the same vectors as before; letters of others are unknown.
    """
    from encoders import load_encoder
    from encoders.pruning import keep_layers
    from encoders.vocabulary import keep_scripts

    if (layers is None) == (scripts is None):
        raise click.UsageError("say what to keep: --layers LIST or --scripts LIST, one of them at a time")
    if layers is not None:
        try:
            kept = [int(number) for number in layers.split(",")]
        except ValueError:
            raise click.UsageError("--layers is a list of numbers, such as 0,1,2,4,5") from None
        keep_layers(folder, kept, out)
        what = f"{len(kept)} layers"
    else:
        stay, before = keep_scripts(folder, [name.strip() for name in (scripts or "").split(",") if name.strip()], out)
        what = f"{stay:,} of {before:,} pieces"
    encoder = load_encoder(str(out), device="cpu", precision="fp32")
    encoder.close()
    click.echo(f"wrote {out}: {what}, version {encoder.version}")


@command.command()
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the N newest in any case. Default: VEILSTREAM_MODELS_KEEP.")
@click.option("--days", type=click.FloatRange(0), metavar="DAYS", help="Keep what is younger. Default: VEILSTREAM_MODELS_KEEP_DAYS.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def expire(keep: int | None, days: float | None, dry_run: bool) -> None:
    """Remove versions from the store that were kept long enough.

    What a channel serves and its parent stay, and so does everything where no channel serves anything: the topic may be the wrong one. The
    trainer does the same after each round. A removal can't be undone, and is in the audit.
    """
    from streams.cli.models_expiring import expire_versions

    settings, store, key = _opened()
    expire_versions(settings, store, key, keep, days, dry_run=dry_run)


@command.command()
@click.argument("version")
@click.option("--canary", "share", type=click.FloatRange(0, 1, min_open=True), help="Serve it to this share of pseudonyms only (0 to 1).")
@click.option("--reason", default="", help="Why, for the record.")
@click.option(
    "--after",
    type=click.IntRange(0, 2**62),
    default=0,
    metavar="COUNTER",
    help="Only if topic and store were lost: the highest counter that workers know.",
)
def promote(version: str, share: float | None, reason: str, after: int) -> None:
    """Announce VERSION: to everybody, or with --canary SHARE to a share of pseudonyms.

    Every byte of it is verified first. If you promote the canary's version to everybody, the canary ends.

    Announcements are counted, and workers obey none below the highest counter that they know. The next counter is found in the topic and
    in the store. Where both were lost, workers log the counter that they know: give it with --after.
    """
    from streams.cli.audited import audited
    from streams.cli.models_announcing import announce_version
    from streams.settings import load_kafka_settings

    if share is not None and not 0 < share <= 1:  # click's range lets NaN pass
        raise click.UsageError("--canary is a share above 0 and at most 1")
    settings, store, key = _opened()
    reason = reason or "promoted by an operator"
    signing_key, manifest = _signing_key(settings), store.verify(version, key)
    with audited("models promote", settings, load_kafka_settings()) as audit:
        announce_version(settings, store, signing_key, manifest, share, reason, audit, after)


@command.command()
@click.option("--to", "target", metavar="VERSION", help="Go back to this one. Default: the parent of what stable serves.")
@click.option("--canary", is_flag=True, help="Withdraw the canary; stable stays as it is.")
@click.option("--reason", default="", help="Why, for the record.")
def rollback(target: str | None, canary: bool, reason: str) -> None:
    """Go back to the parent of the version that stable serves, or withdraw the canary."""
    from streams.cli.audited import audited
    from streams.cli.models_announcing import announce_version, read, withdraw_canary
    from streams.errors import ConfigurationError
    from streams.settings import load_kafka_settings

    if canary and target is not None:
        raise click.UsageError("--canary withdraws the canary and takes no version; leave --to out")
    settings, store, key = _opened()
    reason = reason or "rolled back by an operator"
    channels = read(settings, key)
    if canary:
        current = channels.current("canary")
        if current is None:
            raise ConfigurationError("no canary is served; see `veilstream models list`")
        signing_key = _signing_key(settings)
        with audited("models rollback", settings, load_kafka_settings()) as audit:
            withdraw_canary(settings, signing_key, channels, current, reason, audit)
        return
    stable = channels.current("stable")
    if target is None:
        if stable is None:
            raise ConfigurationError("no version was promoted yet, so there is nothing to roll back; name a version with --to VERSION")
        if stable.parent is None:
            raise ConfigurationError(f"{stable.model_version}, which stable serves, has no parent; name a version with --to VERSION")
    goal = target or (stable.parent if stable is not None else None) or ""
    signing_key, manifest = _signing_key(settings), store.verify(goal, key)
    with audited("models rollback", settings, load_kafka_settings()) as audit:
        announce_version(settings, store, signing_key, manifest, None, reason, audit, action="rolled_back")


def _draw(path: Path, ranker: Ranker, title: str) -> None:
    from encoders.errors import require
    from streams.training.learned.curve_plot import plot_curves

    require("train", "matplotlib")
    plot_curves(path, ranker, title)
    click.echo(visible(f"wrote {path}"), err=True)


def _opened() -> tuple[Settings, ModelStore, VerifyKey]:
    from streams.kafka.clients import quiet_client_loggers
    from streams.models.registry.store import ModelStore
    from streams.privacy.key_folder import key_folder
    from streams.privacy.keys import load_model_verify_key
    from streams.settings import load_settings

    quiet_client_loggers()
    settings = load_settings()
    return settings, ModelStore(settings.models), load_model_verify_key(key_folder(settings) / "models.pub")


def _signing_key(settings: Settings) -> ModelSigningKey:
    from streams.errors import ConfigurationError
    from streams.privacy.key_folder import key_folder
    from streams.privacy.keys import load_model_signing_key, load_model_verify_key

    key = load_model_signing_key(key_folder(settings) / "models.key")
    if key.verify_key != load_model_verify_key(key_folder(settings) / "models.pub"):
        raise ConfigurationError(
            f"models.key and models.pub in {key_folder(settings)} do not belong together: workers would refuse models signed with them; "
            "copy both from one place"
        )
    return key


def _channels_if_reachable(settings: Settings, key: VerifyKey) -> Channels | None:
    from streams.cli.models_announcing import read
    from streams.errors import BrokerUnavailable, ConfigurationError

    try:
        return read(settings, key)
    except (BrokerUnavailable, ConfigurationError) as error:
        click.echo(f"cannot tell which versions the channels serve: {error}", err=True)
        return None


def _tell_missing(channels: Channels | None, listed: set[str]) -> None:
    if channels is None:
        return
    for current in (channels.current("stable"), channels.current("canary")):
        if current is not None and current.model_version not in listed:
            what = f"{current.channel} serves {current.model_version} from {current.location}"
            click.echo(visible(f"{what}, which is not a version in this store"), err=True)
        if current is not None and current.counter == 0:
            click.echo(f"the announcement of {current.channel} has no counter; Veilstream 0.3 will refuse it: promote it again", err=True)
    for lost in channels.missing:
        what = f"the topic lacks announcement {lost.counter} of {lost.channel} ({lost.model_version}), which the store's head has"
        click.echo(visible(f"{what}; somebody else may have written there: promote the intended version again"), err=True)
    if channels.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(channels.refused.items()))
        click.echo(f"announcements that every worker refuses: {reasons}", err=True)

"""``veilstream keys``: key files."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="keys")
def command() -> None:
    """Generate key files."""


@command.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to. Default: VEILSTREAM_KEYS_DIR.")
@click.option("--key-id", default="k1", show_default=True, help="Short public name of the pseudonym key; every pseudonym begins with it.")
@click.option("--only", type=click.Choice(["models"]), help="Generate this pair alone, for a folder that has the others.")
@click.option("--overwrite", is_flag=True, help="Replace what is there. Old pseudonyms and sealed ids can then not be matched or opened.")
def generate(folder: Path | None, key_id: str, only: str | None, overwrite: bool) -> None:
    """Generate the pseudonym key and the key pairs of subscriber, recovery and models.

    Give pseudonym.key to ingest workers alone, subscriber.key to the service that must reach a person, recovery.key to the
    operator who may open dead letters, models.key to the trainer and to who promotes models. Workers need the .pub files.
    """
    from streams.privacy.keys import generate_keys, generate_model_keys
    from streams.settings import load_settings

    if not key_id.isalnum() or len(key_id) > 16:
        raise click.UsageError("--key-id must be 1 to 16 letters and digits")
    target = folder or load_settings().keys_dir
    paths = generate_model_keys(target, overwrite=overwrite) if only else generate_keys(target, key_id=key_id, overwrite=overwrite)
    for path in paths:
        click.echo(f"wrote {path}")

"""``veilstream keys``: key files."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="keys")
def command() -> None:
    """Generate key files."""


@command.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder for the key files. Default: VEILSTREAM_KEYS_DIR."
)
@click.option("--key-id", default="k1", show_default=True, help="Short public name of the pseudonym key; every pseudonym begins with it.")
@click.option("--only", type=click.Choice(["models"]), help="Generate only this pair, for a folder that has the other keys.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing keys. Old pseudonyms can't be matched then, nor old sealed ids opened.",
)
def generate(folder: Path | None, key_id: str, only: str | None, overwrite: bool) -> None:
    """Generate the pseudonym key and the key pairs of subscriber, recovery and models.

    Give pseudonym.key only to ingest workers. Give subscriber.key to the service that must reach a person, recovery.key to the
    operator who may open dead letters, and models.key to the trainer and to people who promote models. Workers need the .pub files.
    """
    from streams.privacy.keys import generate_keys, generate_model_keys
    from streams.settings import load_settings

    if not key_id.isalnum() or len(key_id) > 16:
        raise click.UsageError("--key-id must be 1 to 16 letters and digits")
    target = folder or load_settings().keys_dir
    paths = generate_model_keys(target, overwrite=overwrite) if only else generate_keys(target, key_id=key_id, overwrite=overwrite)
    for path in paths:
        click.echo(f"wrote {path}")

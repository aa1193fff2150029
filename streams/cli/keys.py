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
@click.option("--overwrite", is_flag=True, help="Replace what is there. Old pseudonyms and sealed ids can then not be matched or opened.")
def generate(folder: Path | None, key_id: str, overwrite: bool) -> None:
    """Generate the pseudonym key and the key pairs of subscriber and recovery.

    Give pseudonym.key to ingest workers alone, subscriber.key to the service that must reach a person, recovery.key to the
    operator who may open dead letters. Workers need the two .pub files.
    """
    from streams.privacy.keys import generate_keys
    from streams.settings import load_settings

    if not key_id.isalnum() or len(key_id) > 16:
        raise click.UsageError("--key-id must be 1 to 16 letters and digits")
    for path in generate_keys(folder or load_settings().keys_dir, key_id=key_id, overwrite=overwrite):
        click.echo(f"wrote {path}")

"""``veilstream keys``: key files. ``key_rotation`` has what replaces one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from streams.cli import key_rotation


@click.group(name="keys")
def command() -> None:
    """Generate, rotate, list and retire key files. docs/keys.md says who holds what."""


for further in (key_rotation.rotate, key_rotation.list_, key_rotation.retire, key_rotation.move, key_rotation.wrap):
    command.add_command(further)


@command.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder for the key files. Default: VEILSTREAM_KEYS_DIR."
)
@click.option("--key-id", default="k1", show_default=True, help="Short public name of the pseudonym key; every pseudonym begins with it.")
@click.option(
    "--only",
    type=click.Choice(["models", "operators", "stages", "ingest", "catalogue", "profile", "feedback", "learning"]),
    help="Generate only this pair, or those of all stages, for a folder that has the other keys.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing keys. Old pseudonyms can't be matched then, nor old sealed ids opened.",
)
def generate(folder: Path | None, key_id: str, only: str | None, overwrite: bool) -> None:
    """Generate the pseudonym key and the key pairs of subscriber, recovery, models, operators and every stage.

    Give pseudonym.key only to ingest workers, and the key named like a stage only to the workers of that stage. Give subscriber.key to the
    service that must reach a person, recovery.key to the operator who may open dead letters, models.key to the trainer and to people
    who promote models, and operators.key to people who run commands: the audit of what they do is signed with it. Workers need
    subscriber.pub, recovery.pub and models.pub; the service needs ingest.pub, who verifies the audit those of stages, models and operators.
    """
    from streams.privacy.keys import STAGES, Signer, generate_keys, generate_signing_keys
    from streams.settings import load_settings

    if not key_id.isalnum() or len(key_id) > 16:
        raise click.UsageError("--key-id must be 1 to 16 letters and digits")
    target = folder or load_settings().keys_dir
    if only is None:
        paths = generate_keys(target, key_id=key_id, overwrite=overwrite)
    else:
        signers = STAGES if only == "stages" else (cast("Signer", only),)
        paths = generate_signing_keys(target, signers, overwrite=overwrite)
    for path in paths:
        click.echo(f"wrote {path}")

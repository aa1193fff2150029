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
@click.option(
    "--key-id",
    help="Short public name of the pseudonym key, with which every pseudonym begins, or with --only state of the state key. "
    "Default: k1, and s1.",
)
@click.option(
    "--only",
    type=click.Choice(["state", "models", "operators", "stages", "ingest", "catalogue", "profile", "feedback", "learning"]),
    help="Generate only this key or pair, or the pairs of all stages, for a folder that has the other keys. A second state key opens "
    "values, and seals from `keys use` on.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing keys. Old pseudonyms can't be matched then, nor old sealed ids opened.",
)
def generate(folder: Path | None, key_id: str | None, only: str | None, overwrite: bool) -> None:
    """Generate the pseudonym key, the state key, and the key pairs of subscriber, recovery, models, operators and every stage.

    Give pseudonym.key only to ingest workers, state.key to the other workers and the trainer, and the key named like a stage only to the
    workers of that stage. Give subscriber.key to the service that must reach a person, recovery.key to the operator who may open dead
    letters, models.key to the trainer and to people who promote models, and operators.key to people who run commands: the audit of what
    they do is signed with it. Who answers shoppers' requests needs state.key too. Workers need subscriber.pub, recovery.pub and models.pub;
    the service needs ingest.pub, who verifies the audit those of stages, models and operators.
    """
    from streams.privacy.keys import STAGES, Signer, generate_keys, generate_signing_keys, generate_state_key
    from streams.settings import load_settings

    if key_id is not None and (not key_id.isalnum() or len(key_id) > 16):
        raise click.UsageError("--key-id must be 1 to 16 letters and digits")
    target = folder or load_settings().keys_dir
    if only is None:
        paths = generate_keys(target, key_id=key_id or "k1", overwrite=overwrite)
    elif only == "state":
        paths = generate_state_key(target, key_id=key_id or "s1", overwrite=overwrite)
    else:
        signers = STAGES if only == "stages" else (cast("Signer", only),)
        paths = generate_signing_keys(target, signers, overwrite=overwrite)
    for path in paths:
        click.echo(f"wrote {path}")


@command.command()
@click.argument("key_id")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder of the key files. Default: VEILSTREAM_KEYS_DIR."
)
def use(key_id: str, folder: Path | None) -> None:
    """Seal states under state-KEY_ID.key from now on: it becomes state.key, and the one before stays to open values. First give the new key
    to all workers and restart them; else one that lacks it ends where it meets a value of another.
    """
    from streams.privacy.state_keys import use_state_key
    from streams.settings import load_settings

    target = folder or load_settings().keys_dir
    use_state_key(target, key_id)
    click.echo(f"{target / 'state.key'} is {key_id} now; restart the workers and the trainer")

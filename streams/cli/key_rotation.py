"""``veilstream keys rotate|list|retire|move``: a new key beside the old one, and the end of the old one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from streams.cli.audited import Audited, audited
from streams.cli.progress import Progress

if TYPE_CHECKING:
    from streams.privacy.keys import Purpose

PURPOSES = ("pseudonym", "subscriber", "recovery", "models", "operators", "ingest", "catalogue", "profile", "feedback", "learning")
_NEXT = """next: 1. copy moves.key to profile, feedback and the trainer, and restart them one by one
      2. copy pseudonym.key, pseudonym.old.key and moves.key to ingest, and restart its workers one by one
      3. wait eight days at least, then `veilstream keys retire` (docs/keys.md)"""
_folder = click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder with the key files. Default: VEILSTREAM_KEYS_DIR."
)
_only = click.option("--only", "purpose", type=click.Choice(PURPOSES), default="pseudonym", show_default=True, help="Which key.")
_offline = click.option("--offline", is_flag=True, help="Work without the brokers: nothing is written to the audit.")


@click.command()
@_folder
@_only
@click.option("--key-id", help="Short public name of the new pseudonym key. Default: that of the old one, with the next number.")
@_offline
def rotate(folder: Path | None, purpose: str, key_id: str | None, offline: bool) -> None:
    """Make a new key, and keep the old one beside it as NAME.old.key and NAME.old.pub: both are known until `keys retire`.

    Of the pseudonym key: copy moves.key to profile, feedback and the trainer and restart them, then pseudonym.key, pseudonym.old.key and
    moves.key to ingest and restart it. docs/keys.md has the steps for every key.
    """
    from streams.audit.actions import KEY_ROTATED
    from streams.privacy.rotation import rotate_pair, rotate_pseudonym_key

    if key_id is not None and purpose != "pseudonym":
        raise click.UsageError("--key-id is for the pseudonym key only")
    with _audited("keys rotate", folder, offline) as (target, audit):
        # What can't be told is not done.
        audit.tell(KEY_ROTATED, details={"purpose": purpose, "was": _known_id(target, purpose)})
        done = rotate_pseudonym_key(target, key_id) if purpose == "pseudonym" else rotate_pair(target, cast("Purpose", purpose))
    for path in done.old:
        click.echo(f"kept  {path}")
    for path in done.written:
        click.echo(f"wrote {path}")
    click.echo(_NEXT if purpose == "pseudonym" else f"next: copy them as docs/keys.md says, then `veilstream keys retire --only {purpose}`")


@click.command(name="list")
@_folder
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(folder: Path | None, as_json: bool) -> None:
    """List the key files: id, whether it is an old one, and who makes or opens what with it. Ids are those of the audit."""
    from streams.privacy.key_list import list_keys
    from streams.settings import load_settings

    keys = list(list_keys(folder or load_settings().keys_dir))
    if as_json:
        found = [{"file": k.name, "id": k.key_id or None, "old": k.is_old, "use": k.use, "problem": k.problem or None} for k in keys]
        click.echo(json.dumps(found, indent=2))
        return
    for one in keys:
        state = "old" if one.is_old else "now"
        click.echo(f"{one.name:<24} {one.key_id or '?':<17} {state:<4} {one.use}" + (f"  UNUSABLE: {one.problem}" if one.problem else ""))


@click.command()
@_folder
@_only
@click.option("--force", is_flag=True, help="Also where something has not moved yet: it is lost.")
@_offline
def retire(folder: Path | None, purpose: str, force: bool, offline: bool) -> int:
    """End the overlap: overwrite and remove the old key.

    Of the pseudonym key it is first counted what is still under old pseudonyms; if there is any, the exit code is 1, and nothing is removed
    without --force. Needs the rights of `privacy`. Afterwards restart ingest, then copy moves.retired to profile, feedback and the trainer,
    remove their moves.key, and restart them.
    """
    from streams.audit.actions import KEY_RETIRED
    from streams.privacy.rotation import destroy, old_files

    with _audited("keys retire", folder, offline) as (target, audit):
        files = old_files(target, cast("Purpose", purpose))
        if not files:
            click.echo(f"no old {purpose} key is in {target}", err=True)
            return 1
        details = {"purpose": purpose, "id": _known_id(target, purpose, old=True)}
        if purpose == "pseudonym":
            left = {} if offline else _left(details["id"])
            details |= {name: str(count) for name, count in left.items()}
            for name, count in left.items():
                click.echo(f"{name}: {count} not moved")
            if (offline or any(left.values())) and not force:
                why = "it can't be counted offline what has not moved" if offline else "wait, name the shoppers with `veilstream keys move`"
                click.echo(f"nothing was removed: {why}; or --force, and what has not moved is lost", err=True)
                return 1
        audit.tell(KEY_RETIRED, details=details)
        kept = _archive(target, purpose)
        gone = destroy([path for path in files if path.exists()])
        if purpose == "pseudonym":
            kept += _noted(target)
    for path in gone:
        click.echo(f"destroyed {path}")
    for path in kept:
        click.echo(f"kept      {path}")
    return 0


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
def move(file: click.utils.LazyFile) -> None:
    """Ask ingest to move the shoppers whose ids are in FILE, one a line; `anonymous:ID` for a browser. - reads the standard input.

    For shoppers who do not show up in the overlap. The requests go to behaviour.raw, among the shoppers' events.
    """
    from streams.kafka.clients import quiet_client_loggers
    from streams.producers.moves import publish_moves
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()
    with audited("keys move", settings, kafka):
        count = asyncio.run(publish_moves(file, settings, kafka))
    click.echo(f"published {count} requests")


@click.command()
@_folder
def wrap(folder: Path | None) -> None:
    """Wrap the secret files of the folder, in place, by what VEILSTREAM_KEYS names. Workers with that setting unwrap them at their start,
    so nothing of them is in the clear on a disk."""
    from streams.errors import ConfigurationError
    from streams.privacy.key_folder import key_wrapper, wrap_files
    from streams.settings import load_settings

    settings = load_settings()
    wrapper = key_wrapper(settings)
    if wrapper is None:
        raise ConfigurationError("set VEILSTREAM_KEYS to vault-transit://HOST:PORT/MOUNT/KEY or kms:MODULE:FACTORY, which wraps the files")
    for path in wrap_files(folder or settings.keys_dir, wrapper):
        click.echo(f"wrapped {path}")


@contextmanager
def _audited(command: str, folder: Path | None, offline: bool) -> Iterator[tuple[Path, Audited]]:
    from streams.settings import load_kafka_settings, load_settings

    settings = load_settings()
    target = folder or settings.keys_dir
    if offline:
        yield target, Audited(None)
        return
    with audited(command, settings, load_kafka_settings()) as audit:
        yield target, audit


def _known_id(folder: Path, purpose: str, *, old: bool = False) -> str:
    from streams.privacy.key_list import public_id
    from streams.privacy.keys import load_pseudonym_key

    stem = f"{purpose}.old" if old else purpose
    if purpose == "pseudonym":
        return load_pseudonym_key(folder / f"{stem}.key").key_id
    path = folder / f"{stem}.pub"
    return public_id(path, cast("Purpose", purpose)) if path.exists() else "unknown"


def _left(key_id: str) -> dict[str, int]:
    from streams.cli.shopper import need_rights
    from streams.data_subjects.unmoved import unmoved
    from streams.kafka.clients import quiet_client_loggers
    from streams.settings import load_kafka_settings, load_settings

    quiet_client_loggers()
    settings, kafka = load_settings(), load_kafka_settings()

    async def count() -> dict[str, int]:
        await need_rights(settings, kafka)
        with Progress("the topics") as progress:
            return await unmoved(settings, kafka, key_id, progress.tell_of)

    return asyncio.run(count())


def _archive(folder: Path, purpose: str) -> list[Path]:
    """The public half of a signing key is kept: the audit's old links are verified with it."""
    from streams.privacy.keys import SIGNERS

    old = folder / f"{purpose}.old.pub"
    if purpose not in SIGNERS or not old.exists():
        return []
    kept = folder / "former" / _known_id(folder, purpose, old=True) / f"{purpose}.pub"
    kept.parent.mkdir(parents=True, exist_ok=True)
    old.replace(kept)
    return [kept]


def _noted(folder: Path) -> list[Path]:
    from streams.privacy.keys import load_pseudonym_key
    from streams.privacy.rotation import note_ended

    return [note_ended(folder, load_pseudonym_key(folder / "pseudonym.key").key_id)]

"""How a command is given a shopper's id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from streams.settings import KafkaSettings, Settings


def read_user(user: str) -> str:
    """The id; with ``-`` the first line of the standard input, so that the id is in no list of processes. Raises UsageError for none."""
    if user == "-":
        user = click.get_text_stream("stdin").readline().strip()
    if not user.strip():
        raise click.UsageError("name the shopper")
    return user


async def need_rights(settings: Settings, kafka: KafkaSettings) -> None:
    """Raises AccessDenied where the credentials may not see all that is held: what they can't see would look as if nothing were held."""
    from streams.access.asking import Rights
    from streams.access.rights import rights_of

    refusal = await Rights(kafka, "privacy", rights_of("privacy", settings)).refusal()
    if refusal is not None:
        raise refusal

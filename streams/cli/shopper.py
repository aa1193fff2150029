"""How a command is given a shopper's id."""

from __future__ import annotations

import click


def read_user(user: str) -> str:
    """The id; with ``-`` the first line of the standard input, so that the id is in no list of processes. Raises UsageError for none."""
    if user == "-":
        user = click.get_text_stream("stdin").readline().strip()
    if not user.strip():
        raise click.UsageError("name the shopper")
    return user

"""Writes the reference pages of the documents (``docs/reference``) from the tables in the code: ``make reference``.

Each module makes one page, as a pure function that returns its text. A test compares the files with what these functions return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.generator import asyncapi, commands, exit_codes, schema_pages, settings, topics

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "topics.md": topics.page,
    "schemas.md": schema_pages.page,
    "commands.md": commands.page,
    "exit-codes.md": exit_codes.page,
    "asyncapi.yaml": asyncapi.document,
}
"""The files of ``docs/reference`` and what makes each."""

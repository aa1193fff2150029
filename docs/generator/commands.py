"""The page of commands, from the parser itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import click

from docs.generator.markdown import NOTICE, names, prose, table
from streams.cli.main import cli

_NUMBERS = ("number", "whole number")
_INTRODUCTION = """# Commands
{notice}

`--help` (`-h`) with any command prints what stands here. `veilstream --debug COMMAND` shows the traceback of an error.
What a command ends with: [exit-codes.md](exit-codes.md). Commands reach Kafka and find keys by the [settings](settings.md).
"""


def page() -> str:
    """The page's text: a section for each command, the commands of a group below it."""
    parts = [_INTRODUCTION.format(notice=NOTICE)]
    for path, command in commands():
        if len(path) == 1:
            continue
        parts += [f"{'#' * len(path)} `{' '.join(path)}`", *_text(command.help or ""), ""]
        if not isinstance(command, click.Group):
            parts += ["```", _usage(path, command), "```", *_options(command), ""]
    return "\n".join(parts).rstrip() + "\n"


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its path, ``("veilstream", "topics", "create")``, groups before what they hold."""
    yield from _below(("veilstream",), cli)


def _below(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _below((*path, name), found)


def value_of(kind: click.ParamType) -> str:
    """What an option takes, in words.

    >>> value_of(click.IntRange(min=1)), value_of(click.Choice(["a", "b"])), value_of(click.STRING)
    ('whole number, at least 1', '`a`, `b`', 'text')
    """
    if isinstance(kind, click.Choice):
        return names(kind.choices)
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        low = f"{'above' if kind.min_open else 'at least'} {kind.min}" if kind.min is not None else ""
        high = f"{'below' if kind.max_open else 'at most'} {kind.max}" if kind.max is not None else ""
        return ", ".join(word for word in (_NUMBERS[isinstance(kind, click.IntRange)], low, high) if word)
    if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        return _NUMBERS[isinstance(kind, click.types.IntParamType)]
    if isinstance(kind, (click.Path, click.File)):
        return "path"
    return "text" if isinstance(kind, click.types.StringParamType) else kind.name


def _usage(path: tuple[str, ...], command: click.Command) -> str:
    return " ".join([*path, *command.collect_usage_pieces(click.Context(command))])


def _text(help_text: str) -> Iterator[str]:
    r"""Paragraphs, of which those after click's ``\b`` are kept as they are, as code."""
    for paragraph in re.split(r"\n\s*\n", textwrap.dedent(help_text.replace("\f", "\n")).strip()):
        yield ""
        if paragraph.lstrip().startswith("\b"):
            yield from ("```", textwrap.dedent(paragraph.lstrip().removeprefix("\b").strip("\n")), "```")
        else:
            yield prose(paragraph)


def _options(command: click.Command) -> Iterator[str]:
    rows = [_row(option) for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if rows:
        yield ""
        yield table(("option", "value", "default", "meaning"), rows)


def _row(option: click.Option) -> tuple[str, str, str, str]:
    """An option's names, the value it takes, its default where help shows one, and what it does."""
    record = option.get_help_extra(click.Context(click.Command("")))
    notes = [note for note in ("required" if option.required else "", "may be repeated" if option.multiple else "") if note]
    shown = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else value_of(option.type)
    default = record.get("default")
    return shown, value, f"`{default}`" if default else "", prose(option.help or "") + (f" ({', '.join(notes)})" if notes else "")

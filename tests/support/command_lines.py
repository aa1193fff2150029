"""Finds ``veilstream ...`` command lines in texts, and says what is wrong with them by the parser's own tree."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache

import click

from docs.generator.commands import commands

NOT_COMMANDS = {"model", "sealed", "audit link", "dead"}
"""``veilstream model manifest``, ``veilstream sealed id`` and the like are lines that signatures cover."""
_BEFORE = r"(?:^|(?<=[\s(`\"'])|(?<=bin/)|(?<=\(BIN\)/))(?<!-n )(?<!--namespace )(?<!--cluster )"
_LINE = re.compile(_BEFORE + r"veilstream ((?:[a-z]|--(?:debug|help|version))(?:[^\n`]|\\\n)*)", re.M)
_END = re.compile(r"\s(?:#|\\?\||>|<|&&|;|\\$)|;(?:\s|$)|\)\s*$|…|\.\.\.| \(|\$\(")
_LITERAL = re.compile(r"[a-z0-9][a-z0-9-]*")
_OPTIONAL = re.compile(r"[\[\],.]+(?=\s|$)|(?<=\s)\[")


def lines(text: str) -> Iterator[str]:
    """What follows ``veilstream`` in a text, to the end of the command: a comment, a pipe, a closing quote.

    >>> list(lines("`veilstream keys list`, then .venv/bin/veilstream topics create   # once"))
    ['keys list', 'topics create']
    """
    for found in _LINE.findall(text):
        yield _END.split(found.replace("\\\n", " "), maxsplit=1)[0].strip()


def problem(line: str) -> str | None:
    """What is wrong with the words after ``veilstream``; None where it is a command line that the parser takes.

    Words in capitals stand for values, brackets for what may be left out, a|b for one of both.

    >>> problem("keys list"), problem("audit verify|show|report"), problem("models list [--json]")
    (None, None, None)
    >>> problem("keys make"), problem("keys list --all"), problem("keys generate --only nothing"), problem("topics create now")
    ("no command 'keys make'", "'keys list' has no option --all", "--only takes no 'nothing'", "'topics create' takes no 'now'")
    """
    words = _words(line.removeprefix("--debug "))
    if words and words[0].isupper():
        return None  # stands for any command
    path: tuple[str, ...] = ("veilstream",)
    while words and isinstance(tree()[path], click.Group) and not words[0].startswith("-"):
        if words[0] in NOT_COMMANDS or " ".join((*path[1:], words[0])) in NOT_COMMANDS:
            return None
        options = words.pop(0).split("|")
        unknown = [word for word in options if (*path, word) not in tree()]
        if unknown:
            return f"no command '{' '.join((*path[1:], unknown[0]))}'"
        path = (*path, options[0])
    return _wrong_words(path, words)


@cache
def tree() -> dict[tuple[str, ...], click.Command]:
    """Every command by its path."""
    return dict(commands())


@cache
def options() -> frozenset[str]:
    """Every option of any command."""
    return frozenset(name for command in tree().values() for name in _options(command)) | {"--help", "-h"}


def _words(line: str) -> list[str]:
    """As a shell splits them; a quote that does not end here, as in a sentence, ends the line."""
    text = _OPTIONAL.sub("", line.replace("[OPTIONS]", ""))
    try:
        return shlex.split(text)
    except ValueError:
        return shlex.split(re.split("[\"']", text)[0])


def _wrong_words(path: tuple[str, ...], words: list[str]) -> str | None:
    command, name = tree()[path], " ".join(path[1:])
    known = _options(command)
    places = sum(float("inf") if part.nargs < 0 else part.nargs for part in command.params if isinstance(part, click.Argument))
    rest = iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if not option.startswith("-") or option == "-":
            places -= 1
            if places < 0:
                return f"'{name}' takes no '{word}'"
        elif option not in ("--help", "-h"):
            if option not in known:
                return f"'{name}' has no option {option}"
            given = known[option]
            if not given.is_flag:
                value = value or next(rest, "")
                if isinstance(given.type, click.Choice) and _LITERAL.fullmatch(value) and value not in given.type.choices:
                    return f"{option} takes no '{value}'"
    return None


def _options(command: click.Command) -> dict[str, click.Option]:
    return {name: part for part in command.params if isinstance(part, click.Option) for name in (*part.opts, *part.secondary_opts)}

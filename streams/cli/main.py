"""The ``veilstream`` command. A command's module is imported when the command is called, so ``--help`` answers at once."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from streams.cli.exit_codes import ExitCode
from streams.cli.hardening import harden
from streams.cli.saying import is_json, say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "worker": "Run one or several stages.",
    "demo": "Run everything against a simulated shop and show what happens.",
    "topics": "Create, check or print the topics.",
    "keys": "Generate, rotate, list and retire key files.",
    "doctor": "Check settings, keys, broker, topics, rights, models and machine; say what to do.",
    "settings": "List all settings with their values.",
    "metrics": "List all metrics, and who serves them.",
    "replay": "Publish items, decisions on consent, and events from files.",
    "forget": "Have everything forgotten that is known of a shopper.",
    "export": "Write all that is held about a shopper.",
    "consent": "Publish a decision of one shopper on what is allowed.",
    "sources": "List the sources that are known, and check what would become of a file's records.",
    "watch": "Show a topic's records as they come.",
    "recover": "Open, repair and replay dead letters.",
    "trainer": "Train on the collected pairs, and publish a model that proves better.",
    "console": "Show on a page what runs, as it happens.",
    "audit": "Verify, show and report what was done, by whom and when.",
    "models": "List, add, promote and roll back model versions.",
    "features": "Check the logged features of rankers.",
    "backtest": "Recommend from files, without a broker, and write the result.",
    "broker": "Run the embedded broker.",
    "access": "Print, explain and check the rights of every stage at the broker.",
    "completion": "Print the script with which a shell completes the command line.",
}
PROGRAM = "veilstream"
_ROLES = {
    **dict.fromkeys(("topics", "recover", "models", "features", "keys"), "operators"),
    **dict.fromkeys(("replay", "consent"), "producers"),
    **dict.fromkeys(("forget", "export"), "privacy"),
    "trainer": "trainer",
    "console": "console",
}
"""Whose credentials a command runs with, for the command that grants what they lack."""


class _LazyGroup(click.Group):
    """A group whose commands live in ``streams.cli.<name>`` under the name ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if Path(__file__).with_name(f"{name}.py").is_file()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"streams.cli.{cmd_name}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without importing them all. The group's own options are completed as usual."""
        from click.shell_completion import CompletionItem

        if incomplete[:1] == "-":
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=_COMMANDS[name]) for name in self.list_commands(ctx) if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(ctx)])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="veilstream")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Veilstream: private, real-time recommendations on Kafka.

    A first look: `veilstream demo`. Against your own Kafka: set KAFKA_BOOTSTRAP_SERVERS, then `veilstream keys generate`,
    `veilstream topics create`, `veilstream worker --stage all`.
    """
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Ends with an ``ExitCode``; where something went wrong, one line says what."""
    harden()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _command_of(arguments: list[str]) -> str:
    """The command that a command line names, where click does not say: for an option without its value."""
    path, found = "veilstream", cast(click.Command, cli)
    for word in arguments:
        if isinstance(found, click.Group) and (inner := found.get_command(click.Context(found), word)) is not None:
            path, found = f"{path} {word}", inner
    return path


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    debug = "--debug" in arguments[:1]
    try:
        answer: Any = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False)
        return answer if isinstance(answer, int) else ExitCode.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.WRONG_USE
    except click.ClickException as error:
        message = error.format_message()
        if isinstance(error, click.UsageError):
            path = error.ctx.command_path if error.ctx else _command_of(arguments)
            message = f"{message.rstrip('.')}; see `{path} --help`"
        say("ERROR", message)
        return ExitCode.WRONG_USE if isinstance(error, click.UsageError) else ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.exceptions.Exit as error:
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost frame; whatever it is ends as one line and an exit code
        if debug and not is_json():
            traceback.print_exc()
        else:
            command = next((word for word in arguments if not word.startswith("-")), "")
            say("ERROR", describe(error, _ROLES.get(command)), error)
        return ExitCode.FAILED


def describe(error: Exception, role: str | None = None) -> str:
    """One line for an operator. ``role`` is whose rights were used, where the error does not say it. An error that is not the product's own
    is shown by type and place only, because its message may hold values of records."""
    from streams.errors import PRODUCT, AccessDenied

    if isinstance(error, AccessDenied) and error.role is None:
        error = AccessDenied(error.rights, role)
    if isinstance(error, PRODUCT):
        return " ".join(str(error).split())
    kind = type(error).__name__
    if "aiokafka" in sys.modules and isinstance(error, importlib.import_module("aiokafka.errors").KafkaError):
        return f"the broker refused the request or cannot be reached ({kind}); check the broker and the KAFKA_… settings"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {kind}{place}; `veilstream --debug …` shows the traceback, please report it"


if __name__ == "__main__":
    main()

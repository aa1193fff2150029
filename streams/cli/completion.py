"""``veilstream completion``: the script with which a shell completes commands, options and their values."""

from __future__ import annotations

import click

from streams.cli.main import PROGRAM, cli

SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script with which SHELL completes commands, options, stages, topics and other values.

    \b
    bash, in ~/.bashrc:                  eval "$(veilstream completion bash)"
    zsh, in ~/.zshrc after compinit:     eval "$(veilstream completion zsh)"
    fish: veilstream completion fish > ~/.config/fish/completions/veilstream.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}; choose from: {', '.join(SHELLS)}")
    # Of the base class: that of bash runs a bash first to see its version, and the script may be for another machine.
    click.echo(ShellComplete.source(kind(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")))

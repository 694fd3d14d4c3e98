"""`prebuilds completion`: the completion script of a shell."""

from __future__ import annotations

import click

_VARIABLE = "_PREBUILDS_COMPLETE"
"""With this environment variable, click completes a command line rather than running it."""


@click.command("completion", epilog='Example: eval "$(prebuilds completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script with which a shell completes commands and options.

    Completion does not use the network.
    """
    from click.shell_completion import get_completion_class

    from prebuilds.cli.app import prebuilds

    kind = get_completion_class(shell)
    if kind is None:  # a release of click without this shell
        raise click.UsageError(f"{shell} is not supported")
    print(kind(prebuilds, {}, "prebuilds", _VARIABLE).source())

"""The command `prebuilds`: which commands there are, and how they fail. A command is loaded when it is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

import click

from prebuilds.cli.exit_codes import INTERRUPTED, USAGE, CommandError
from prebuilds.cli.invocation import Invocation
from prebuilds.cli.terminal import one_line, prepare_streams
from prebuilds.version import __version__

if TYPE_CHECKING:
    from prebuilds.flows.effects import Runtime

_HELP_WIDTH: Final = 80

COMMANDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Prebuilds": {
        "list": ("reading:list_command", "List prebuilds, newest first."),
        "get": ("reading:get_command", "Show prebuilds."),
        "status": ("reading:status_command", "Show how fresh the prebuilds of projects are."),
        "create": ("creating:create_command", "Create a prebuild, and wait for it."),
        "wait": ("following:wait_command", "Wait until prebuilds have ended."),
        "watch": ("following:watch_command", "Show the changes of prebuilds."),
        "logs": ("following:logs_command", "Show the log of a prebuild."),
        "cancel": ("removing:cancel_command", "Cancel prebuilds."),
        "delete": ("removing:delete_command", "Delete prebuilds."),
        "prune": ("removing:prune_command", "Delete old prebuilds."),
        "refresh": ("fleet.command:refresh_command", "Create new prebuilds of many projects."),
    },
    "Warm pools": {
        "warm-pool": ("warm_pools:warm_pool_command", "List, create, resize and delete warm pools."),
    },
    "Tools": {
        "call": ("calling:call_command", "Call a method of the service by its name."),
        "completion": ("completion:completion_command", "Print the completion script of a shell."),
        "contract": ("contract:contract", "Test whether a server keeps the contract."),
        "demo": ("demo:demo_command", "Show the client at work."),
        "emulator": ("emulator:emulator_command", "Run a local server of the whole service."),
    },
}
"""The commands by section: where each is below `prebuilds.cli`, and its short help."""

ALIASES: Final = {"trigger": "create"}

_COMMANDS = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class _Commands(click.Group):
    """The commands, each loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name][0].partition(":")
        return cast("click.Command", getattr(import_module(f"prebuilds.cli.{module}"), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of the help, without loading any command."""
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, short_help) for name, (_, short_help) in commands.items()])


@click.command(
    cls=_Commands,
    context_settings={
        "show_default": True,
        "help_option_names": ["-h", "--help"],
        "max_content_width": _HELP_WIDTH,
    },
    epilog="`prebuilds COMMAND --help` describes a command.",
)
@click.version_option(__version__, prog_name="prebuilds", message="%(prog)s %(version)s", help="Print the version.")
def prebuilds() -> None:
    """Trigger, follow and list prebuilds, and size warm pools."""


def run(arguments: Sequence[str], runtime: Runtime | None = None) -> int:
    """Run the command that the arguments name, and return its exit code.

    Args:
        arguments: the command line.
        runtime: time and chance; by default the real ones.
    """
    prepare_streams()
    invocation = Invocation(tuple(arguments), runtime)
    try:
        code: Any = prebuilds.main(list(arguments), prog_name="prebuilds", standalone_mode=False, obj=invocation)
    except click.UsageError as error:
        return _report_usage(error)
    except click.ClickException as error:
        return _report(error.format_message(), code=error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except CommandError as error:
        return _report(str(error), error.hint, error.code)
    except (OSError, UnicodeDecodeError) as error:  # a file that cannot be read or written
        return _report(str(error))
    return code or 0


def _report_usage(error: click.UsageError) -> int:
    context = error.ctx
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
        return USAGE
    path = "prebuilds" if context is None else context.command_path
    return _report(error.format_message(), f"{path} --help", USAGE)


def _report(text: str, hint: str = "", code: int = 1) -> int:
    from prebuilds.cli.session import print_error

    text = one_line(text)
    print_error(text[:1].lower() + text[1:] if text[1:2].islower() else text, hint)
    return code

"""The commands themselves, and how they fail: in a line or two, never with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prebuilds.cli.contract import contract
from prebuilds.version import __version__

if TYPE_CHECKING:
    from prebuilds.emulator.console import LogStyle

INTERRUPTED = 130
"""The exit code of a command that was interrupted from the keyboard, as shells have it."""

_FILE = click.Path(path_type=Path, dir_okay=False)


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit code."""
    try:
        code: int | None = prebuilds.main(list(arguments), prog_name="prebuilds", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # Loaded only now: the emulator, which has to start fast, needs no client.
        from prebuilds import PrebuildsError
        from prebuilds.cli.demo import DemoError

        if not isinstance(error, (PrebuildsError, DemoError)):
            raise
        print(f"prebuilds: {error}", file=sys.stderr)
        return 1
    return code or 0


@click.group(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="prebuilds", message="%(prog)s %(version)s", help="Print the version.")
def prebuilds() -> None:
    """Trigger, follow and list prebuilds, and size warm pools."""


@prebuilds.command(short_help="Run a local server of the whole service.")
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option("--speed", default=60.0, help="How many seconds of the service pass in one of yours.")
@click.option("--data", metavar="FILE", type=_FILE, help="Keep the state in this file, not in memory.")
@click.option(
    "--token",
    "tokens",
    metavar="TOKEN",
    multiple=True,
    help="Take this API token and no unknown one; may be given several times.",
)
@click.option(
    "--read-only-token",
    "read_only_tokens",
    metavar="TOKEN",
    multiple=True,
    help="An API token that may only read; may be given several times.",
)
@click.option("--projects", metavar="FILE", type=_FILE, help='Declare the projects of this JSON: {"projects": [...]}.')
@click.option("--strict-projects", is_flag=True, help="Answer not_found for projects that were not declared.")
@click.option("--relaxed-ids", is_flag=True, help="Take any text for the id of a project or a class, not UUIDs only.")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Permit a --host that others can reach. Whoever reaches it can read and change everything here.",
)
@click.option("--control/--no-control", default=True, help="Have the control plane, below /_emulator/.")
@click.option(
    "--control-token",
    metavar="TOKEN",
    envvar="PREBUILDS_CONTROL_TOKEN",
    show_envvar=True,
    help="Let the control plane ask for this bearer token.",
)
@click.option(
    "--log",
    type=click.Choice(["text", "json", "none"]),
    default="text",
    help="How to tell of requests, on standard error.",
)
def emulator(
    *,
    host: str,
    port: int,
    speed: float,
    data: Path | None,
    tokens: tuple[str, ...],
    read_only_tokens: tuple[str, ...],
    projects: Path | None,
    strict_projects: bool,
    relaxed_ids: bool,
    allow_remote: bool,
    control: bool,
    control_token: str | None,
    log: LogStyle,
) -> int:
    """Run a local server of the whole service, until it is interrupted."""
    from prebuilds.emulator import server

    try:
        options = server.Options(
            tokens=tokens,
            read_only_tokens=read_only_tokens,
            strict_projects=strict_projects,
            relaxed_ids=relaxed_ids,
            control=control,
            control_token=control_token,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return server.run(
        host=host,
        port=port,
        speed=speed,
        data=data,
        allow_remote=allow_remote,
        options=options,
        projects=projects,
        log=log,
    )


prebuilds.add_command(contract)


@prebuilds.command(short_help="Show the client at work.")
@click.option(
    "--base-url",
    metavar="URL",
    help="A service to read from, rather than the bundled emulator. Without this option, the environment's base URL "
    "and token are taken if it has both.",
)
@click.option("--token-env", metavar="VAR", help="The environment variable that holds the token.")
@click.option("--create", is_flag=True, help="Create a prebuild and a warm pool there; needs --project.")
@click.option("--project", metavar="ID", help="The project to create in, or to list.")
def demo(*, base_url: str | None, token_env: str | None, create: bool, project: str | None) -> None:
    """Show the client at work: create a prebuild and follow it, list, manage a warm pool.

    On a service of yours it only reads, unless told to create; what it creates it deletes again.
    """
    from prebuilds.cli import demo as story

    story.run(base_url=base_url, token_env=token_env, create=create, project=project)

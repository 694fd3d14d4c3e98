"""The commands themselves, and how they fail: in a line or two, never with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from prebuilds.cli.contract import contract
from prebuilds.version import __version__

app = typer.Typer(
    help="Trigger, follow and list prebuilds, and size warm pools.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class LogStyle(Enum):
    """How the emulator tells of requests."""

    TEXT = "text"
    JSON = "json"
    NONE = "none"


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit code."""
    try:
        app(list(arguments), prog_name="prebuilds")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        # Loaded only now: the emulator, which has to start fast, needs no client.
        from prebuilds import PrebuildsError
        from prebuilds.cli.demo import DemoError

        if not isinstance(error, (PrebuildsError, DemoError)):
            raise
        print(f"prebuilds: {error}", file=sys.stderr)
        return 1
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"prebuilds {__version__}")
        raise typer.Exit


@app.callback()
def prebuilds(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Trigger, follow and list prebuilds, and size warm pools."""


@app.command()
def emulator(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    speed: Annotated[float, typer.Option(help="How many seconds of the service pass in one of yours.")] = 60.0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Keep the state in this file, not in memory."),
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(
            "--token", metavar="TOKEN", help="Take this API token and no unknown one; may be given several times."
        ),
    ] = None,
    read_only_token: Annotated[
        list[str] | None,
        typer.Option(
            "--read-only-token", metavar="TOKEN", help="An API token that may only read; may be given several times."
        ),
    ] = None,
    projects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help='Declare the projects of this JSON: {"projects": [...]}.'),
    ] = None,
    strict_projects: Annotated[
        bool, typer.Option("--strict-projects", help="Answer not_found for projects that were not declared.")
    ] = False,
    relaxed_ids: Annotated[
        bool, typer.Option("--relaxed-ids", help="Take any text for the id of a project or a class, not UUIDs only.")
    ] = False,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Permit a --host that others can reach. Whoever reaches it can read and change everything here.",
        ),
    ] = False,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="Have the control plane, below /_emulator/.")
    ] = True,
    control_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="PREBUILDS_CONTROL_TOKEN",
            help="Let the control plane ask for this bearer token.",
        ),
    ] = None,
    log: Annotated[LogStyle, typer.Option(help="How to tell of requests, on standard error.")] = LogStyle.TEXT,
) -> None:
    """Run a local server of the whole service, until it is interrupted."""
    from prebuilds.emulator import server

    try:
        options = server.Options(
            tokens=tuple(token or ()),
            read_only_tokens=tuple(read_only_token or ()),
            strict_projects=strict_projects,
            relaxed_ids=relaxed_ids,
            control=control,
            control_token=control_token,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    code = server.run(
        host=host,
        port=port,
        speed=speed,
        data=data,
        allow_remote=allow_remote,
        options=options,
        projects=projects,
        log=log.value,
    )
    raise typer.Exit(code)


app.command()(contract)


@app.command()
def demo(
    *,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A service to read from, rather than the bundled emulator. Without this option, "
            "the environment's base URL and token are taken if it has both.",
        ),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="The environment variable that holds the token."),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create a prebuild and a warm pool there; needs --project.")
    ] = False,
    project: Annotated[str | None, typer.Option(metavar="ID", help="The project to create in, or to list.")] = None,
) -> None:
    """Show the client at work: create a prebuild and follow it, list, manage a warm pool.

    On a service of yours it only reads, unless told to create; what it creates it deletes again.
    """
    from prebuilds.cli import demo as story

    story.run(base_url=base_url, token_env=token_env, create=create, project=project)

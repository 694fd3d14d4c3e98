"""`prebuilds emulator`: a local server of the whole service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from prebuilds.emulator.console import LogStyle

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command("emulator")
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
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="Answer under this host name, too, as in a network of containers. May be repeated.",
)
@click.option("--ready-file", metavar="FILE", type=_FILE, help="Write the URL to this file once it can be called.")
@click.option("--open", "open_page", is_flag=True, help="Open the emulator's page in a browser.")
@click.option(
    "--control/--no-control", default=True, help="Have the page at / and the control plane, below /_emulator/."
)
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
def emulator_command(
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
    allowed_hosts: tuple[str, ...],
    ready_file: Path | None,
    open_page: bool,
    control: bool,
    control_token: str | None,
    log: LogStyle,
) -> int:
    """Run a local server of the whole service, until it is interrupted."""
    from prebuilds.emulator import server

    if open_page and not control:
        raise click.UsageError("--open needs the control plane: leave --no-control out")
    try:
        options = server.Options(
            tokens=tokens,
            read_only_tokens=read_only_tokens,
            strict_projects=strict_projects,
            allowed_hosts=allowed_hosts,
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
        ready_file=ready_file,
        open_page=open_page,
        log=log,
    )

"""`prebuilds contract`: does a server keep the contract?"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import click

if TYPE_CHECKING:
    from prebuilds.contract.runner import Options, Report

Mode = Literal["plan", "read", "reject", "lifecycle", "full"]
Profile = Literal["protojson", "strict"]

ANYONE = "prebuilds-contract"
"""The token sent to a server on this machine if no token is named."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m))?")

# The interval between updates of the progress line, in seconds.
_TICK = 0.1


# The width of a line where the output does not go to a terminal.
_WIDTH = 80

_LAYERS: Final = ("probes", "lifecycle", "machine", "schemathesis")

_SECONDS: Final = click.FloatRange(0)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_SEVERAL: Final = "may be given several times"


class _Group(click.Group):
    """A group whose command `run` need not be named: `contract URL` is `contract run URL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the name of the command where it is left out."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


def _complete_properties(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from prebuilds.contract.properties import PROPERTIES  # it loads the schema

    return [name for name in PROPERTIES if name.startswith(incomplete)]


def _complete_methods(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from prebuilds.contract.methods import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


@click.group(cls=_Group, short_help="Test whether a server keeps the contract.")
def contract() -> None:
    """Test whether a server keeps the contract of the PrebuildService.

    `contract URL` is short for `contract run URL`.
    """


_TOKEN_ENV: Final = click.option("--token-env", metavar="VAR", help="The environment variable that holds the token.")

_OPTIONS: Final = (
    _TOKEN_ENV,
    click.option("--project", "projects", metavar="ID", multiple=True, help=f"A project to write to; {_SEVERAL}."),
    click.option(
        "--environment-class",
        "environment_classes",
        metavar="ID",
        multiple=True,
        help=f"An environment class to use; {_SEVERAL}.",
    ),
    click.option(
        "--mode",
        type=click.Choice(get_args(Mode)),
        help="What may be sent; by default `full` to a server on this machine, `read` to any other.",
    ),
    click.option(
        "--profile",
        type=click.Choice(get_args(Profile)),
        default="protojson",
        help="Whether input that the schema does not name may be understood, or has to be refused.",
    ),
    click.option(
        "--assumptions/--no-assumptions",
        default=None,
        help="Check what is assumed of the service as well; by default only on the emulator.",
    ),
    click.option("--seed", type=int, default=0, help="The same seed makes the same decisions."),
    click.option("--max-creates", type=click.IntRange(0), default=500, help="Create no more things than this."),
    click.option("--rate", metavar="N/s", help="Send no more than this; by default 5/s to a server elsewhere."),
    click.option("--max-time", type=_SECONDS, default=300.0, help="Stop after so many seconds, and clean up."),
    click.option(
        "--settle", type=_SECONDS, default=0.0, help="Seconds that the server may take until all its responses agree."
    ),
    click.option("--patience", type=_SECONDS, help="Seconds to wait for a prebuild or pool to reach a phase."),
    click.option(
        "--only",
        metavar="PROPERTY",
        multiple=True,
        shell_complete=_complete_properties,
        help=f"Check this property, and send only what it takes; {_SEVERAL}.",
    ),
    click.option(
        "--skip",
        metavar="PROPERTY",
        multiple=True,
        shell_complete=_complete_properties,
        help=f"Do not check this property; {_SEVERAL}.",
    ),
    click.option(
        "--method",
        "methods",
        metavar="METHOD",
        multiple=True,
        shell_complete=_complete_methods,
        help=f"Check this method of the service; {_SEVERAL}.",
    ),
    click.option(
        "--layer",
        "layers",
        type=click.Choice(_LAYERS),
        multiple=True,
        help=f"Run only this layer; {_SEVERAL}.",
    ),
    click.option("--ledger", "ledger_file", metavar="FILE", type=_FILE, help="Where to note what the run creates."),
    click.option("--deep", is_flag=True, help="Run the random phases of schemathesis as well: some minutes more."),
)


def _with_options(command: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contract.command(short_help="Test a server.")
@click.argument("url", metavar="URL", default="")
@_with_options
@click.option(
    "--known-failing",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The failures that are known.",
)
@click.option("--record-known-failing", metavar="FILE", type=_FILE, help="Write the failures to this file.")
@click.option(
    "--report",
    "reports",
    metavar="FORMAT=FILE",
    multiple=True,
    help="Write json=F, junit=F or html=F; several may be given, with commas.",
)
@click.option("--grid", is_flag=True, help="Print a table of all properties and methods as well.")
@click.option(
    "--tests",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a test for each failure into this folder.",
)
def run(
    *,
    url: str,
    known_failing: Path | None,
    record_known_failing: Path | None,
    reports: tuple[str, ...],
    grid: bool,
    tests: Path | None,
    **given: Any,
) -> int:
    """Test whether the server at URL keeps the contract.

    The run deletes the resources that it creates; `prebuilds contract cleanup LEDGER` deletes resources that a run
    could not delete. The exit code is 0 if the server conforms, 1 if something is broken, 2 if not all could be tested,
    3 if something was left behind.
    """
    from prebuilds.contract import report
    from prebuilds.contract.findings import read_known, write_known

    progress = _Progress()
    with _usage_errors(progress):
        files = _files(reports)
        _check_writable(*files.values(), record_known_failing)
        options = _options(url, given, known=read_known(known_failing) if known_failing else ())
        found = _run(options, progress)
    if found.mode == "plan":
        _print(report.plan_as_text(found))
        return found.exit_code
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    _print(report.as_text(found, width=max(width, _WIDTH), colour=colour, grid=grid))
    formats = {"json": report.as_json, "junit": report.as_junit, "html": report.as_html}
    for kind, path in files.items():
        report.write(path, formats[kind](found))
    if tests is not None:
        for written in report.write_tests(found, tests):
            print(f"wrote {written}")
    if record_known_failing is not None:
        print(f"wrote {write_known(record_known_failing, found.results)} known failures to {record_known_failing}")
    return found.exit_code


@contract.command(short_help="Print what a run would send.")
@click.argument("url", metavar="URL", default="")
@_with_options
def plan(*, url: str, **given: Any) -> int:
    """Print the requests that a run would send to URL, and send nothing."""
    from prebuilds.contract import report

    progress = _Progress()
    with _usage_errors(progress):
        found = _run(_options(url, {**given, "mode": "plan"}, known=()), progress)
    _print(report.plan_as_text(found))
    return found.exit_code


@contract.command(short_help="Delete what an earlier run has left.")
@click.argument("ledger", metavar="LEDGER", type=_FILE)
@click.argument("url", metavar="[URL]", default="")
@_TOKEN_ENV
def cleanup(*, ledger: Path, url: str, token_env: str | None) -> int:
    """Delete the resources that an earlier run left behind, as its LEDGER lists them.

    A token is sent only to the server at URL, which must match the server in the ledger. Without URL, the server must
    be on this machine, and receives no token of yours.
    """
    from prebuilds.contract.escaping import one_line
    from prebuilds.contract.runner import CONFORMS, LEFT_BEHIND, clean_up_ledger, is_local

    progress = _Progress()
    with _usage_errors(progress):
        if token_env and not url:
            raise ValueError(f"name the server that may have the token: prebuilds contract cleanup {ledger} URL")
        token = _token(token_env, local=not url or is_local(url), plan=False)
        done = clean_up_ledger(ledger, token=token, url=url, tell=progress.say)
    print(f"{done.deleted} things are deleted")
    for made, why in done.left:
        _print(f"left: {made.method} {one_line(made.id)}: {one_line(why)}\n")
    for intent in done.unknown:
        _print(f"unknown: a {intent.method} in project {one_line(intent.project)}, whose response was lost\n")
    return CONFORMS if done.is_complete else LEFT_BEHIND


@contract.command(short_help="List what is checked.")
def properties() -> int:
    """List the properties that are checked, each with its level and its source."""
    from prebuilds.contract.properties import PROPERTIES

    for item in PROPERTIES.values():
        level = f"{item.level}, assumption" if item.assumption else item.level
        print(f"{item.name} ({level}): {item.says} [{item.source}]")
    return 0


@contextmanager
def _usage_errors(progress: _Progress) -> Generator[None]:
    """Report invalid arguments to the user."""
    from prebuilds.contract.ledger import LedgerError

    try:
        yield
    except (ValueError, LedgerError) as error:
        raise click.UsageError(str(error)) from None
    finally:
        progress.end()


def _run(options: Options, progress: _Progress) -> Report:
    from prebuilds.contract import runner

    return runner.run(options, tell=progress.say, on_progress=progress.tick)


def _options(url: str, given: Mapping[str, Any], *, known: Collection[tuple[str, str]]) -> Options:
    from prebuilds.contract import runner

    if not url:
        raise ValueError("missing argument URL. Example: prebuilds contract http://localhost:8080")
    rest = {name: value for name, value in given.items() if name not in ("token_env", "rate", "layers", "ledger_file")}
    return runner.Options(
        url=url,
        token=_token(given["token_env"], local=runner.is_local(url), plan=given["mode"] == "plan"),
        rate=_rate(given["rate"]),
        layers=given["layers"] or _LAYERS,
        ledger=given["ledger_file"],
        known=known,
        **rest,
    )


def _token(variable: str | None, *, local: bool, plan: bool) -> str:
    """The token: from the named variable, or else a default for the server."""
    if variable is not None:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise ValueError(f"there is no token in the environment variable {variable}")
        return token
    if local or plan:
        return ANYONE  # a real token must not reach an unknown local server
    from prebuilds.options import TOKEN_VARIABLES  # imported late: other commands must start fast

    token = next((os.environ[name].strip() for name in TOKEN_VARIABLES if os.environ.get(name, "").strip()), "")
    if not token:
        raise ValueError(
            f"there is no token: set one of {', '.join(TOKEN_VARIABLES)}, or name another with --token-env"
        )
    return token


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate: 5/s, or 100/m")
    return float(match[1]) / (60 if match[2] == "m" else 1)


def _files(values: Sequence[str]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for item in ",".join(values).split(",") if values else ():
        kind, _, name = item.partition("=")
        if kind not in ("json", "junit", "html") or not name:
            raise ValueError(f"{item!r} is no report: json=FILE, junit=FILE or html=FILE")
        found[kind] = Path(name)
    return found


def _check_writable(*paths: Path | None) -> None:
    """Check that the output files of a run can be written, before the run takes its time."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"{path} cannot be written")


def _print(text: str) -> None:
    """Print text that a terminal may lack the characters for."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end="")


class _Progress:
    """On a terminal, one progress line; elsewhere, one line per layer."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = 0.0
        self._shown = False

    def say(self, text: str) -> None:
        """Tell of something new."""
        self.end()
        print(text, file=sys.stderr, flush=True)

    def tick(self, session: object) -> None:
        """Tell how far the session is, now and then."""
        now = time.monotonic()
        if not self._live or now < self._next:
            return
        from prebuilds.contract.session import Session

        state = cast("Session", session)
        self._next = now + _TICK
        self._shown = True
        line = f"{state.layer}: {len(state.log)} requests, {len(state.made)} things made"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

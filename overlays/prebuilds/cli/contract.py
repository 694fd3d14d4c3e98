"""`prebuilds contract`: does a server keep the contract?"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, cast, get_args

import click

Mode = Literal["plan", "read", "reject", "lifecycle", "full"]
Profile = Literal["protojson", "strict"]

ANYONE = "prebuilds-contract"
"""What a server on this machine is sent as token, where none is named."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m))?")

# How often the line of progress is written anew, in seconds.
_TICK = 0.1


_SECONDS: Final = click.FloatRange(0)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_SEVERAL: Final = "may be given several times"


@click.command(short_help="Test whether a server keeps the contract.")
@click.argument("target", metavar="URL", default="")
@click.argument("ledger", metavar="[LEDGER]", type=_FILE, required=False)
@click.option("--token-env", metavar="VAR", help="The environment variable that holds the token.")
@click.option("--project", "projects", metavar="ID", multiple=True, help=f"A project to write to; {_SEVERAL}.")
@click.option(
    "--environment-class",
    "environment_classes",
    metavar="ID",
    multiple=True,
    help=f"An environment class to use; {_SEVERAL}.",
)
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    help="What may be sent; by default `full` to a server on this machine, `read` to any other.",
)
@click.option(
    "--profile",
    type=click.Choice(get_args(Profile)),
    default="protojson",
    help="Whether input that the schema does not name may be understood, or is to be refused.",
)
@click.option(
    "--assumptions/--no-assumptions",
    default=None,
    help="Look at what is assumed of the service, too; by default only on the emulator.",
)
@click.option("--seed", type=int, default=0, help="The same seed sends the same requests.")
@click.option("--max-creates", type=click.IntRange(0), default=500, help="Make no more things than this.")
@click.option("--rate", metavar="N/s", help="Send no more than this; by default 5/s to a server elsewhere.")
@click.option("--max-time", type=_SECONDS, default=300.0, help="Stop after so many seconds, and clean up.")
@click.option(
    "--settle", type=_SECONDS, default=0.0, help="Seconds that the server may take until all its answers agree."
)
@click.option("--patience", type=_SECONDS, help="Seconds to wait for a prebuild or pool to get somewhere.")
@click.option("--only", metavar="PROPERTY", multiple=True, help=f"Look at this property; {_SEVERAL}.")
@click.option("--skip", metavar="PROPERTY", multiple=True, help=f"Leave this out; {_SEVERAL}.")
@click.option(
    "--method", "methods", metavar="METHOD", multiple=True, help=f"Check this method of the service; {_SEVERAL}."
)
@click.option(
    "--layer",
    "layers",
    metavar="LAYER",
    multiple=True,
    help=f"Run this layer alone: probes, lifecycle, machine, schemathesis; {_SEVERAL}.",
)
@click.option(
    "--known-failing",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="What is known to be broken.",
)
@click.option("--record-known-failing", metavar="FILE", type=_FILE, help="Write what is broken to this file.")
@click.option("--deep", is_flag=True, help="Fuzz with schemathesis as well: some minutes more.")
@click.option(
    "--report",
    "reports",
    metavar="FORMAT=FILE",
    multiple=True,
    help="Write json=F, junit=F or html=F; several may be given, with commas.",
)
@click.option(
    "--tests",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a test for each failure into this folder.",
)
@click.option("--ledger", "ledger_file", metavar="FILE", type=_FILE, help="Where to note what is made.")
@click.option("--properties", is_flag=True, help="List all properties, and stop.")
def contract(
    *,
    target: str,
    ledger: Path | None,
    token_env: str | None,
    projects: tuple[str, ...],
    environment_classes: tuple[str, ...],
    mode: Mode | None,
    profile: Profile,
    assumptions: bool | None,
    seed: int,
    max_creates: int,
    rate: str | None,
    max_time: float,
    settle: float,
    patience: float | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    methods: tuple[str, ...],
    layers: tuple[str, ...],
    known_failing: Path | None,
    record_known_failing: Path | None,
    deep: bool,
    reports: tuple[str, ...],
    tests: Path | None,
    ledger_file: Path | None,
    properties: bool,
) -> int:
    """Test whether the server at URL keeps the contract of the PrebuildService.

    What it makes it deletes again; `prebuilds contract cleanup LEDGER` deletes what a run had to leave. The exit code
    is 0 if the server conforms, 1 if something is broken, 2 if not all could be tested, 3 if something was left behind.
    """
    if properties:
        _list_properties()
        return 0
    if not target:
        raise click.UsageError("which server? Give its URL")
    from prebuilds.contract import report, runner
    from prebuilds.contract.findings import read_known, write_known
    from prebuilds.contract.ledger import LedgerError

    progress = _Progress()
    try:
        if target == "cleanup":
            if ledger is None:
                raise ValueError("which ledger? Give its file")
            return _clean_up(ledger, token_env, progress)
        if ledger is not None:
            raise ValueError(f"what is {ledger} to be? Only `cleanup` takes a file")
        files = _files(reports)
        _check_writable(*files.values(), record_known_failing)
        options = runner.Options(
            url=target,
            token=_token(token_env, local=runner.is_local(target), plan=mode == "plan"),
            projects=projects,
            environment_classes=environment_classes,
            mode=mode,
            profile=profile,
            assumptions=assumptions,
            seed=seed,
            max_creates=max_creates,
            rate=_rate(rate),
            max_time=max_time,
            settle=settle,
            patience=patience,
            only=only,
            skip=skip,
            methods=methods,
            known=read_known(known_failing) if known_failing else (),
            layers=_layers(layers, runner.LAYERS),
            deep=deep,
            ledger=ledger_file,
        )
        found = runner.run(options, tell=progress.say, on_progress=progress.tick)
    except (ValueError, LedgerError) as error:
        raise click.UsageError(str(error)) from None
    finally:
        progress.end()
    if found.mode == "plan":
        _print(report.plan_as_text(found))
        return found.exit_code
    _print(report.as_text(found))
    formats = {"json": report.as_json, "junit": report.as_junit, "html": report.as_html}
    for kind, path in files.items():
        report.write(path, formats[kind](found))
    if tests is not None:
        for written in report.write_tests(found, tests):
            print(f"wrote {written}")
    if record_known_failing is not None:
        print(f"wrote {write_known(record_known_failing, found.results)} known failures to {record_known_failing}")
    return found.exit_code


def _clean_up(path: Path, token_env: str | None, progress: _Progress) -> int:
    from prebuilds.contract.ledger import Ledger
    from prebuilds.contract.runner import CONFORMS, LEFT_BEHIND, clean_up_ledger, is_local

    url = Ledger.read(path).url
    done = clean_up_ledger(path, token=_token(token_env, local=is_local(url), plan=False), tell=progress.say)
    progress.end()
    print(f"{done.deleted} things are deleted on {url}")
    for made, why in done.left:
        print(f"left: {made.method} {made.id}: {why}")
    for intent in done.unknown:
        print(f"unknown: a {intent.method} in project {intent.project}, whose answer was lost")
    return CONFORMS if done.is_complete else LEFT_BEHIND


def _list_properties() -> None:
    from prebuilds.contract.properties import PROPERTIES

    for item in PROPERTIES.values():
        level = f"{item.level}, assumption" if item.assumption else item.level
        print(f"{item.name} ({level}): {item.says} [{item.source}]")


def _token(variable: str | None, *, local: bool, plan: bool) -> str:
    """The token: from the variable that was named, or else what suits the server."""
    if variable is not None:
        token = os.environ.get(variable, "").strip()
        if not token:
            raise ValueError(f"there is no token in the environment variable {variable}")
        return token
    if local or plan:
        return ANYONE  # a real token is no business of whatever listens here
    from prebuilds.options import TOKEN_VARIABLES  # loaded only now: other commands have to start fast

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
    """See that what a run is to write can be written, before it takes its time."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"{path} cannot be written")


def _print(text: str) -> None:
    """Print what a terminal need not have letters for."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end="")


def _layers(given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"there is no layer {', '.join(unknown)}: {', '.join(known)}")
    return given or known


class _Progress:
    """One line on a terminal that says how far it is; on anything else, a line for each layer."""

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

"""Options and argument types that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from prebuilds.cli.durations import parse_duration
from prebuilds.cli.output import FORMATS

if TYPE_CHECKING:
    from click import ParamType as ParamType  # noqa: PLC0414  otherwise mypy does not let others import it
else:

    class ParamType(click.ParamType):
        """The type of click, which older releases do not let type checkers parametrize."""

        def __class_getitem__(cls, _item: object) -> type:
            return cls


CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_MAX_IDS: Final = 1_000_000
_MAX_LINE: Final = 10_000
"""The number of characters of a line of ids."""


class DurationType(ParamType[timedelta]):
    """A duration such as `90s`, `15m`, `2h` or `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration."""
        if isinstance(value, timedelta):
            return value
        try:
            found = parse_duration(value)
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)
        if not found:
            self.fail(f"expected more than 0 seconds, found {value!r}", param, ctx)
        return found


class EnumType(ParamType[str]):
    """A value of an enum of the API, by its short name in any case."""

    def __init__(self, name: Literal["PrebuildPhase", "WarmPoolPhase", "PrebuildTrigger"]) -> None:
        self.name = name

    def members(self) -> dict[str, str]:
        """The values by their short names in lower case."""
        from prebuild_api import models

        enum: Iterable[Any] = getattr(models, self.name)
        return {member.name.lower(): str(member) for member in enum if member.name != "UNSPECIFIED"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value as the API writes it."""
        members = self.members()
        wanted = str(value).strip()
        for short, full in members.items():
            if wanted.lower() in (short, full.lower()):
                return full
        return self.fail(f"expected one of {', '.join(members)}, found {value!r}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The short names that complete the typed text."""
        return [CompletionItem(short) for short in self.members() if short.startswith(incomplete.lower())]


class RateType(ParamType[float]):
    """A rate such as `5/s` or `100/m`, in calls per second."""

    name = "rate"
    _pattern = re.compile(r"(\d+(?:\.\d+)?)/([smh])", re.ASCII)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The calls per second."""
        if isinstance(value, float):
            return value
        match = self._pattern.fullmatch(str(value).strip())
        if match is None or not float(match[1]):
            self.fail(f"expected a rate such as 5/s or 100/m, found {value!r}", param, ctx)
        return float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]]


DURATION: Final = DurationType()
PREBUILD_PHASE: Final = EnumType("PrebuildPhase")
WARM_POOL_PHASE: Final = EnumType("WarmPoolPhase")
TRIGGER: Final = EnumType("PrebuildTrigger")

ids_argument = click.argument("ids", metavar="ID...", nargs=-1)

projects_option = click.option(
    "-p", "--project", "--project-id", "projects", metavar="ID", multiple=True, help="A project; repeatable."
)
class_option = click.option(
    "--class", "--environment-class-id", "environment_class", metavar="ID", help="Only this environment class."
)
since_option = click.option("--since", metavar="WHEN", help="Created since then: 2d, or a date.")
stalled_option = click.option(
    "--stalled-after", metavar="TIME", type=DURATION, help="Give up if nothing changes for so long."
)
max_wait_option = click.option("--max-wait", metavar="TIME", type=DURATION, help="Wait at most so long.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
github_option = click.option("--github", is_flag=True, help="Write the summary and outputs of a GitHub job.")


def connection_options(command: CommandT) -> CommandT:
    """The options that say which service to call, and how to print."""
    for option in reversed(
        (
            click.option(
                "-o", "--output", "output_format", type=click.Choice(FORMATS), help="How to print; default: table."
            ),
            click.option("--json", "as_json", is_flag=True, help="The same as -o json."),
            click.option("--base-url", metavar="URL", help="The service; default: $GITPOD_BASE_URL."),
            click.option("--token-env", metavar="VAR", help="The variable with the token."),
            click.option("--no-color", is_flag=True, help="Print without colours, as with NO_COLOR."),
            click.option("-q", "--quiet", is_flag=True, help="No progress and no hints."),
        )
    ):
        command = option(command)
    return command


def read_ids(values: Sequence[str], noun: str) -> list[str]:
    """The ids of an argument, each once. `-` stands for the ids of standard input, one per line.

    Raises:
        click.UsageError: there is no id, or a line is too long.
    """
    if not values:
        raise click.UsageError(f"missing argument: expected at least one {noun}, or - to read them from standard input")
    found: dict[str, None] = {}
    for value in values:
        if value == "-":
            found.update(dict.fromkeys(ids_in(sys.stdin, "standard input")))
        else:
            found[_checked_id(value.strip(), noun)] = None
    return list(found)


def ids_in(lines: Iterable[str], source: str) -> list[str]:
    """The first word of each line that is not empty and not a comment.

    Raises:
        click.UsageError: a line is too long, or there are too many.
    """
    found: list[str] = []
    for number, line in enumerate(lines, start=1):
        if len(line) > _MAX_LINE or number > _MAX_IDS:
            raise click.UsageError(f"{source}, line {number}: expected at most {_MAX_IDS} lines with an id each")
        words = line.removeprefix("\ufeff").split()
        if words and not words[0].startswith("#"):
            found.append(_checked_id(words[0], f"id in {source}, line {number}"))
    return found


def _checked_id(text: str, noun: str) -> str:
    if not text or not text.isprintable() or len(text) > 255:
        raise click.UsageError(f"expected a {noun}, found {text[:100]!r}")
    return text


def counted(number: int, noun: str) -> str:
    """A number of resources."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation on a terminal.

    Raises:
        click.Abort: the user declines. click.UsageError: there is no terminal for the question, and `--yes` was not
        given.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is no terminal to ask for confirmation: add --yes")
    if not click.confirm(question, err=True):
        raise click.Abort

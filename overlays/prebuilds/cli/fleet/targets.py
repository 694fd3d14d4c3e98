"""The projects and environment classes of a run, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import click

from prebuilds.cli.exit_codes import CANCELLED, FAILED, NOT_FOUND, SUCCESS, TIMED_OUT

OutcomeName = Literal["completed", "failed", "cancelled", "deleted", "stalled", "refused", "skipped"]

EXIT_CODES: Final[dict[OutcomeName, int]] = {
    "completed": SUCCESS,
    "skipped": SUCCESS,
    "failed": FAILED,
    "refused": FAILED,
    "cancelled": CANCELLED,
    "deleted": NOT_FOUND,
    "stalled": TIMED_OUT,
}

_MAX_TEXT: Final = 500
"""The number of characters of a server's message that is kept for each target."""


@dataclass(frozen=True)
class Target:
    """A project and environment class that get a new prebuild."""

    project: str
    environment_class: str | None
    """None for the default class of the project."""

    @property
    def key(self) -> str:
        """The target in the state file."""
        return f"{self.project} {self.environment_class or '-'}".lower()


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A create that is about to be sent. If its response is lost, this is how to recognise its prebuild."""

    at: float
    """The time in seconds since 1970, by the clock of this machine."""
    since: datetime | None
    """The newest prebuild that the projects had before, by the clock of the service; None if they had none."""
    known: frozenset[str]
    """The ids of the prebuilds that were created at that very moment."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a target."""

    name: OutcomeName
    message: str = ""
    log_url: str = ""
    seconds: float | None = None
    """The time from the creation of the prebuild to its end."""

    @property
    def is_failure(self) -> bool:
        """Return True if the target has no new prebuild that completed."""
        return self.name not in ("completed", "skipped")

    @classmethod
    def of(
        cls, name: OutcomeName, message: str | None, log_url: str | None = None, seconds: float | None = None
    ) -> Outcome:
        """An outcome with bounded texts."""
        return cls(name=name, message=(message or "")[:_MAX_TEXT], log_url=(log_url or "")[:_MAX_TEXT], seconds=seconds)


@dataclass(slots=True)
class Item:
    """A target in a run, and how far it is."""

    target: Target
    intent: Intent | None = None
    """The create that was sent last."""
    prebuild_id: str | None = None
    environment_class: str | None = None
    """The environment class of the prebuild."""
    created_at: datetime | None = None
    outcome: Outcome | None = None
    pruned: bool = False
    phase: str = ""
    changed_at: float = field(default=0.0)
    """When the prebuild changed last, by the clock of the run."""
    polled_at: float = 0.0
    """When it was read by itself last, because no list shows it."""
    seen: Any = None
    """The versions by which a change is noticed."""

    @property
    def is_lost(self) -> bool:
        """Return True if it is unknown whether the create took effect."""
        return self.intent is not None and self.prebuild_id is None and self.outcome is None


def targets_of(
    projects: Iterable[str], lines: Iterable[tuple[str, str | None]], classes: Sequence[str]
) -> list[Target]:
    """The targets of a command: each project with each class. A line of a file may name its own class.

    Raises:
        click.UsageError: there is no target.
    """
    named = [*((project, None) for project in projects), *lines]
    found: dict[str, Target] = {}
    for project, own in named:
        for environment_class in (own,) if own else classes or (None,):
            target = Target(project, environment_class)
            found.setdefault(target.key, target)
    if not found:
        raise click.UsageError("no projects: expected PROJECT..., or --projects-from FILE")
    return list(found.values())


def is_of_target(target: Target, project: str | None, environment_class: str | None, others: frozenset[str]) -> bool:
    """Return True if a prebuild of a project and class may belong to the target.

    `others` are the classes that other targets of the project name: a target without a class does not mean these.
    """
    if (project or "").lower() != target.project.lower():
        return False
    found = (environment_class or "").lower()
    if target.environment_class is None:
        return found not in others
    return found == target.environment_class.lower()

"""The steps of a layer, with their properties and prerequisites, so that a run sends only necessary requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

EVERY_RESPONSE: Final = (
    "no-server-error",
    "matches-schema",
    "content-type",
    "error-envelope",
    "code-and-status-agree",
    "current-status-mapping",
    "logs-token-is-secret",
)
"""The properties that every response shows: a run that checks one of them skips no step."""

OBSERVED: Final = (
    "created-at-is-stable",
    "updated-at-moves-forward",
    "versions-grow",
    "phases-move-forward",
    "terminal-phases-stay",
    "completion-time-at-the-end",
    "size-once-completed",
    "failure-message-of-failures",
    "ready-needs-a-snapshot",
)
"""The properties that show whenever a prebuild or pool is seen again."""

_ATTRIBUTE: Final = "step"

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Step:
    """The purpose of one step.

    Attributes:
        shows: the properties that it shows, besides the properties of every response.
        needs: the names of earlier steps that create its prerequisites.
    """

    shows: frozenset[str]
    needs: tuple[str, ...]


def step(*shows: str, needs: Sequence[str] = ()) -> Callable[[F], F]:
    """Declare which properties a step shows, and which earlier steps it needs."""

    def declare(function: F) -> F:
        setattr(function, _ATTRIBUTE, Step(frozenset(shows), tuple(needs)))
        return function

    return declare


def chosen(steps: Sequence[Callable[[], None]], is_wanted: Callable[[str], bool]) -> list[Callable[[], None]]:
    """The steps that show a selected property, and their prerequisites, in order."""
    declared: dict[str, Step] = {_name(each): getattr(each, _ATTRIBUTE) for each in steps}
    everything = any(is_wanted(name) for name in EVERY_RESPONSE)
    waiting = [name for name, of in declared.items() if everything or any(map(is_wanted, of.shows))]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in declared and name not in names:
            names.add(name)
            waiting += declared[name].needs
    return [each for each in steps if _name(each) in names]


def _name(function: Callable[..., Any]) -> str:
    return function.__name__

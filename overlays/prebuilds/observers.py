"""The hook for telemetry: an observer learns of each call, each attempt and each wait.

No observer is set by default.
"""

from __future__ import annotations

from typing import Any, Protocol

from prebuild_api.operations import Attempt, Operation


class CallObserver(Protocol):
    """Observes one call."""

    def attempt(self, attempt: Attempt) -> None:
        """An attempt has ended."""
        ...

    def end(self, error: BaseException | None) -> None:
        """The call has ended, with an error or without."""
        ...


class Observer(Protocol):
    """Observes the clients of a process. Its methods must not raise."""

    def call(self, operation: Operation[Any, Any], base_url: str) -> CallObserver:
        """A call begins."""
        ...

    def waited(self, resource: str, phase: str, outcome: str, seconds: float) -> None:
        """A wait has ended.

        Args:
            resource: `prebuild` or `warm pool`.
            phase: the last known phase.
            outcome: `reached`, or the name of the error's class.
            seconds: the duration of the wait.
        """
        ...


_current: Observer | None = None


def current() -> Observer | None:
    """The observer, if there is one."""
    return _current


def observe(observer: Observer | None) -> None:
    """Set the observer of all clients of this process, or remove it."""
    global _current  # noqa: PLW0603 - one observer for the process
    _current = observer

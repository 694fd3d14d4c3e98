"""The exit codes of the commands, and the code that stands for an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SUCCESS: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CANCELLED: Final = 3
DENIED: Final = 4
"""Not authenticated, or not permitted."""
NOT_FOUND: Final = 5
TIMED_OUT: Final = 6
"""Timed out, or stalled."""
SOME_FAILED: Final = 7
"""Some of several failed."""
INTERRUPTED: Final = 130
"""Interrupted from the keyboard, as shells have it."""


class CommandError(Exception):
    """A command cannot carry out its request.

    Attributes:
        hint: advice for the user, or an empty text.
        code: the exit code.
    """

    def __init__(self, text: str, *, hint: str = "", code: int = FAILED) -> None:
        super().__init__(text)
        self.hint = hint
        self.code = code


def code_of(error: BaseException) -> int:
    """The exit code for an error of the client or of a command."""
    if isinstance(error, CommandError):
        return error.code
    # Loaded only now: `prebuilds --help` needs no client.
    from prebuilds import errors

    codes: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
        ((errors.PrebuildCancelledError,), CANCELLED),
        ((errors.UnauthenticatedError, errors.PermissionDeniedError), DENIED),
        ((errors.NotFoundError, errors.PrebuildDeletedError, errors.WarmPoolDeletedError), NOT_FOUND),
        (
            (errors.StalledError, errors.WaitTimeoutError, errors.RequestTimeoutError, errors.DeadlineExceededError),
            TIMED_OUT,
        ),
        ((errors.ConfigurationError, errors.InvalidArgumentError), USAGE),
    )
    return next((code for kinds, code in codes if isinstance(error, kinds)), FAILED)


def code_of_many(codes: Sequence[int]) -> int:
    """The exit code of a command that processed several items, each with its own code."""
    different = set(codes)
    if len(different) <= 1:
        return next(iter(different), SUCCESS)
    return SOME_FAILED if SUCCESS in different else FAILED

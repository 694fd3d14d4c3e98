"""Waiting until a prebuild is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from prebuild_api import models
from prebuild_api.models import ConnectCode, PrebuildPhase
from prebuild_api.operations import GET_PREBUILD
from prebuilds.calls import Caller
from prebuilds.effects import Sleep, Steps, Tell
from prebuilds.errors import (
    APIError,
    CallError,
    NotFoundError,
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    WaitError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

DEFAULT_WAIT = 7500.0
"""Seconds. The service ends a prebuild after 7200 s at the latest; the rest is for what comes before
and after its run."""

DEFAULT_POLL_INTERVAL = 12.0
"""The longest pause between two looks, in seconds."""

_FIRST_PAUSE = 1.0
_GROWTH = 1.6
_JITTER = 0.1

_LAST_LOOK = 5.0
"""How long the look at the end of the waiting time may take at least, in seconds."""

_FIRST_ANSWER = 120.0
"""After so many seconds without a single answer the failure is believed to last: the service does not
exist at this base URL, say."""

# Beside what is certain to be transient: a look changes nothing, and one that fails now proves
# nothing about a prebuild that takes minutes.
_PASSING_CODES = frozenset(
    {
        ConnectCode.ABORTED,
        ConnectCode.CANCELED,
        ConnectCode.DEADLINE_EXCEEDED,
        ConnectCode.INTERNAL,
        ConnectCode.RESOURCE_EXHAUSTED,
        ConnectCode.UNAVAILABLE,
    }
)

_ENDS: dict[PrebuildPhase, tuple[type[WaitError], str]] = {
    PrebuildPhase.FAILED: (PrebuildFailedError, "failed"),
    PrebuildPhase.CANCELLED: (PrebuildCancelledError, "was cancelled"),
    PrebuildPhase.DELETED: (PrebuildDeletedError, "was deleted"),
}


def wait(
    caller: Caller,
    prebuild_id: str | Prebuild,
    *,
    timeout: float | None,
    on_update: Callable[[Prebuild], object] | None,
    poll_interval: float,
) -> Steps[Prebuild]:
    """Look at a prebuild until it is COMPLETED; see `Prebuilds.wait` in `prebuilds.client`."""
    if not isinstance(prebuild_id, str):
        prebuild_id = prebuild_id.id or ""
    if not prebuild_id:
        raise ValueError("prebuild_id: expected an id, or a prebuild that has one")
    if not poll_interval > 0:
        raise ValueError(f"poll_interval: expected seconds, more than 0, got {poll_interval!r}")
    clock = caller.world.clock
    begin = clock()
    deadline = math.inf if timeout is None else begin + timeout
    pause = min(_FIRST_PAUSE, poll_interval)
    last: Prebuild | None = None
    while True:
        failure: CallError | None = None
        try:
            prebuild = yield from _look(caller, prebuild_id, max(deadline - clock(), _LAST_LOOK))
        except NotFoundError as error:
            # ASSUMPTION: a prebuild that was there and is not found any more has been deleted;
            # servers need not show the phase DELETED.
            if last is None:
                raise
            raise PrebuildDeletedError(
                _words(prebuild_id, "was deleted", last), prebuild_id=prebuild_id, prebuild=last
            ) from error
        except CallError as error:
            lasts = last is None and clock() - begin >= _FIRST_ANSWER
            if lasts or not _is_passing(error):
                raise
            failure = error
        else:
            if on_update is not None and prebuild != last:
                yield Tell(on_update, prebuild)
            last = prebuild
            phase = prebuild.status.phase
            if phase is PrebuildPhase.COMPLETED:
                return prebuild
            if phase.is_terminal:
                kind, end = _ENDS.get(phase, (WaitError, f"ended as {phase}"))
                raise kind(_words(prebuild_id, end, last), prebuild_id=prebuild_id, prebuild=last)
        remaining = deadline - clock()
        if remaining <= 0:
            seen = "has not been seen" if last is None else f"is {_short(last.status.phase)}"
            raise WaitTimeoutError(
                _words(prebuild_id, f"{seen} after {timeout:g} s", last)
                + (f" [last look: {failure}]" if failure else ""),
                prebuild_id=prebuild_id,
                prebuild=last,
            ) from failure
        jitter = caller.world.uniform(1 - _JITTER, 1 + _JITTER)
        yield Sleep(min(pause * jitter, remaining))
        pause = min(pause * _GROWTH, poll_interval)


def _look(caller: Caller, prebuild_id: str, limit: float) -> Steps[Prebuild]:
    timeout = min(limit, caller.settings.timeout or math.inf)
    response = yield from caller.call(
        GET_PREBUILD,
        models.GetPrebuildRequest(prebuild_id=prebuild_id),
        {"timeout": None if math.isinf(timeout) else timeout},
    )
    return response.prebuild


def _is_passing(error: CallError) -> bool:
    """Whether a look that failed so is worth another one."""
    if error.retryable:
        return True
    return isinstance(error, APIError) and (error.code in _PASSING_CODES or error.status >= 500)


def _words(prebuild_id: str, end: str, last: Prebuild | None) -> str:
    text = f"prebuild {prebuild_id} {end}"
    if last is None:
        return text
    if last.status.failure_message:
        text += f": {last.status.failure_message}"
    if last.status.log_url:
        text += f" [log: {last.status.log_url}]"
    return text


def _short(phase: PrebuildPhase) -> str:
    """The phase as people call it: `RUNNING`."""
    return str(phase).removeprefix("PREBUILD_PHASE_")

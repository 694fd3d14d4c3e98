"""Reading a log from its first line to its last, over as many connections as that takes."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define

from prebuild_api import models
from prebuild_api.operations import CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD
from prebuilds.errors import APIError, CallError, LogError, NotFoundError, WaitTimeoutError
from prebuilds.flows.effects import Effect, Emit, Sleep, Steps, Stream
from prebuilds.logs.connection import End, LogConnection, checked_url
from prebuilds.logs.lines import Lines
from prebuilds.options import Seconds, checked_seconds
from prebuilds.retries import backoff_delay
from prebuilds.waitables import PREBUILD, identified
from prebuilds.waiting import is_transient

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild
    from prebuilds.calls import CallExecutor
    from prebuilds.flows.effects import Runtime

_POLL_INTERVAL = 3.0
"""Seconds between two polls of a prebuild that has no log yet."""

_MAX_OUTAGE = 30.0
"""Seconds for which the log's server may be unavailable while the prebuild is active, regardless of the retries."""

_MAX_BROKEN = 50
"""The number of consecutive connections that may break off after they only repeated a part of the log."""

_MAX_EARLY = 3
"""The number of times that 502 is taken to mean that the log does not exist yet."""

_EARLY_DELAY = 1.0

_MIN_REOPEN_DELAY = 1.0
_MAX_REOPEN_DELAY = 12.0
"""Seconds before a log that ended is opened again, because the prebuild is still active."""


def logs(
    executor: CallExecutor, prebuild_id: str | Prebuild, *, follow: bool = True, timeout: Seconds | None = None
) -> Stream[str]:
    """The logic of `client.prebuilds.logs`."""
    item_id, _ = identified("prebuild_id", prebuild_id)
    return _Reading(executor, item_id, follow, checked_seconds("timeout", timeout)).steps()


class _Reading:
    """The log of one prebuild, as far as it has been read."""

    def __init__(self, executor: CallExecutor, prebuild_id: str, follow: bool, timeout: float | None) -> None:
        self._executor = executor
        self._runtime = executor.runtime
        self._id = prebuild_id
        self._follow = follow
        self._timeout = timeout
        self._deadline = math.inf
        self._lines = Lines()
        self._token: tuple[str, tuple[str, str]] | None = None
        """The token, and the server that it is for."""
        self._prebuild: Prebuild | None = None
        """The prebuild as of the last poll."""

    def steps(self) -> Stream[str]:
        """Everything from finding the log to its last line."""
        if self._timeout is not None:
            self._deadline = self._runtime.clock() + self._timeout
        attempts = _Attempts(runtime=self._runtime, retries=self._executor.options.retries)
        prebuild: Prebuild | None = yield from self._poll()
        while prebuild is not None:
            over = _is_over(prebuild)
            if not prebuild.status.log_url:
                if over or not self._follow:
                    return
                yield from self._pause(_POLL_INTERVAL * self._runtime.uniform(0.9, 1.1))
                prebuild = yield from self._poll_again(prebuild)
                continue
            before = self._lines.count
            end = yield from self._read(prebuild.status.log_url, over)
            if end.complete:
                return
            attempts.record(end, progress=self._lines.count > before)
            if end.error is None:
                prebuild = yield from self._poll_again(prebuild)
                if prebuild is not None and not _is_over(prebuild):
                    yield from self._pause(attempts.reopen_delay())
                continue
            delay = attempts.retry_delay(end, self._deadline, patient=self._follow and not over)
            if delay is None:
                prebuild = yield from self._poll_again(prebuild)
                if attempts.opened and (prebuild is None or _is_leaving(prebuild)):
                    return  # the log was deleted together with the prebuild
                raise end.error
            if end.token_refused:
                self._token = None
            yield from self._pause(delay)
            prebuild = yield from self._poll_again(prebuild)

    def _read(self, url: str, over: bool) -> Generator[Effect | Emit[str], Any, End]:
        """Read the log until the connection ends."""
        url = checked_url(url, self._id, self._executor.options.base_url)
        try:
            token = yield from self._token_for(url)
        except CallError as error:
            retry_after = error.retry_after if isinstance(error, APIError) else None
            return End(error, lasting=not is_transient(error), retry_after=retry_after)
        connection = LogConnection(
            prebuild_id=self._id,
            url=url,
            token=token,
            deadline=self._deadline,
            over=over,
            follow=self._follow,
            runtime=self._runtime,
        )
        end = yield from connection.read(self._lines)
        if not end.complete:
            self._check_deadline()
        return end

    def _token_for(self, url: str) -> Steps[str]:
        """The token, which is requested once for each server."""
        parts = urlsplit(url)
        server = (parts.scheme, parts.netloc)
        if self._token is None or self._token[1] != server:
            request = models.CreatePrebuildLogsTokenRequest(prebuild_id=self._id)
            token = (yield from self._executor.call(CREATE_PREBUILD_LOGS_TOKEN, request, {})).access_token
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise LogError(
                    f"the log of prebuild {self._id} cannot be read: the service returned no token for it, or a token "
                    "that is not valid in a header",
                    prebuild_id=self._id,
                )
            self._token = token, server
        return self._token[0]

    def _poll(self) -> Steps[Prebuild]:
        request = models.GetPrebuildRequest(prebuild_id=self._id)
        self._prebuild = (yield from self._executor.call(GET_PREBUILD, request, {})).prebuild
        return self._prebuild

    def _poll_again(self, prebuild: Prebuild) -> Steps[Prebuild | None]:
        """The prebuild as it is now, or as it was if the service is unavailable; None if the prebuild is gone."""
        try:
            return (yield from self._poll())
        except NotFoundError:
            return None
        except CallError as error:
            if not is_transient(error):
                raise
            return prebuild

    def _pause(self, seconds: float) -> Steps[None]:
        yield Sleep(max(0.0, min(seconds, self._deadline - self._runtime.clock())))
        self._check_deadline()

    def _check_deadline(self) -> None:
        if self._runtime.clock() >= self._deadline:
            raise WaitTimeoutError(
                f"the log of prebuild {self._id} has not ended after {self._timeout:g} s",
                item_id=self._id,
                prebuild=self._prebuild,
            )


@define(kw_only=True)
class _Attempts:
    """The outcome of the connections so far, and its consequence for the next connection."""

    runtime: Runtime
    retries: int
    opened: bool = False
    """True if the log could be read at least once."""
    _last_opened: float = 0.0
    """When it was, on the runtime's clock."""
    _failures: int = 0
    """The number of consecutive connections that failed without a new line."""
    _early: int = 0
    _unproductive: int = 0
    """The number of consecutive connections that ended without an error and without a new line."""
    _token_renewed: bool = False
    """True if the token in use replaced a rejected token."""

    def __attrs_post_init__(self) -> None:
        self._last_opened = self.runtime.clock()

    def record(self, end: End, *, progress: bool) -> None:
        """A connection ended. `progress`: whether it delivered new lines."""
        if end.opened:
            self.opened, self._token_renewed, self._last_opened = True, False, self.runtime.clock()
        if progress:
            self._failures = self._early = self._unproductive = 0

    def reopen_delay(self) -> float:
        """The seconds before the next connection, after a connection that ended without an error."""
        delay = min(_MIN_REOPEN_DELAY * 1.5**self._unproductive, _MAX_REOPEN_DELAY)
        self._unproductive = min(self._unproductive + 1, _MAX_BROKEN)
        return delay

    def retry_delay(self, end: End, deadline: float, *, patient: bool) -> float | None:
        """The seconds before the next connection, after a connection that ended with an error; None to stop.

        Args:
            end: the end of the connection.
            deadline: when reading must have ended.
            patient: whether a short outage is waited through, regardless of the retries.
        """
        if end.token_refused and not self._token_renewed:
            self._token_renewed = True
            return 0.0
        if end.early and self._early < _MAX_EARLY:
            self._early += 1
            return _EARLY_DELAY
        self._failures += 1
        now = self.runtime.clock()
        retries = _MAX_BROKEN if end.heard else self.retries
        if end.lasting or end.token_refused:
            return None
        if self._failures > retries and not (patient and now - self._last_opened < _MAX_OUTAGE):
            return None
        attempt = 1 if end.heard else self._failures
        return backoff_delay(attempt, end.retry_after, deadline - now, self.runtime.uniform)


def _is_over(prebuild: Prebuild) -> bool:
    return prebuild.status.phase.is_terminal or _is_leaving(prebuild)


def _is_leaving(prebuild: Prebuild) -> bool:
    return prebuild.status.phase.is_deleting or prebuild.status.phase == PREBUILD.deleted

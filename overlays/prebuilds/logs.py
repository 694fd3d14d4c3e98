"""Reading the log of a prebuild, line by line, while it runs and afterwards.

The log has an address and a token of its own. The client's token never goes there, and the log's token goes nowhere
else.
"""

from __future__ import annotations

import codecs
import math
from array import array
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define

from prebuild_api import models
from prebuild_api.http import RawResponse
from prebuild_api.operations import CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD
from prebuilds.calls import CallExecutor
from prebuilds.engines.body import ACCEPT_ENCODING
from prebuilds.engines.exchange import ExchangeError
from prebuilds.errors import APIError, CallError, LogError, NotFoundError, PrebuildsError, WaitTimeoutError
from prebuilds.flows.effects import Close, Effect, Emit, Open, Read, Sleep, Steps, Stream
from prebuilds.options import USER_AGENT, Seconds, checked_seconds, is_host
from prebuilds.redaction import readable
from prebuilds.retries import backoff_delay, retry_after_of
from prebuilds.waitables import PREBUILD, identified
from prebuilds.waiting import is_transient

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

_POLL_INTERVAL = 3.0
"""Seconds between two looks at a prebuild that has no log yet."""

_SILENCE = 120.0
"""Seconds without a line after which the connection is opened anew: it may have been lost unnoticed."""

_PAUSE_AT_THE_END = 2.0
"""Seconds without a line after which a log that still grows is taken for read, by who does not want to follow it."""

_CATCHING_UP = 20.0
"""Seconds after which it is taken for read although there was no such pause: it grows all the time."""

_OUTAGE = 30.0
"""Seconds for which the log's server may be away while the prebuild is under way, however many attempts have failed."""

_MOST_BROKEN = 50
"""How many connections, one after the other, may break off after they have repeated some of the log only."""

_EARLY = 3
"""How often 502 is taken for: the log is about to be there."""

_PAUSE_BETWEEN = 1.0
_LONGEST_PAUSE_BETWEEN = 12.0
"""Seconds before a log that has ended is read again, because the prebuild is still under way."""

_EXCERPT = 200
_EXCERPT_READ = 4096


def logs(
    executor: CallExecutor, prebuild_id: str | Prebuild, *, follow: bool = True, timeout: Seconds | None = None
) -> Stream[str]:
    """The logic of `client.prebuilds.logs`."""
    item_id, _ = identified("prebuild_id", prebuild_id)
    return _Reading(executor, item_id, follow, checked_seconds("timeout", timeout)).steps()


@define(frozen=True)
class _End:
    """How one connection to the log ended. Without an error, the server fell silent, or ended the log."""

    error: PrebuildsError | None = None
    complete: bool = False
    """Whether this was all that is to be read."""
    opened: bool = False
    """Whether the server gave the log at all."""
    heard: bool = False
    """Whether there was something in it."""
    lasting: bool = False
    """Whether another attempt is of no use."""
    token_refused: bool = False
    early: bool = False
    """Whether the log is about to be there."""
    retry_in: float | None = None
    """After how many seconds the server wants to be asked again."""


class _Reading:
    """The log of one prebuild, as far as it has been read."""

    def __init__(self, executor: CallExecutor, prebuild_id: str, follow: bool, timeout: float | None) -> None:
        self._executor = executor
        self._clock = executor.runtime.clock
        self._id = prebuild_id
        self._follow = follow
        self._timeout = timeout
        self._deadline = math.inf
        self._lines = Lines()
        self._token: tuple[str, tuple[str, str]] | None = None
        """The token, and the server that it is for."""
        self._prebuild: Prebuild | None = None
        """As it was last seen."""

    def steps(self) -> Stream[str]:
        """All that is needed, from finding the log to its last line."""
        if self._timeout is not None:
            self._deadline = self._clock() + self._timeout
        prebuild: Prebuild | None = yield from self._look()
        alive = self._clock()
        failures = early = barren = 0
        opened = renewed = False
        while prebuild is not None:
            # A log is complete if it was opened after the prebuild was through, and ended of its own accord.
            over = _is_over(prebuild)
            if not prebuild.status.log_url:
                if over or not self._follow:
                    return
                yield from self._pause(_POLL_INTERVAL * self._executor.runtime.uniform(0.9, 1.1))
                prebuild = yield from self._look_again(prebuild)
                continue
            before = self._lines.count
            end = yield from self._read(self._checked(prebuild.status.log_url), over)
            if end.complete:
                return
            if end.opened:
                opened, renewed, alive = True, False, self._clock()
            if self._lines.count > before:
                failures = early = barren = 0
            if end.error is None:
                prebuild = yield from self._look_again(prebuild)
                if prebuild is not None and not _is_over(prebuild):
                    yield from self._pause(min(_PAUSE_BETWEEN * 1.5**barren, _LONGEST_PAUSE_BETWEEN))
                barren = min(barren + 1, _MOST_BROKEN)
                continue
            if end.token_refused and not renewed:
                self._token, renewed = None, True
                continue
            if end.early and early < _EARLY:
                early += 1
                yield from self._pause(1.0)
            else:
                failures += 1
                retries = _MOST_BROKEN if end.heard else self._executor.options.retries
                patient = self._follow and not over and self._clock() - alive < _OUTAGE
                if end.lasting or end.token_refused or (failures > retries and not patient):
                    prebuild = yield from self._look_again(prebuild)
                    if opened and (prebuild is None or _is_leaving(prebuild)):
                        return  # its log has gone with it
                    raise end.error
                attempt = 1 if end.heard else failures
                remaining = self._deadline - self._clock()
                delay = backoff_delay(attempt, end.retry_in, remaining, self._executor.runtime.uniform)
                if delay is None:
                    raise end.error
                yield from self._pause(delay)
            prebuild = yield from self._look_again(prebuild)

    def _read(self, url: str, over: bool) -> Generator[Effect | Emit[str], Any, _End]:
        """Read the log until the connection ends, for whatever reason."""
        try:
            token = yield from self._token_for(url)
        except CallError as error:
            hint = error.retry_after if isinstance(error, APIError) else None
            return _End(error, lasting=not is_transient(error), retry_in=hint)
        # Whoever does not follow a log that grows wants what there is now.
        final = over or not self._follow
        quiet = _SILENCE if over or self._follow else _PAUSE_AT_THE_END
        remaining = max(0.001, self._deadline - self._clock())
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "text/plain",
            "Accept-Encoding": ACCEPT_ENCODING,
            "User-Agent": USER_AGENT,
        }
        try:
            stream = yield Open(url=url, headers=headers, timeout=min(_SILENCE, remaining))
        except ExchangeError as error:
            return _End(self._broken(error, token), lasting=error.lasting)
        response: RawResponse = stream.response
        if not response.is_success:
            excerpt = yield from self._excerpt(stream)
            yield Close(stream)
            return self._refused(response, excerpt, token)
        self._lines.begin()
        begin = self._clock()
        heard = complete = False
        broken: LogError | None = None
        while True:
            if self._clock() >= self._deadline:
                raise self._too_late()
            try:
                chunk = yield Read(stream, min(quiet, max(0.001, self._deadline - self._clock())))
            except ExchangeError as error:
                if error.timed_out:
                    complete = final and not over
                else:
                    broken = self._broken(error, token)
                break
            if chunk is None:
                complete = final
                break
            heard = heard or bool(chunk)
            for line in self._lines.feed(chunk):
                yield Emit(line)
            if final and not over and self._clock() - begin >= _CATCHING_UP:
                return _End(complete=True)
        yield Close(stream)
        if complete:
            for line in self._lines.rest():
                yield Emit(line)
        return _End(broken, complete=complete, opened=True, heard=heard)

    def _refused(self, response: RawResponse, excerpt: str, token: str) -> _End:
        """What an answer without a log means."""
        status = response.status_code
        said = f"HTTP {status} {response.reason_phrase}: {excerpt or 'empty body'}"
        if 300 <= status < 400 and "location" in response.headers:
            said += f" [It redirects to {response.headers['location'].partition('?')[0]}, where the token must not go.]"
        text = f"the log of prebuild {self._id} cannot be read: {said}".replace(token, "[token]")
        error = LogError(text, prebuild_id=self._id, status=status)
        if status in (401, 403):
            return _End(error, token_refused=True)
        if status in (408, 429) or status >= 500:
            hint = retry_after_of(response.headers, (), self._executor.runtime.now)
            return _End(error, retry_in=hint, early=status == 502)
        return _End(error, lasting=True)

    def _broken(self, cause: Exception, token: str) -> LogError:
        said = (str(cause) or type(cause).__name__).replace(token, "[token]")
        error = LogError(f"the log of prebuild {self._id} broke off: {said}", prebuild_id=self._id)
        error.__cause__ = cause
        return error

    def _excerpt(self, stream: Any) -> Steps[str]:
        """The first words of an error."""
        content = b""
        try:
            while len(content) < _EXCERPT_READ:
                chunk = yield Read(stream, max(0.001, min(_SILENCE, self._deadline - self._clock())))
                if chunk is None:
                    break
                content += chunk
        except ExchangeError:
            pass  # it is only about the words of an error
        # What is cut off must not be half of the token.
        token = self._token[0] if self._token else ""
        text = content[:_EXCERPT_READ].decode(errors="replace").replace(token, "[token]")
        return readable(" ".join(text.split())[:_EXCERPT])

    def _checked(self, text: str) -> str:
        """The address of the log, if a token may be sent there.

        Raises:
            LogError: it may not.
        """
        wrong = ""
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
        except ValueError:
            parts, usable = urlsplit(""), False
        if not usable or not text.isprintable() or not text.isascii() or " " in text:
            wrong = "is not a valid URL"
        elif parts.username is not None:
            wrong = "has credentials"
        elif parts.scheme == "http" and self._executor.options.base_url.startswith("https:"):
            wrong = "is not encrypted, though the service itself is"
        if wrong:
            raise LogError(
                f"the log of prebuild {self._id} cannot be read: its address {text.partition('?')[0]!r} {wrong}",
                prebuild_id=self._id,
            )
        return text

    def _token_for(self, url: str) -> Steps[str]:
        """A token, the same for as long as it is for the same server."""
        parts = urlsplit(url)
        server = (parts.scheme, parts.netloc)
        if self._token is None or self._token[1] != server:
            request = models.CreatePrebuildLogsTokenRequest(prebuild_id=self._id)
            token = (yield from self._executor.call(CREATE_PREBUILD_LOGS_TOKEN, request, {})).access_token
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise LogError(
                    f"the log of prebuild {self._id} cannot be read: the service gave no token for it, or one that "
                    "cannot stand in a header",
                    prebuild_id=self._id,
                )
            self._token = token, server
        return self._token[0]

    def _look(self) -> Steps[Prebuild]:
        request = models.GetPrebuildRequest(prebuild_id=self._id)
        self._prebuild = (yield from self._executor.call(GET_PREBUILD, request, {})).prebuild
        return self._prebuild

    def _look_again(self, prebuild: Prebuild) -> Steps[Prebuild | None]:
        """The prebuild as it is now, or as it was if the service cannot be asked for the moment; None if it is gone."""
        try:
            return (yield from self._look())
        except NotFoundError:
            return None
        except CallError as error:
            if not is_transient(error):
                raise
            return prebuild

    def _pause(self, seconds: float) -> Steps[None]:
        yield Sleep(max(0.0, min(seconds, self._deadline - self._clock())))
        if self._clock() >= self._deadline:
            raise self._too_late()

    def _too_late(self) -> WaitTimeoutError:
        return WaitTimeoutError(
            f"the log of prebuild {self._id} is not at its end after {self._timeout:g} s",
            item_id=self._id,
            prebuild=self._prebuild,
        )


def _is_over(prebuild: Prebuild) -> bool:
    return prebuild.status.phase.is_terminal or _is_leaving(prebuild)


def _is_leaving(prebuild: Prebuild) -> bool:
    return prebuild.status.phase.is_deleting or prebuild.status.phase == PREBUILD.deleted


class Lines:
    """The lines of a text that is read in pieces, and after a broken connection maybe again.

    A connection may repeat all that has been there, the latest of it, or nothing: its first lines count as repeated as
    far as the text so far ends with them. Where that can be read in several ways, for the sake of equal lines, the
    longest stretch is taken for repeated. Lines are held back until that is known.
    """

    def __init__(self) -> None:
        self._seen = array("q")
        """A hash of each line so far."""
        self.begin()

    @property
    def count(self) -> int:
        """How many lines there have been, without those that were repeated."""
        return len(self._seen)

    def begin(self) -> None:
        """A new connection begins. What the last one left unfinished is forgotten."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished: list[str] = []
        self._repeating = bool(self._seen)
        # While it may be repeating, the connection is searched for in the text so far, as by Knuth, Morris and Pratt:
        # all lines before `_place` have been compared, and the latest `_matched` of these are the first of the
        # connection. No earlier beginning is possible any more.
        self._place = self._matched = 0
        self._again = array("q")
        self._borders = array("q")
        """For each beginning of the connection, how many lines both begin and end it, itself not counted."""
        self._held: deque[str] = deque(maxlen=_MOST_HELD)

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that a piece of the text completes, but for those that are repeated."""
        *lines, unfinished = self._decoder.decode(chunk).split("\n")
        if lines:
            lines[0] = "".join([*self._unfinished, lines[0]])
            self._unfinished = []
        self._unfinished.append(unfinished)
        return [new for line in lines for new in self._take(line.removesuffix("\r"))]

    def rest(self) -> list[str]:
        """What is left when the connection has brought all that there is.

        That are lines that were held back, and the last one if it has no line end.
        """
        last = "".join([*self._unfinished, self._decoder.decode(b"", True)])
        new = self._take(last) if last else []
        return new + self._compare(at_end=True) if self._repeating and self._again else new

    def _take(self, line: str) -> list[str]:
        value = hash(line)
        if not self._repeating:
            self._seen.append(value)
            return [line]
        border = self._borders[-1] if self._borders else 0
        while border and self._again[border] != value:
            border = self._borders[border - 1]
        self._borders.append(border + 1 if self._again and self._again[border] == value else 0)
        self._again.append(value)
        self._held.append(line)
        return self._compare()

    def _compare(self, *, at_end: bool = False) -> list[str]:
        """Find out how much of the connection is repeated. If that is known now, the lines that are not.

        `at_end`: whether the connection has brought all that it will.
        """
        while self._place < len(self._seen):
            if self._matched < len(self._again) and self._again[self._matched] == self._seen[self._place]:
                self._place += 1
                self._matched += 1
            elif self._matched == len(self._again) and not at_end:
                return []
            elif self._matched:
                self._matched = self._borders[self._matched - 1]
            else:
                self._place += 1
        self._repeating = False
        new = self._again[self._matched :]
        self._seen.extend(new)
        return list(self._held)[-len(new) :] if new else []


_MOST_HELD = 10_000
"""So many lines that have been there before, one after the other, are repeated and not new."""

"""Reading the log of a prebuild, line by line, while it runs and afterwards.

The log has an address and a token of its own. The client's token never goes there, and the log's token goes nowhere
else.
"""

from __future__ import annotations

import codecs
import math
from array import array
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import httpx
from attrs import define

from prebuild_api import models
from prebuild_api.operations import CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD
from prebuilds.calls import USER_AGENT, Caller
from prebuilds.effects import Close, Effect, Emit, Open, Read, Sleep, Steps, Stream
from prebuilds.errors import CallError, LogError, NotFoundError, WaitTimeoutError
from prebuilds.retries import pause_before, retry_hint
from prebuilds.waiting import identified, is_passing

if TYPE_CHECKING:
    from prebuild_api.models import Prebuild

_POLL_INTERVAL = 3.0
"""Seconds between two looks at a prebuild that has no log yet."""

_SILENCE = 120.0
"""Seconds without a line after which the connection is opened anew: it may have been lost unnoticed."""

_PAUSE_AT_THE_END = 2.0
"""Seconds without a line after which a log that still grows is taken for read, by who does not want to follow it."""

_EARLY = 3
"""How often 502 is taken for: the log is about to be there."""

_EXCERPT = 200


def logs(
    caller: Caller, prebuild_id: str | Prebuild, *, follow: bool = True, timeout: float | None = None
) -> Stream[str]:
    """The lines of the log of a prebuild, without line ends.

    A prebuild has a log once its environment exists. As long as it is under way, the log is followed: lines are yielded
    as they come, and the last one when the prebuild is through. A connection that breaks is opened anew; what the
    server then repeats is left out. The token for the log is asked for, and renewed when it has run out.

    Args:
        prebuild_id: The id of the prebuild, or the prebuild itself.
        follow: Whether to wait for more, of a prebuild that is under way. If not, there are the lines that it has now,
            which may be none.
        timeout: How long to read, in seconds; None means for as long as it takes.

    Raises:
        LogError: the log cannot be read, or not to its end.
        WaitTimeoutError: the log was not at its end after `timeout`.
        NotFoundError: there is no such prebuild.
        CallError: the service cannot be asked, for lack of permission for instance.
    """
    item_id, _ = identified("prebuild_id", prebuild_id)
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout: expected seconds, more than 0, got {timeout!r}")
    return _Reading(caller, item_id, follow, timeout).steps()


@define(frozen=True)
class _End:
    """How one connection to the log ended."""

    clean: bool = False
    """Whether the server said that this is all."""
    error: Exception | None = None
    retry_in: float | None = None
    """After how many seconds the server wants to be asked again."""
    early: bool = False
    """Whether the log is about to be there."""
    token_refused: bool = False


class _Reading:
    """The log of one prebuild, as far as it has been read."""

    def __init__(self, caller: Caller, prebuild_id: str, follow: bool, timeout: float | None) -> None:
        self._caller = caller
        self._id = prebuild_id
        self._follow = follow
        self._timeout = timeout
        self._deadline = math.inf if timeout is None else caller.world.clock() + timeout
        self._lines = Lines()
        self._token: tuple[str, tuple[str, str, int | None]] | None = None
        """The token, and the server that it is for."""
        self._prebuild: Prebuild | None = None

    def steps(self) -> Stream[str]:
        """All that is needed, from finding the log to its last line."""
        prebuild = self._prebuild = yield from self._look()
        failures = early = 0
        renewed = False
        while True:
            # A log is complete if it was opened after the prebuild was through, and ended of its own accord.
            over = _is_over(prebuild)
            if not prebuild.status.log_url:
                if over or not self._follow:
                    return
                yield from self._pause(_POLL_INTERVAL)
                prebuild = yield from self._look_again(prebuild)
                continue
            before = self._lines.count
            end = yield from self._read(self._checked(prebuild.status.log_url), over)
            if end.clean and (over or not self._follow):
                return
            if self._lines.count > before:
                failures = early = 0
                renewed = False
            if end.token_refused and not renewed:
                self._token, renewed = None, True
                continue
            if end.early and early < _EARLY:
                early += 1
                yield from self._pause(1.0)
            elif end.error is not None:
                failures += 1
                if failures > self._caller.settings.retries:
                    raise end.error
                remaining = self._deadline - self._caller.world.clock()
                yield from self._pause(pause_before(failures, end.retry_in, remaining, self._caller.world.uniform))
            elif self._lines.count == before:
                yield from self._pause(1.0)  # a server that ends the log at once does so again
            try:
                prebuild = yield from self._look_again(prebuild)
            except NotFoundError:
                return

    def _read(self, url: httpx.URL, over: bool) -> Generator[Effect | Emit[str], Any, _End]:
        """Read the log until the connection ends, for whatever reason."""
        token = yield from self._token_for(url)
        quiet = _SILENCE if self._follow or over else _PAUSE_AT_THE_END
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/plain", "User-Agent": USER_AGENT}
        remaining = max(0.001, self._deadline - self._caller.world.clock())
        try:
            stream = yield Open(url=str(url), headers=headers, timeout=min(_SILENCE, remaining))
        except httpx.RequestError as error:
            return _End(error=self._broken(error))
        response: httpx.Response = stream.response
        if response.status_code != 200:
            excerpt = yield from self._excerpt(stream)
            yield Close(stream)
            return self._refused(response, excerpt.replace(token, "[token]"))
        self._lines.begin()
        # From here on, the connection is only as patient as the caller is.
        response.request.extensions["timeout"]["read"] = min(quiet, remaining)
        clean, broken = False, None
        while True:
            if self._caller.world.clock() >= self._deadline:
                raise self._too_late()
            try:
                chunk = yield Read(stream)
            except httpx.ReadTimeout:
                clean = not self._follow and not over
                break
            except httpx.RequestError as error:
                broken = self._broken(error)
                break
            if chunk is None:
                clean = True
                break
            for line in self._lines.feed(chunk):
                yield Emit(line)
        yield Close(stream)
        if clean and (over or not self._follow):
            for line in self._lines.rest():
                yield Emit(line)
        return _End(clean=clean, error=broken)

    def _refused(self, response: httpx.Response, excerpt: str) -> _End:
        """What an answer without a log means."""
        status = response.status_code
        said = f"HTTP {status} {response.reason_phrase}: {excerpt or 'empty body'}"
        if response.has_redirect_location:
            said += f" [It redirects to {response.headers['location'].partition('?')[0]}, where the token must not go.]"
        error = LogError(f"the log of prebuild {self._id} cannot be read: {said}", prebuild_id=self._id, status=status)
        if status in (401, 403):
            return _End(error=error, token_refused=True)
        if status == 429 or status >= 500:
            hint = retry_hint(response.headers, (), self._caller.world.now)
            return _End(error=error, retry_in=hint, early=status == 502)
        raise error

    def _broken(self, cause: httpx.RequestError) -> LogError:
        said = str(cause) or type(cause).__name__
        error = LogError(f"the log of prebuild {self._id} broke off: {said}", prebuild_id=self._id)
        error.__cause__ = cause
        return error

    def _excerpt(self, stream: Any) -> Steps[str]:
        content = b""
        try:
            while len(content) < _EXCERPT:
                chunk = yield Read(stream)
                if chunk is None:
                    break
                content += chunk
        except httpx.RequestError:
            pass  # it is only about the words of an error
        return " ".join(content.decode(errors="replace").split())[:_EXCERPT]

    def _checked(self, text: str) -> httpx.URL:
        """The address of the log, if a token may be sent there."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            url = httpx.URL()
        wrong = ""
        if url.scheme not in ("http", "https") or not url.host:
            wrong = "is no address of the web"
        elif url.scheme == "http" and self._caller.settings.base_url.startswith("https:"):
            wrong = "is not encrypted, though the service itself is"
        if wrong:
            raise LogError(
                f"the log of prebuild {self._id} cannot be read: its address {text.partition('?')[0]!r} {wrong}",
                prebuild_id=self._id,
            )
        return url

    def _token_for(self, url: httpx.URL) -> Steps[str]:
        """A token, the same for as long as it is for the same server."""
        server = (url.scheme, url.host, url.port)
        if self._token is None or self._token[1] != server:
            request = models.CreatePrebuildLogsTokenRequest(prebuild_id=self._id)
            answer = yield from self._caller.call(CREATE_PREBUILD_LOGS_TOKEN, request, {})
            if not answer.access_token:
                raise LogError(
                    f"the log of prebuild {self._id} cannot be read: the service gave no token for it",
                    prebuild_id=self._id,
                )
            self._token = answer.access_token, server
        return self._token[0]

    def _look(self) -> Steps[Prebuild]:
        request = models.GetPrebuildRequest(prebuild_id=self._id)
        return (yield from self._caller.call(GET_PREBUILD, request, {})).prebuild

    def _look_again(self, prebuild: Prebuild) -> Steps[Prebuild]:
        """The prebuild as it is now, or as it was if the service cannot be asked for the moment."""
        try:
            self._prebuild = yield from self._look()
        except CallError as error:
            if not is_passing(error):
                raise
            return prebuild
        return self._prebuild

    def _pause(self, seconds: float) -> Steps[None]:
        clock = self._caller.world.clock
        yield Sleep(max(0.0, min(seconds, self._deadline - clock())))
        if clock() >= self._deadline:
            raise self._too_late()

    def _too_late(self) -> WaitTimeoutError:
        return WaitTimeoutError(
            f"the log of prebuild {self._id} is not at its end after {self._timeout:g} s",
            item_id=self._id,
            prebuild=self._prebuild,
        )


def _is_over(prebuild: Prebuild) -> bool:
    phase = prebuild.status.phase
    return phase.is_terminal or phase.is_deleting


class Lines:
    """The lines of a text that is read in pieces, and after a broken connection maybe again from its beginning."""

    def __init__(self) -> None:
        self._seen = array("q")
        """A hash of each line so far."""
        self.begin()

    @property
    def count(self) -> int:
        """How many different lines there have been."""
        return len(self._seen)

    def begin(self) -> None:
        """A new connection begins. It may repeat all lines, the latest of them, or none."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial = ""
        self._repeating = bool(self._seen)
        self._read = 0
        """How many lines this connection has brought, while it may be repeating."""
        self._candidates: list[int] = []
        """Where in the text the connection may have begun."""
        self._repeated = 0
        """How many of its lines are repeated for sure, unless the first candidate turns out to be right."""
        self._held: list[str] = []
        """The lines of this connection, as long as they may turn out to be new."""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that a piece of the text completes, but for those that are repeated."""
        *lines, self._partial = (self._partial + self._decoder.decode(chunk)).split("\n")
        return [new for line in lines for new in self._take(line.removesuffix("\r"))]

    def rest(self) -> list[str]:
        """The last line, if it has no line end. The text is at its end."""
        last, self._partial = self._partial + self._decoder.decode(b"", True), ""
        return self._take(last) if last else []

    def _take(self, line: str) -> list[str]:
        if not self._repeating:
            self._seen.append(hash(line))
            return [line]
        value, position = hash(line), self._read
        self._read += 1
        if position == 0:
            self._candidates = _beginnings(self._seen, value)
        else:
            self._candidates = [
                begin
                for begin in self._candidates
                if begin + position < len(self._seen) and self._seen[begin + position] == value
            ]
        if len(self._held) < _MOST_HELD:
            self._held.append(line)
        if not self._candidates:
            new = [*self._held[self._repeated :]] if position < _MOST_HELD else [line]
            self._repeating, self._held = False, []
            self._seen.extend(hash(each) for each in new)
            return new
        if any(begin + self._read == len(self._seen) for begin in self._candidates):
            self._repeated = self._read
            # The earliest beginning is the likeliest: most servers repeat everything.
            if self._candidates[0] + self._read == len(self._seen):
                self._repeating, self._held = False, []
        return []


_MOST_HELD = 1000
"""So many lines that have been there before, one after the other, are repeated and not new."""

_MOST_BEGINNINGS = 64


def _beginnings(seen: array[int], value: int) -> list[int]:
    """Where a line of that hash stands: at the very beginning, or among the latest places."""
    found: list[int] = []
    for position in range(len(seen) - 1, -1, -1):
        if seen[position] == value:
            if len(found) < _MOST_BEGINNINGS:
                found.append(position)
            elif position == 0:
                found[-1] = 0
    return found[::-1]

"""One connection to the log of a prebuild: from the request to the end of the stream."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define

from prebuilds.engines.body import ACCEPT_ENCODING
from prebuilds.engines.exchange import ExchangeError
from prebuilds.errors import LogError, PrebuildsError
from prebuilds.flows.effects import Close, Effect, Emit, Open, Read, Steps
from prebuilds.options import USER_AGENT, is_host
from prebuilds.redaction import readable
from prebuilds.retries import retry_after_of

if TYPE_CHECKING:
    from prebuild_api.http import RawResponse
    from prebuilds.flows.effects import Runtime
    from prebuilds.logs.lines import Lines

_MAX_SILENCE = 120.0
"""Seconds without data after which the connection is replaced: it may be lost without a sign."""

_SNAPSHOT_SILENCE = 2.0
"""Seconds without data after which a growing log counts as read, if it is not followed."""

_MAX_SNAPSHOT = 20.0
"""Seconds after which it counts as read although it keeps growing."""

_EXCERPT = 200
_MAX_EXCERPT_BYTES = 4096


@define(frozen=True)
class End:
    """The outcome of a connection. Without an error, the server ended the log or fell silent."""

    error: PrebuildsError | None = None
    complete: bool = False
    """True if all requested lines were read."""
    opened: bool = False
    """True if the server sent the log at all."""
    heard: bool = False
    """True if the log had content."""
    lasting: bool = False
    """True if another attempt would fail in the same way."""
    token_refused: bool = False
    early: bool = False
    """True if the log will probably exist soon."""
    retry_after: float | None = None
    """The seconds that the server requests before a retry."""


@define(frozen=True, kw_only=True)
class LogConnection:
    """The inputs for one read of a log.

    Attributes:
        prebuild_id: the prebuild that the log belongs to.
        url: the checked URL of the log.
        token: the log's token.
        deadline: the time on the runtime's clock at which reading must have ended.
        over: whether the prebuild had ended before the connection was opened. The log is then complete when the server
            ends it.
        follow: whether to wait for more lines of an active prebuild.
    """

    prebuild_id: str
    url: str
    token: str
    deadline: float
    over: bool
    follow: bool
    runtime: Runtime

    def read(self, lines: Lines) -> Generator[Effect | Emit[str], Any, End]:
        """Read until the connection ends, and hand out the new lines."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "text/plain",
            "Accept-Encoding": ACCEPT_ENCODING,
            "User-Agent": USER_AGENT,
        }
        try:
            stream = yield Open(url=self.url, headers=headers, timeout=self._limit(_MAX_SILENCE))
        except ExchangeError as error:
            return End(self._broken(error), lasting=error.lasting)
        if not stream.response.is_success:
            excerpt = yield from self._excerpt(stream)
            yield Close(stream)
            return self._refused(stream.response, excerpt)
        return (yield from self._read_lines(stream, lines))

    def _read_lines(self, stream: Any, lines: Lines) -> Generator[Effect | Emit[str], Any, End]:
        lines.begin()
        snapshot = not self.over and not self.follow
        silence = _SNAPSHOT_SILENCE if snapshot else _MAX_SILENCE
        begin = self.runtime.clock()
        heard = complete = False
        error: LogError | None = None
        while self.runtime.clock() < self.deadline:
            try:
                chunk = yield Read(stream, self._limit(silence))
            except ExchangeError as failure:
                complete = failure.timed_out and snapshot
                error = None if failure.timed_out else self._broken(failure)
                break
            if chunk is None:
                complete = self.over or snapshot
                break
            heard = heard or bool(chunk)
            for line in lines.feed(chunk):
                yield Emit(line)
            if snapshot and self.runtime.clock() - begin >= _MAX_SNAPSHOT:
                return End(complete=True)
        yield Close(stream)
        if complete:
            for line in lines.rest():
                yield Emit(line)
        return End(error, complete=complete, opened=True, heard=heard)

    def _limit(self, seconds: float) -> float:
        """A timeout for the next step that is within the deadline."""
        return min(seconds, max(0.001, self.deadline - self.runtime.clock()))

    def _refused(self, response: RawResponse, excerpt: str) -> End:
        """The meaning of a response without a log."""
        status = response.status_code
        said = f"HTTP {status} {response.reason_phrase}: {excerpt or 'empty body'}"
        if 300 <= status < 400 and "location" in response.headers:
            target = readable(response.headers["location"].partition("?")[0])
            said += f" [It redirects to {target}. The token is not sent there.]"
        error = self._error(f"cannot be read: {said}", status)
        if status in (401, 403):
            return End(error, token_refused=True)
        if status in (408, 429) or status >= 500:
            delay = retry_after_of(response.headers, (), self.runtime.now)
            return End(error, retry_after=delay, early=status == 502)
        return End(error, lasting=True)

    def _broken(self, cause: Exception) -> LogError:
        error = self._error(f"broke off: {str(cause) or type(cause).__name__}")
        error.__cause__ = cause
        return error

    def _error(self, said: str, status: int | None = None) -> LogError:
        text = f"the log of prebuild {self.prebuild_id} {said}".replace(self.token, "[token]")
        return LogError(text, prebuild_id=self.prebuild_id, status=status)

    def _excerpt(self, stream: Any) -> Steps[str]:
        """The first words of an error response."""
        content = b""
        try:
            while len(content) < _MAX_EXCERPT_BYTES and self.runtime.clock() < self.deadline:
                chunk = yield Read(stream, self._limit(_MAX_SILENCE))
                if chunk is None:
                    break
                content += chunk
        except ExchangeError:
            pass  # the status alone suffices
        # The token is replaced before the text is cut, so that no part of it remains.
        text = content[:_MAX_EXCERPT_BYTES].decode(errors="replace").replace(self.token, "[token]")
        return readable(" ".join(text.split())[:_EXCERPT])


def checked_url(text: str, prebuild_id: str, base_url: str) -> str:
    """The URL of a log, if a token may be sent there.

    Args:
        text: the URL that the service returned.
        prebuild_id: the prebuild, for the error.
        base_url: the URL of the service.

    Raises:
        LogError: the URL is invalid, has credentials, or is less safe than the service's.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable or not text.isprintable() or not text.isascii() or " " in text:
        wrong = "is not a valid URL"
    elif parts.username is not None:
        wrong = "has credentials"
    elif parts.scheme == "http" and base_url.startswith("https:"):
        wrong = "is not encrypted, though the service itself is"
    else:
        return text
    address = text.partition("?")[0][:500]
    raise LogError(
        f"the log of prebuild {prebuild_id} cannot be read: its address {address!r} {wrong}", prebuild_id=prebuild_id
    )

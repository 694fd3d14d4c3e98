"""One call of the service: the request, its repetitions, and what the answer means."""

from __future__ import annotations

import math
import re
import ssl
from typing import Any, NoReturn, TypeVar

import httpx
from attrs import define, field

from prebuild_api.errors import connect_error, status_error
from prebuild_api.models import ConnectCode
from prebuild_api.operations import Attempt, CallOptions, Operation
from prebuild_api.types import DecodeError, Model, decode_json, encode_json
from prebuilds.debugging import log_attempt
from prebuilds.details import decode_details
from prebuilds.effects import Send, Sleep, Steps, Tell, World
from prebuilds.errors import (
    APIError,
    CallError,
    ConnectionFailedError,
    RequestTimeoutError,
    ResponseError,
    UnauthenticatedError,
    error_class,
    request_id,
)
from prebuilds.retries import RetryBudget, judge_answer, pause_before, retry_hint
from prebuilds.settings import (
    Settings,
    checked_callback,
    checked_headers,
    checked_retries,
    checked_timeout,
    merged_headers,
)
from prebuilds.version import __version__

RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)

USER_AGENT = f"prebuilds-python/{__version__}"

_LONGEST_DEADLINE = 9_999_999.999
"""In seconds, 115 days: `Connect-Timeout-Ms` has ten digits at most, and clocks have their limits."""

_LONGEST_TEXT = 2000
"""How many characters of what a server said stand in the text of an error."""

_SHORTEST_SECRET = 12

# The failures that come before the request has been sent: no address, nobody listening, a TLS
# handshake or a proxy that refuses, no free connection in the pool.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)

# The failures that lie in the request or in how the client is set up, so that repeating is no use.
_LASTING = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


@define(frozen=True, kw_only=True)
class Caller:
    """Makes calls with the settings of a client. It may be shared by threads."""

    settings: Settings
    world: World
    budget: RetryBudget = field(factory=RetryBudget)

    def call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> Steps[ResponseT]:
        """Call the service, again if need be and safe, until the deadline of the call.

        Raises:
            CallError: the call failed for good.
            TokenError: the callable that gives the token failed.
            TypeError: an option is of the wrong kind.
            ValueError: an option has a value that cannot be right.
        """
        timeout = checked_timeout(options.get("timeout", self.settings.timeout))
        retries = checked_retries(options.get("retries", self.settings.retries))
        on_attempt = checked_callback(options.get("on_attempt", self.settings.on_attempt))
        content = encode_json({**request.to_dict(), **options.get("extra_body", {})})
        headers = merged_headers(
            {"User-Agent": USER_AGENT},
            self.settings.headers,
            checked_headers(options.get("headers")),
            {"Content-Type": "application/json", "Connect-Protocol-Version": "1"},
        )
        clock = self.world.clock
        endless = timeout is None or math.isinf(timeout)
        deadline = math.inf if endless else clock() + min(timeout or 0.0, _LONGEST_DEADLINE)
        maybe_executed = asked_for_token = False
        attempt = 0
        while True:
            attempt += 1
            begin = clock()
            response: httpx.Response | None = None
            result: ResponseT | None = None
            error: CallError | None = None
            try:
                answer: httpx.Response = yield _send(
                    operation, headers, content, deadline - begin, last=attempt > retries
                )
                response = answer
                result = self._read(operation, answer)
            except httpx.RequestError as cause:
                error = self._no_answer(operation, cause)
            except CallError as failed:
                error = failed
            duration = clock() - begin
            pause: float | None = None
            if error is not None:
                # An earlier attempt may have done what the last one surely did not.
                maybe_executed = error.maybe_executed = maybe_executed or error.maybe_executed
                if isinstance(error, UnauthenticatedError) and callable(self.settings.token) and not asked_for_token:
                    # The token may have run out on its way; it is asked for anew.
                    asked_for_token, pause = True, 0.0
                elif error.retryable:
                    hint = error.retry_after if isinstance(error, APIError) else None
                    pause = pause_before(attempt, hint, deadline - clock(), self.world.uniform)
                pause = self._allowed(error, pause, attempt <= retries, deadline - clock())
            done = Attempt(
                operation=f"prebuilds.{operation.client_method}",
                number=attempt,
                duration=duration,
                response=response,
                request_id=None if response is None else request_id(response.headers),
                error=error,
                retry_in=pause,
            )
            log_attempt(done)
            if on_attempt is not None:
                yield Tell(on_attempt, done)
            if result is not None:
                self.budget.succeeded(attempt - 1)
                return result
            if error is not None and pause is None:
                raise error
            yield Sleep(pause or 0.0)
            if error is not None and clock() >= deadline:
                raise error

    def _allowed(self, error: CallError, pause: float | None, more: bool, remaining: float) -> float | None:
        """`pause`, or None if there are no more attempts, no time for one, or too many failures of late."""
        if pause is None or not more or pause >= remaining:
            return None
        if self.budget.take():
            return pause
        error.add_note("The call was not repeated: almost everything has failed of late.")
        return None

    def _read(self, operation: Operation[Any, ResponseT], response: httpx.Response) -> ResponseT:
        if not response.is_success:
            self._error_answer(operation, response)
        try:
            return decode_json(operation.decode, response.content)
        except DecodeError as cause:
            kind = response.headers.get("content-type", "no content type")
            raise ResponseError(
                self._words(
                    operation,
                    f"the answer (HTTP {response.status_code}, {kind}) is not what was promised",
                    str(cause),
                    maybe_executed=True,
                    request=response.request,
                ),
                operation=operation.client_method,
                status=response.status_code,
                # A document that is no object at all was cut short, or comes from a proxy.
                retryable=not cause.path and operation.idempotency != "unsafe",
                maybe_executed=True,
            ) from cause

    def _error_answer(self, operation: Operation[Any, Any], response: httpx.Response) -> NoReturn:
        found = connect_error(response)
        answer = found or status_error(response)
        status, code, from_service = response.status_code, answer.code, found is not None
        details = decode_details(answer.details)
        hint = retry_hint(response.headers, details, self.world.now)
        verdict = judge_answer(status, code, from_service=from_service, hint=hint)
        message = self._redacted(answer.message or "", response.request)
        error = error_class(code)(
            "",
            operation=operation.client_method,
            code=code,
            status=status,
            message=message,
            details=details,
            retry_after=hint,
            headers=response.headers,
            retryable=verdict.allows_retry(operation.idempotency),
            maybe_executed=verdict.maybe_executed,
        )
        said = message or "the server gave no reason"
        new = [text for text in map(str, error.violations) if text not in said]
        error.args = (
            self._words(
                operation,
                f"{code} (HTTP {status})",
                f"{said} ({'; '.join(new)})" if new else said,
                self._advice(operation, response, code, from_service=from_service, hint=hint),
                maybe_executed=verdict.maybe_executed,
                request=response.request,
            ),
        )
        raise error

    def _no_answer(self, operation: Operation[Any, Any], cause: httpx.RequestError) -> CallError:
        """The error for an exchange that broke off."""
        maybe_executed = not isinstance(cause, _NOT_SENT)
        timed_out = isinstance(cause, httpx.TimeoutException)
        kind = RequestTimeoutError if timed_out else ConnectionFailedError
        said = str(cause) or type(cause).__name__
        distrust = _distrust(cause)
        lasting = isinstance(cause, _LASTING) or _refused_by_proxy(cause) or bool(distrust)
        error = kind(
            self._words(
                operation,
                "no answer in time" if timed_out else "no answer",
                f"{said}, from {self.settings.base_url}",
                distrust or _proxy_advice(cause),
                maybe_executed=maybe_executed,
                # The exception need not know the request; then there was none to carry a token.
                request=getattr(cause, "_request", None),
            ),
            operation=operation.client_method,
            retryable=not lasting and (operation.idempotency != "unsafe" or not maybe_executed),
            maybe_executed=maybe_executed,
        )
        error.__cause__ = cause
        return error

    def _advice(
        self,
        operation: Operation[Any, Any],
        response: httpx.Response,
        code: ConnectCode,
        *,
        from_service: bool,
        hint: float | None,
    ) -> str:
        """What a person can do about an error answer; empty where that is not known."""
        if response.has_redirect_location:
            location = response.headers["location"].partition("?")[0]
            return (
                f"The service redirects to {location}, where the token must not follow. "
                f"Is {self.settings.base_url} the right base URL?"
            )
        if response.status_code == 407:
            return "A proxy on the way wants to know who you are: look at HTTPS_PROXY, or at the proxy of http_client."
        if code is ConnectCode.UNAUTHENTICATED:
            return f"The token came from {self.settings.token_source}; is it still valid?"
        if code is ConnectCode.PERMISSION_DENIED and operation.idempotency != "no_side_effects":
            return f"Is the token from {self.settings.token_source} a read-only one?"
        if code is ConnectCode.UNIMPLEMENTED and not from_service:
            return f"Is {self.settings.base_url} the right base URL?"
        if code is ConnectCode.RESOURCE_EXHAUSTED and hint is None:
            return "The server does not say when to come back: a quota is used up, not a rate."
        return ""

    def _words(
        self,
        operation: Operation[Any, Any],
        what: str,
        said: str,
        advice: str = "",
        *,
        maybe_executed: bool,
        request: httpx.Request | None,
    ) -> str:
        if len(said) > _LONGEST_TEXT:
            said = f"{said[:_LONGEST_TEXT]}..."
        text = f"prebuilds.{operation.client_method} failed: {what}: {said}"
        if advice:
            text += f" [{advice}]"
        if maybe_executed and operation.idempotency == "unsafe":
            text += " [The call may have taken effect: look before you repeat it.]"
        return readable(self._redacted(text, request))

    def _redacted(self, text: str, request: httpx.Request | None) -> str:
        """`text` without the token, which a server or a library might have repeated."""
        carried = "" if request is None else request.headers.get("authorization", "")
        for token in (carried.partition(" ")[2], self.settings.token):
            # What is shorter is no secret, and would be found in ordinary words.
            if isinstance(token, str) and len(token) >= _SHORTEST_SECRET:
                text = text.replace(token, "[token]")
        return text


def readable(text: str) -> str:
    """`text` with a mark for each character that would command a terminal, or cannot be written anywhere."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


_COMMANDS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def check_options(resource: type, operation: Operation[Any, Any], options: CallOptions) -> None:
    """Refuse keywords that neither the method nor `CallOptions` has.

    Raises:
        TypeError: there is one; the closest name that is valid is suggested.
    """
    known = CallOptions.__optional_keys__
    for name in options:
        if name not in known:
            import inspect
            from difflib import get_close_matches

            method = getattr(resource, operation.client_method)
            valid = [*inspect.signature(method).parameters, *sorted(known)]
            close = get_close_matches(name, [each for each in valid if each != "options"], 1, 0.5)
            raise TypeError(
                f"prebuilds.{operation.client_method}() got an unexpected keyword argument {name!r}"
                + (f". Did you mean {close[0]!r}?" if close else "")
            )


def _send(
    operation: Operation[Any, Any], headers: dict[str, str], content: bytes, remaining: float, *, last: bool
) -> Send:
    """One attempt of a call that has `remaining` seconds; infinity is for ever."""
    if math.isfinite(remaining):
        # Rounded, for the sum of a clock and a limit is a little more than it should be.
        milliseconds = max(1, math.ceil(round(remaining * 1000, 3)))
        headers = merged_headers(headers, {"Connect-Timeout-Ms": str(milliseconds)})
        if not last and operation.idempotency != "unsafe":
            # A server that hangs must not use up the time in which another attempt may succeed.
            remaining /= 2
    return Send(path=operation.path, headers=headers, content=content, timeout=remaining)


def _distrust(cause: BaseException | None) -> str:
    """What to do if a TLS handshake failed for good; empty if that is not why."""
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                "The server's certificate is not trusted here. If it should be, pass "
                "http_client=httpx.Client(verify=ssl.create_default_context(cafile=...))."
            )
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            return "The server does not speak TLS there: should the base URL start with http://?"
        cause = cause.__cause__ or cause.__context__
    return ""


def _refused_by_proxy(cause: BaseException) -> bool:
    """Whether a proxy refuses to connect, and for good as far as it says."""
    # The message of the exception begins with the status that the proxy answered.
    return isinstance(cause, httpx.ProxyError) and not str(cause).startswith(("502", "503", "504"))


def _proxy_advice(cause: BaseException) -> str:
    if isinstance(cause, httpx.ProxyError):
        return "It is a proxy on the way that refuses: look at HTTPS_PROXY, or at the proxy of http_client."
    return ""

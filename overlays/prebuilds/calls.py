"""One call of the service: the request, its repetitions, and what the answer means."""

from __future__ import annotations

import math
from typing import Any, NoReturn, TypeVar

import httpx
from attrs import define

from prebuild_api.errors import read_error
from prebuild_api.models import ConnectCode
from prebuild_api.operations import CallOptions, Operation
from prebuild_api.types import DecodeError, Model, decode_json, encode_json
from prebuilds.effects import Send, Sleep, Steps, World
from prebuilds.errors import (
    APIError,
    CallError,
    ConnectionFailedError,
    RequestTimeoutError,
    ResponseError,
    error_class,
)
from prebuilds.retries import judge_answer, pause_before, retry_hint
from prebuilds.settings import Settings, checked_retries, checked_timeout
from prebuilds.version import __version__

RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)

USER_AGENT = f"prebuilds-python/{__version__}"

_CONNECT_TIMEOUT = 10.0
"""The most seconds for one attempt to connect: a host that drops packets must not use up the
deadline of a call that another attempt might save."""

_LONGEST_DEADLINE = 9_999_999_999
"""In milliseconds: `Connect-Timeout-Ms` has ten digits at most."""

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
_LASTING = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProxyError)


@define(frozen=True, kw_only=True)
class Caller:
    """Makes calls with the settings of a client. It has no state, and may be shared by threads."""

    settings: Settings
    world: World

    def call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> Steps[ResponseT]:
        """Call the service, again if need be and safe, until the deadline of the call.

        Raises:
            CallError: the call failed for good.
            ValueError: an option has a value that cannot be right.
        """
        timeout = checked_timeout(options.get("timeout", self.settings.timeout))
        retries = checked_retries(options.get("retries", self.settings.retries))
        content = encode_json({**request.to_dict(), **options.get("extra_body", {})})
        headers = {
            "User-Agent": USER_AGENT,
            **self.settings.headers,
            **options.get("headers", {}),
            "Content-Type": "application/json",
            "Connect-Protocol-Version": "1",
        }
        clock = self.world.clock
        deadline = math.inf if timeout is None else clock() + timeout
        maybe_executed = False
        attempt = 0
        while True:
            attempt += 1
            try:
                response = yield _send(operation, headers, content, deadline - clock())
                return self._read(operation, response)
            except httpx.RequestError as cause:
                error = self._no_answer(operation, cause)
            except CallError as failed:
                error = failed
            # An earlier attempt may have done what the last one surely did not.
            maybe_executed = error.maybe_executed = maybe_executed or error.maybe_executed
            if not error.retryable or attempt > retries:
                raise error
            hint = error.retry_after if isinstance(error, APIError) else None
            pause = pause_before(attempt, hint, self.world.uniform)
            if clock() + pause >= deadline:
                raise error
            yield Sleep(pause)
            if clock() >= deadline:
                raise error

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
                ),
                operation=operation.client_method,
                status=response.status_code,
                # A document that is no object at all was cut short, or comes from a proxy.
                retryable=not cause.path and operation.idempotency != "unsafe",
                maybe_executed=True,
            ) from cause

    def _error_answer(self, operation: Operation[Any, Any], response: httpx.Response) -> NoReturn:
        answer = read_error(response)
        status, code = response.status_code, answer.code
        from_service = _is_connect_error(response)
        hint = retry_hint(response.headers, answer.details, self.world.now)
        verdict = judge_answer(status, code, from_service=from_service, hint=hint)
        raise error_class(code)(
            self._words(
                operation,
                f"{code} (HTTP {status})",
                answer.message or "the server gave no reason",
                self._advice(operation, response, code, from_service=from_service, hint=hint),
                maybe_executed=verdict.maybe_executed,
            ),
            operation=operation.client_method,
            code=code,
            status=status,
            message=self._redacted(answer.message or ""),
            details=answer.details,
            retry_after=hint,
            retryable=verdict.allows_retry(operation.idempotency),
            maybe_executed=verdict.maybe_executed,
        )

    def _no_answer(self, operation: Operation[Any, Any], cause: httpx.RequestError) -> CallError:
        """The error for an exchange that broke off."""
        maybe_executed = not isinstance(cause, _NOT_SENT)
        # What cannot be decompressed was damaged on the way, as a broken connection does.
        timed_out = isinstance(cause, httpx.TimeoutException)
        kind = RequestTimeoutError if timed_out else ConnectionFailedError
        said = str(cause) or type(cause).__name__
        error = kind(
            self._words(
                operation,
                "no answer in time" if timed_out else "no answer",
                f"{said}, from {self.settings.base_url}",
                maybe_executed=maybe_executed,
            ),
            operation=operation.client_method,
            retryable=not isinstance(cause, _LASTING) and (operation.idempotency != "unsafe" or not maybe_executed),
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
    ) -> str:
        text = f"prebuilds.{operation.client_method} failed: {what}: {said}"
        if advice:
            text += f" [{advice}]"
        if maybe_executed and operation.idempotency == "unsafe":
            text += " [The call may have taken effect: look before you repeat it.]"
        return self._redacted(text)

    def _redacted(self, text: str) -> str:
        """`text` without the token, which a server or a library might have repeated."""
        token = self.settings.token
        # What is shorter is no secret, and would be found in ordinary words.
        return text.replace(token, "[token]") if len(token) >= _SHORTEST_SECRET else text


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


def _send(operation: Operation[Any, Any], headers: dict[str, str], content: bytes, remaining: float) -> Send:
    """One attempt that has `remaining` seconds; infinity is for ever."""
    if math.isinf(remaining):
        timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT)
    else:
        timeout = httpx.Timeout(remaining, connect=min(remaining, _CONNECT_TIMEOUT))
        milliseconds = min(math.ceil(remaining * 1000), _LONGEST_DEADLINE)
        headers = {**headers, "Connect-Timeout-Ms": str(milliseconds)}
    return Send(path=operation.path, headers=headers, content=content, timeout=timeout)


def _is_connect_error(response: httpx.Response) -> bool:
    """Whether the body is an error of the Connect protocol, and not the page of a proxy."""
    try:
        code = response.json()["code"]
    except (ValueError, TypeError, LookupError):
        return False
    return isinstance(code, str)

"""One call of the service: its attempts and its retries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from attrs import define, field

from prebuild_api.http import RawResponse
from prebuild_api.operations import Attempt, CallOptions, Operation
from prebuild_api.types import DecodeError, Model, decode_json, encode_json
from prebuilds import observers
from prebuilds.call_errors import CallErrors
from prebuilds.credentials import bearer_token
from prebuilds.engines.exchange import ExchangeError
from prebuilds.errors import APIError, CallError, UnauthenticatedError, request_id
from prebuilds.flows.effects import Callback, Runtime, Send, Sleep, Steps
from prebuilds.logging import is_logged, log_attempt
from prebuilds.observers import CallObserver
from prebuilds.options import (
    FIXED_HEADERS,
    Options,
    checked_callback,
    checked_headers,
    checked_retries,
    checked_seconds,
    merged_headers,
)
from prebuilds.redaction import redacted_response
from prebuilds.retries import RetryBudget, backoff_delay

RequestT = TypeVar("RequestT", bound=Model)
ResponseT = TypeVar("ResponseT", bound=Model)

_MAX_DEADLINE = 9_999_999.999
"""Seconds, 115 days: `Connect-Timeout-Ms` has ten digits at most, and clocks have their limits."""


@define(kw_only=True)
class _Call(Generic[ResponseT]):
    """A call and its state so far."""

    operation: Operation[Any, ResponseT]
    url: str
    content: bytes
    headers: Mapping[str, str]
    retries: int
    on_attempt: Callable[[Attempt], object] | None
    deadline: float
    number: int = 0
    """The number of the current attempt."""
    maybe_executed: bool = False
    """True if the server may have executed one of the attempts."""
    has_renewed_token: bool = False
    observer: CallObserver | None = None


@define(kw_only=True)
class _Outcome(Generic[ResponseT]):
    """The outcome of an attempt: a result or an error."""

    duration: float
    response: RawResponse | None = None
    result: ResponseT | None = None
    error: CallError | None = None


@define(frozen=True, kw_only=True)
class CallExecutor:
    """Makes calls with the options of a client. It may be shared by threads."""

    options: Options
    runtime: Runtime
    budget: RetryBudget = field(factory=RetryBudget)

    def call(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> Steps[ResponseT]:
        """Call the service. If the call fails and can be repeated safely, repeat it until its deadline.

        Raises:
            CallError: the call failed for good.
            TokenError: the function that gives the token failed.
            TypeError: an option has the wrong type.
            ValueError: an option has an invalid value.
        """
        call = self._prepared(operation, request, options)
        observer = observers.current()
        if observer is None:
            return (yield from self._attempts(call))
        call.observer = observed = observer.call(operation, self.options.base_url)
        try:
            result = yield from self._attempts(call)
        except BaseException as error:
            observed.end(error)
            raise
        observed.end(None)
        return result

    def _attempts(self, call: _Call[ResponseT]) -> Steps[ResponseT]:
        while True:
            call.number += 1
            outcome: _Outcome[ResponseT] = yield from self._attempt(call)
            retry_in = self._retry_in(call, outcome.error) if outcome.error is not None else None
            yield from self._report(call, outcome, retry_in)
            if outcome.error is None:
                self.budget.succeeded(call.number - 1)
                return outcome.result  # type: ignore[return-value]  # there is one where there is no error
            if retry_in is None:
                raise outcome.error
            yield Sleep(retry_in)
            if self.runtime.clock() >= call.deadline:
                raise outcome.error

    def _prepared(
        self, operation: Operation[RequestT, ResponseT], request: RequestT, options: CallOptions
    ) -> _Call[ResponseT]:
        mine = self.options
        timeout, retries, on_attempt, headers = mine.timeout, mine.retries, mine.on_attempt, mine.headers
        body = request.to_dict()
        if options:
            timeout = checked_seconds("timeout", options.get("timeout", timeout))
            retries = checked_retries(options.get("retries", retries))
            on_attempt = checked_callback(options.get("on_attempt", on_attempt))
            body.update(options.get("extra_body", {}))
            headers = merged_headers(headers, checked_headers(options.get("headers")), FIXED_HEADERS)
        seconds = math.inf if timeout is None else timeout
        if seconds < math.inf:
            seconds = min(seconds, _MAX_DEADLINE)
        return _Call(
            operation=operation,
            url=f"{mine.base_url}{operation.path}",
            content=encode_json(body),
            headers=headers,
            retries=retries,
            on_attempt=on_attempt,
            deadline=self.runtime.clock() + seconds,
        )

    def _attempt(self, call: _Call[ResponseT]) -> Steps[_Outcome[ResponseT]]:
        """Send the request once."""
        token = yield from bearer_token(self.options.token)
        errors = CallErrors(self.options, call.operation, token, self.runtime.now)
        begin = self.runtime.clock()
        outcome: _Outcome[ResponseT] = _Outcome(duration=0.0)
        try:
            response = yield self._request(call, token, call.deadline - begin)
            outcome.response = redacted_response(response, token)
            outcome.result = self._result(call, outcome.response, errors)
        except ExchangeError as cause:
            outcome.error = errors.without_response(cause)
        except CallError as error:
            outcome.error = error
        outcome.duration = self.runtime.clock() - begin
        if outcome.error is not None:
            # An earlier attempt may have executed the call, even if the last attempt certainly did not.
            call.maybe_executed = outcome.error.maybe_executed = call.maybe_executed or outcome.error.maybe_executed
        return outcome

    def _request(self, call: _Call[Any], token: str, remaining: float) -> Send:
        headers = {**call.headers, "Authorization": f"Bearer {token}"}
        if math.isfinite(remaining):
            # Rounded, for the sum of a clock and a limit is a little more than it should be.
            headers["Connect-Timeout-Ms"] = str(max(1, math.ceil(round(remaining * 1000, 3))))
            if call.number <= call.retries and call.operation.idempotency != "unsafe":
                # A server that hangs must not use up the time in which a retry may succeed.
                remaining /= 2
        return Send(
            url=call.url,
            headers=headers,
            content=call.content,
            timeout=remaining,
            max_bytes=self.options.max_response_bytes,
        )

    def _result(self, call: _Call[ResponseT], response: RawResponse, errors: CallErrors) -> ResponseT:
        if not response.is_success:
            raise errors.from_response(response)
        try:
            return decode_json(call.operation.decode, response.content)
        except DecodeError as cause:
            raise errors.not_as_promised(response, cause) from cause

    def _retry_in(self, call: _Call[Any], error: CallError) -> float | None:
        """The seconds until the next attempt, or None if the call is not repeated."""
        remaining = call.deadline - self.runtime.clock()
        delay: float | None = None
        if isinstance(error, UnauthenticatedError) and callable(self.options.token) and not call.has_renewed_token:
            # The token may have expired on its way. The next attempt requests a new token.
            call.has_renewed_token, delay = True, 0.0
        elif error.retryable:
            retry_after = error.retry_after if isinstance(error, APIError) else None
            delay = backoff_delay(call.number, retry_after, remaining, self.runtime.uniform)
        if delay is None or call.number > call.retries or delay >= remaining:
            return None
        if self.budget.take():
            return delay
        error.add_note("The call was not retried: almost all recent calls have failed.")
        return None

    def _report(self, call: _Call[Any], outcome: _Outcome[Any], retry_in: float | None) -> Steps[None]:
        """Log the attempt, and invoke the user's callback."""
        if call.on_attempt is None and call.observer is None and not is_logged(outcome.error):
            return
        attempt = Attempt(
            operation=f"prebuilds.{call.operation.client_method}",
            number=call.number,
            duration=outcome.duration,
            response=outcome.response,
            request_id=None if outcome.response is None else request_id(outcome.response.headers),
            error=outcome.error,
            retry_in=retry_in,
        )
        log_attempt(attempt)
        if call.observer is not None:
            call.observer.attempt(attempt)
        if call.on_attempt is not None:
            yield Callback(call.on_attempt, (attempt,))


def check_options(resource: type, operation: Operation[Any, Any], options: CallOptions) -> None:
    """Reject keywords that neither the method nor `CallOptions` has.

    Raises:
        TypeError: there is one. The closest valid name is suggested.
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

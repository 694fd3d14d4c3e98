"""The errors of a call, with messages that name the problem and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve

from prebuild_api.errors import connect_error, status_error
from prebuild_api.http import RawResponse
from prebuild_api.models import ConnectCode
from prebuild_api.operations import Operation
from prebuild_api.types import DecodeError
from prebuilds.engines.exchange import ExchangeError, TooLargeError
from prebuilds.error_details import decode_details
from prebuilds.errors import (
    APIError,
    CallError,
    ConnectionFailedError,
    RequestTimeoutError,
    ResponseError,
    error_class,
)
from prebuilds.options import Options
from prebuilds.redaction import readable, redacted, redacted_base64
from prebuilds.retries import assess_response, retry_after_of

_MAX_TEXT = 2000
"""The number of characters of a server's text in the text of an error."""


@define(frozen=True)
class CallErrors:
    """Makes the errors of one attempt.

    Attributes:
        options: the options of the client.
        operation: the operation of the call.
        token: the token that the request carried, which no error shows.
        now: the time in seconds since 1970.
    """

    options: Options
    operation: Operation[Any, Any]
    token: str
    now: Callable[[], float]

    def from_response(self, response: RawResponse) -> APIError:
        """The error that an error response stands for."""
        found = connect_error(response)
        answer = found or status_error(response)
        status, code = response.status_code, answer.code
        hidden = [evolve(detail, value=redacted_base64(detail.value or "", self.token)) for detail in answer.details]
        details = decode_details(hidden)
        retry_after = retry_after_of(response.headers, details, self.now)
        assessment = assess_response(status, code, from_service=found is not None, retry_after=retry_after)
        message = redacted(answer.message or "", self.token)
        error = error_class(code)(
            "",
            operation=self.operation.client_method,
            code=code,
            status=status,
            message=message,
            details=details,
            retry_after=retry_after,
            headers=response.headers,
            retryable=assessment.allows_retry(self.operation.idempotency),
            maybe_executed=assessment.maybe_executed,
        )
        said = message or "the server gave no reason"
        new = [text for text in map(str, error.violations) if text not in said]
        error.args = (
            self._text(
                f"{code} (HTTP {status})",
                f"{said} ({'; '.join(new)})" if new else said,
                self._advice(response, code, from_service=found is not None, retry_after=retry_after),
                maybe_executed=assessment.maybe_executed,
            ),
        )
        return error

    def not_as_promised(self, response: RawResponse, cause: DecodeError) -> ResponseError:
        """The error for a successful response that is not the message that the schema promises."""
        kind = response.headers.get("content-type", "no content type")
        text = self._text(
            f"the response (HTTP {response.status_code}, {kind}) is not what the schema promises",
            str(cause),
            maybe_executed=True,
        )
        # A document that is not an object at all was cut off, or comes from a proxy.
        retryable = not cause.path and self.operation.idempotency != "unsafe"
        return self._response_error(text, response.status_code, retryable=retryable)

    def without_response(self, cause: ExchangeError) -> CallError:
        """The error for an exchange that ended without a complete response."""
        if isinstance(cause, TooLargeError):
            text = self._text("the response is too large", str(cause), maybe_executed=True)
            error: CallError = self._response_error(text, cause.status or 200, retryable=False)
        else:
            kind = RequestTimeoutError if cause.timed_out else ConnectionFailedError
            what = "no response in time" if cause.timed_out else "no response"
            said = " ".join(str(cause).split())  # some parsers show the bytes on a separate line
            text = self._text(
                what, f"{said}, from {self.options.base_url}", cause.advice, maybe_executed=cause.maybe_executed
            )
            repeatable = self.operation.idempotency != "unsafe" or not cause.maybe_executed
            error = kind(
                text,
                operation=self.operation.client_method,
                retryable=repeatable and not cause.lasting,
                maybe_executed=cause.maybe_executed,
            )
        error.__cause__ = self._shown(cause.__cause__ or cause)
        return error

    def _response_error(self, text: str, status: int, *, retryable: bool) -> ResponseError:
        return ResponseError(
            text, operation=self.operation.client_method, status=status, retryable=retryable, maybe_executed=True
        )

    def _shown(self, cause: BaseException) -> BaseException | None:
        """`cause`, unless it repeats the token. A traceback would show it with all that led to it."""
        link: BaseException | None = cause
        while link is not None:
            said = f"{link} {link.args!r}"
            if said != redacted(said, self.token):
                return None
            link = link.__cause__ or link.__context__
        return cause

    def _advice(
        self, response: RawResponse, code: ConnectCode, *, from_service: bool, retry_after: float | None
    ) -> str:
        """The advice to the user about an error response; empty if there is no known advice."""
        base_url, source = self.options.base_url, self.options.token_source
        location = response.headers.get("location", "").partition("?")[0]
        if 300 <= response.status_code < 400 and location:
            return (
                f"The service redirects to {location}, where the token must not follow. "
                f"Is {base_url} the right base URL?"
            )
        if response.status_code == 407:
            return "A proxy asks for credentials: check HTTPS_PROXY, or the proxy of http_client."
        if code is ConnectCode.UNAUTHENTICATED:
            return f"The token came from {source}. Is it still valid?"
        if code is ConnectCode.PERMISSION_DENIED and self.operation.idempotency != "no_side_effects":
            return f"Is the token from {source} read-only?"
        if code is ConnectCode.UNIMPLEMENTED and not from_service:
            return f"Is {base_url} the right base URL?"
        if code is ConnectCode.RESOURCE_EXHAUSTED and retry_after is None:
            return "The server does not say when to retry: a quota is used up, not a rate limit."
        return ""

    def _text(self, what: str, said: str, advice: str = "", *, maybe_executed: bool) -> str:
        if len(said) > _MAX_TEXT:
            said = f"{said[:_MAX_TEXT]}..."
        text = f"prebuilds.{self.operation.client_method} failed: {what}: {said}"
        if advice:
            text += f" [{advice}]"
        if maybe_executed and self.operation.idempotency == "unsafe":
            text += " [The call may have taken effect: check before you repeat it.]"
        return readable(redacted(text, self.token, self.options.token))

"""The errors that this package raises. Each is a `PrebuildsError`.

    PrebuildsError
        ConfigurationError          the token is missing, or a setting is invalid
            TokenError              the callable that supplies the token failed
        ClientClosedError           a call after `close()`
        CallError                   a call failed; shows if it may have run, and if it may be repeated
            APIError                the service (or a proxy) returned an error: one class per code
            ConnectionFailedError   no response arrived
                RequestTimeoutError     in time
            ResponseError           the response does not match the schema
        PaginationError             a page token repeats
        LogError                    the log of a prebuild cannot be read
        WaitError                   the awaited state was not reached
            PrebuildFailedError, PrebuildCancelledError, PrebuildDeletedError, WarmPoolDeletedError
            StalledError            because nothing changes any more
            WaitTimeoutError        in time
        WaitManyError               some of the awaited prebuilds did not complete

A wrong argument is a `TypeError` or `ValueError`, as everywhere in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prebuild_api.models import ConnectCode
from prebuilds.error_details import BadRequest, FieldViolation, RetryInfo, Violations

if TYPE_CHECKING:
    from prebuild_api.models import ConnectErrorDetail, Prebuild, WarmPool


class PrebuildsError(Exception):
    """The root of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


class ConfigurationError(PrebuildsError):
    """The client cannot be set up: the token is missing, for example, or the base URL is invalid."""


class TokenError(ConfigurationError):
    """The callable that supplies the token failed, or returned an invalid token. Nothing was sent.

    The exception of the callable is the `__cause__`.
    """


class ClientClosedError(PrebuildsError):
    """A call was made after the client had been closed."""


class CallError(PrebuildsError):
    """A call of the service failed.

    Attributes:
        operation: the method of `client.prebuilds` that failed, `create` for example.
        retryable: whether the same call may succeed later and can be repeated without acting twice.
            The client has then done so already, as often as `retries` and the deadline allowed.
        maybe_executed: True if the service may have executed the call despite the error. False means that it certainly
            did not.
    """

    def __init__(
        self,
        text: str,
        *,
        operation: str,
        retryable: bool = False,
        maybe_executed: bool = True,
    ) -> None:
        super().__init__(text)
        self.operation = operation
        self.retryable = retryable
        self.maybe_executed = maybe_executed


class APIError(CallError):
    """The service returned an error; there is a subclass for each Connect code.

    This class itself represents an unknown code.

    Attributes:
        code: The kind of failure. A response that is not a Connect error (the page of a proxy, for instance) has the
            code that the Connect protocol assigns to its HTTP status.
        status: the HTTP status.
        message: The server's message, without the text that this package adds in `str(error)`.
        details: further facts. A `RetryInfo`, `BadRequest` or `Violations` is decoded, any other is a
            `ConnectErrorDetail` as the server sent it.
        retry_after: The seconds that the server requests before a retry, or None.
        headers: the headers of the response, in lower case.
    """

    def __init__(
        self,
        text: str,
        *,
        operation: str,
        code: ConnectCode,
        status: int,
        message: str = "",
        details: Sequence[RetryInfo | BadRequest | Violations | ConnectErrorDetail] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        retryable: bool = False,
        maybe_executed: bool = True,
    ) -> None:
        super().__init__(text, operation=operation, retryable=retryable, maybe_executed=maybe_executed)
        self.code = code
        self.status = status
        self.message = message
        self.details = list(details)
        self.retry_after = retry_after
        self.headers = dict(headers or {})

    @property
    def request_id(self) -> str | None:
        """The server's id for the request, if the response has one: its support needs this id."""
        return request_id(self.headers)

    @property
    def violations(self) -> list[FieldViolation]:
        """The invalid fields of the request, as far as the details name them."""
        found: list[FieldViolation] = []
        for detail in self.details:
            if isinstance(detail, Violations):
                found += detail.violations
            elif isinstance(detail, BadRequest):
                found += detail.field_violations
        return found


class CanceledError(APIError):
    """`canceled`: the server believes that the caller gave up on the call."""


class UnknownError(APIError):
    """`unknown`: the server failed and cannot say how."""


class InvalidArgumentError(APIError):
    """`invalid_argument`: the request is wrong, whatever the state of the service."""


class DeadlineExceededError(APIError):
    """`deadline_exceeded`: the server ran out of time. The call may have taken effect."""


class NotFoundError(APIError):
    """`not_found`: the requested resource does not exist, or the token has no access to it."""


class AlreadyExistsError(APIError):
    """`already_exists`: the resource to create already exists."""


class PermissionDeniedError(APIError):
    """`permission_denied`: the token is valid, but may not do this."""


class ResourceExhaustedError(APIError):
    """`resource_exhausted`: a rate limit, or without a `retry_after` a quota, is used up."""


class FailedPreconditionError(APIError):
    """`failed_precondition`: the state of the service does not allow the call now."""


class AbortedError(APIError):
    """`aborted`: the call lost against a concurrent call."""


class OutOfRangeError(APIError):
    """`out_of_range`: the request exceeds the valid range."""


class UnimplementedError(APIError):
    """`unimplemented`: the server does not have the method; often the base URL is wrong."""


class InternalError(APIError):
    """`internal`: something broke inside the server."""


class UnavailableError(APIError):
    """`unavailable`: the service cannot be reached for the moment."""


class DataLossError(APIError):
    """`data_loss`: data is lost or damaged beyond repair."""


class UnauthenticatedError(APIError):
    """`unauthenticated`: the token is expired or invalid."""


class ConnectionFailedError(CallError):
    """No complete response arrived: the service is unreachable, or the connection broke.

    The exception of the HTTP library is the `__cause__`.
    """


class RequestTimeoutError(ConnectionFailedError):
    """No response arrived in time."""


class ResponseError(CallError):
    """The service returned success, but not the message that the schema requires.

    The `__cause__` is a `prebuild_api.DecodeError`, which names the place where the response differs.

    Attributes:
        status: the HTTP status.
    """

    def __init__(
        self,
        text: str,
        *,
        operation: str,
        status: int,
        retryable: bool = False,
        maybe_executed: bool = True,
    ) -> None:
        super().__init__(text, operation=operation, retryable=retryable, maybe_executed=maybe_executed)
        self.status = status


class PaginationError(PrebuildsError):
    """The service named a page that has been read before, so that the list would never end.

    Attributes:
        token: the token that came twice.
    """

    def __init__(self, text: str, *, token: str) -> None:
        super().__init__(text)
        self.token = token


class LogError(PrebuildsError):
    """The log of a prebuild cannot be read, or not to its end.

    Attributes:
        prebuild_id: the prebuild whose log it is.
        status: The HTTP status of the log server's response; None if the error is not about a response.
    """

    def __init__(self, text: str, *, prebuild_id: str, status: int | None = None) -> None:
        super().__init__(text)
        self.prebuild_id = prebuild_id
        self.status = status


class WaitError(PrebuildsError):
    """The awaited state was not reached.

    Attributes:
        item_id: the id of the prebuild or warm pool that was waited for.
        prebuild: how the prebuild was last seen; None if it never was, or if a pool was waited for.
        warm_pool: how the pool was last seen; None if it never was, or if a prebuild was waited for.
    """

    def __init__(
        self, text: str, *, item_id: str, prebuild: Prebuild | None = None, warm_pool: WarmPool | None = None
    ) -> None:
        super().__init__(text)
        self.item_id = item_id
        self.prebuild = prebuild
        self.warm_pool = warm_pool

    @property
    def failure_message(self) -> str | None:
        """Why it failed, in the service's words; None if it does not say."""
        seen = self.prebuild or self.warm_pool
        return seen.status.failure_message if seen else None

    @property
    def log_url(self) -> str | None:
        """The URL of the prebuild's log (`client.prebuilds.logs` reads it), or None."""
        return self.prebuild.status.log_url if self.prebuild else None


class PrebuildFailedError(WaitError):
    """The prebuild failed; `failure_message` gives the reason."""


class PrebuildCancelledError(WaitError):
    """The prebuild was cancelled."""


class PrebuildDeletedError(WaitError):
    """The prebuild was deleted."""


class WarmPoolDeletedError(WaitError):
    """The warm pool was deleted, or is about to be."""


class StalledError(WaitError):
    """Nothing has changed for so long that no further change is expected."""


class WaitTimeoutError(WaitError):
    """It had not happened yet when the time to wait for it was over.

    If the latest polls failed, the `__cause__` is the last failure.
    """


class WaitManyError(PrebuildsError):
    """Some of the prebuilds that were waited for did not complete.

    Attributes:
        errors: For each of these prebuilds, the error that a wait for it alone would have raised.
        prebuilds: The prebuilds that completed.
    """

    def __init__(self, text: str, *, errors: Sequence[PrebuildsError], prebuilds: Sequence[Prebuild]) -> None:
        super().__init__(text)
        self.errors = list(errors)
        self.prebuilds = list(prebuilds)


_BY_CODE: dict[ConnectCode, type[APIError]] = {
    ConnectCode.CANCELED: CanceledError,
    ConnectCode.UNKNOWN: UnknownError,
    ConnectCode.INVALID_ARGUMENT: InvalidArgumentError,
    ConnectCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    ConnectCode.NOT_FOUND: NotFoundError,
    ConnectCode.ALREADY_EXISTS: AlreadyExistsError,
    ConnectCode.PERMISSION_DENIED: PermissionDeniedError,
    ConnectCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    ConnectCode.FAILED_PRECONDITION: FailedPreconditionError,
    ConnectCode.ABORTED: AbortedError,
    ConnectCode.OUT_OF_RANGE: OutOfRangeError,
    ConnectCode.UNIMPLEMENTED: UnimplementedError,
    ConnectCode.INTERNAL: InternalError,
    ConnectCode.UNAVAILABLE: UnavailableError,
    ConnectCode.DATA_LOSS: DataLossError,
    ConnectCode.UNAUTHENTICATED: UnauthenticatedError,
}


def error_class(code: ConnectCode) -> type[APIError]:
    """The class of an error with `code`; `APIError` itself for a code that is not known."""
    return _BY_CODE.get(code, APIError)


# ASSUMPTION: servers and proxies commonly use one of these headers for the id of a request.
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-trace-id", "cf-ray")


def request_id(headers: Mapping[str, str]) -> str | None:
    """The server's id for a request, from its response; None if the response has no id."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def _restore(kind: type[PrebuildsError], args: tuple[Any, ...], state: dict[str, Any]) -> PrebuildsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error

"""The errors that this package raises. Each is a `PrebuildsError`.

    PrebuildsError
        ConfigurationError          no token, or a setting that cannot be right
            TokenError              the callable that gives the token failed
        ClientClosedError           a call after `close()`
        CallError                   a call failed; knows whether it may have run, and may be repeated
            APIError                the service (or a proxy) answered with an error: one class per code
            ConnectionFailedError   no answer came
                RequestTimeoutError     in time
            ResponseError           an answer came that is not what the schema promises
        PaginationError             a list would go round in circles
        LogError                    the log of a prebuild cannot be read
        WaitError                   what was waited for did not happen
            PrebuildFailedError, PrebuildCancelledError, PrebuildDeletedError, WarmPoolDeletedError
            StalledError            for nothing changes any more
            WaitTimeoutError        in time
        WaitManyError               some of the prebuilds that were waited for did not complete

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
    """The client cannot be set up: there is no token, say, or the base URL is none."""


class TokenError(ConfigurationError):
    """The callable that is asked for the token failed, or answered something else. Nothing was sent.

    What the callable raised is the `__cause__`.
    """


class ClientClosedError(PrebuildsError):
    """A call was made after the client had been closed."""


class CallError(PrebuildsError):
    """A call of the service failed.

    Attributes:
        operation: the method of `client.prebuilds` that failed, `create` for example.
        retryable: whether the same call may succeed later and can be repeated without acting twice.
            The client has then done so already, as often as `retries` and the deadline allowed.
        maybe_executed: whether the service may have carried out the call nevertheless. False means
            that it surely did not.
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
    """The service answered with an error; there is a subclass for each Connect code.

    This class itself stands for a code that this version does not know.

    Attributes:
        code: what kind of failure it is. An answer that is no Connect error (the page of a proxy,
            for instance) has the code that the Connect protocol assigns to its HTTP status.
        status: the HTTP status.
        message: what the server said, without what this package adds to it in `str(error)`.
        details: further facts. A `RetryInfo`, `BadRequest` or `Violations` is decoded, any other is a
            `ConnectErrorDetail` as the server sent it.
        retry_after: after how many seconds the server wants to be asked again; None if it does not
            say.
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
        """What the server calls the request, if it says so: what its support asks for."""
        return request_id(self.headers)

    @property
    def violations(self) -> list[FieldViolation]:
        """The fields of the request that are wrong, as far as the details tell."""
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
    """`not_found`: what the request names does not exist, or the token may not know of it."""


class AlreadyExistsError(APIError):
    """`already_exists`: what was to be created is there already."""


class PermissionDeniedError(APIError):
    """`permission_denied`: the token is valid, but may not do this."""


class ResourceExhaustedError(APIError):
    """`resource_exhausted`: a rate limit, or without a `retry_after` a quota, is used up."""


class FailedPreconditionError(APIError):
    """`failed_precondition`: the state of the service does not allow the call now."""


class AbortedError(APIError):
    """`aborted`: the call lost against another one that ran at the same time."""


class OutOfRangeError(APIError):
    """`out_of_range`: the request reaches beyond what there is."""


class UnimplementedError(APIError):
    """`unimplemented`: the server does not know the method; often the base URL is wrong."""


class InternalError(APIError):
    """`internal`: something broke inside the server."""


class UnavailableError(APIError):
    """`unavailable`: the service cannot be reached for the moment."""


class DataLossError(APIError):
    """`data_loss`: data is lost or damaged beyond repair."""


class UnauthenticatedError(APIError):
    """`unauthenticated`: the token is expired or invalid."""


class ConnectionFailedError(CallError):
    """No (whole) answer came: the service is out of reach, or the connection broke.

    The exception of the HTTP library is the `__cause__`.
    """


class RequestTimeoutError(ConnectionFailedError):
    """No answer came in time."""


class ResponseError(CallError):
    """The service answered with success, but not with the message that the schema promises.

    The `__cause__` is a `prebuild_api.DecodeError`, which says where the answer differs.

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
        status: the HTTP status that the log's server answered; None if it is not about an answer.
    """

    def __init__(self, text: str, *, prebuild_id: str, status: int | None = None) -> None:
        super().__init__(text)
        self.prebuild_id = prebuild_id
        self.status = status


class WaitError(PrebuildsError):
    """What was waited for did not happen.

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
        """Where the log of the prebuild is (`client.prebuilds.logs` reads it); None if there is none."""
        return self.prebuild.status.log_url if self.prebuild else None


class PrebuildFailedError(WaitError):
    """The prebuild failed; `failure_message` says why."""


class PrebuildCancelledError(WaitError):
    """The prebuild was cancelled."""


class PrebuildDeletedError(WaitError):
    """The prebuild was deleted."""


class WarmPoolDeletedError(WaitError):
    """The warm pool was deleted, or is about to be."""


class StalledError(WaitError):
    """Nothing has changed for so long that it is not expected to change any more."""


class WaitTimeoutError(WaitError):
    """It had not happened yet when the time to wait for it was over.

    If the service could not be asked lately, the `__cause__` is the last failure.
    """


class WaitManyError(PrebuildsError):
    """Some of the prebuilds that were waited for did not complete.

    Attributes:
        errors: for each of these, what would have been raised if it had been waited for alone.
        prebuilds: those that did complete.
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


# ASSUMPTION: the header that names a request is one of those that servers and proxies commonly use.
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-correlation-id", "x-trace-id", "cf-ray")


def request_id(headers: Mapping[str, str]) -> str | None:
    """What the server calls a request, as its answer has it; None if it does not say."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def _restore(kind: type[PrebuildsError], args: tuple[Any, ...], state: dict[str, Any]) -> PrebuildsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error

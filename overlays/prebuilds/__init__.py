"""A client of the Gitpod/Ona PrebuildService: start prebuilds, follow them, size warm pools.

from prebuilds import PrebuildClient

with PrebuildClient() as client:  # the token is in GITPOD_API_KEY
    created = client.prebuilds.create(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
    prebuild = client.prebuilds.wait(created.prebuild)
"""

from typing import TYPE_CHECKING, Any

from prebuild_api import DecodeError, models
from prebuild_api.operations import Attempt, CallOptions
from prebuild_api.pages import (
    AsyncListing,
    AsyncPrebuildsPage,
    AsyncWarmPoolsPage,
    PrebuildsPage,
    WarmPoolsPage,
)
from prebuilds.client import AsyncPrebuildClient, PrebuildClient
from prebuilds.details import BadRequest, FieldViolation, RetryInfo, Violations
from prebuilds.errors import (
    AbortedError,
    AlreadyExistsError,
    APIError,
    CallError,
    CanceledError,
    ClientClosedError,
    ConfigurationError,
    ConnectionFailedError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    LogError,
    NotFoundError,
    OutOfRangeError,
    PaginationError,
    PermissionDeniedError,
    PrebuildCancelledError,
    PrebuildDeletedError,
    PrebuildFailedError,
    PrebuildsError,
    RequestTimeoutError,
    ResourceExhaustedError,
    ResponseError,
    StalledError,
    TokenError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    WaitError,
    WaitManyError,
    WaitTimeoutError,
    WarmPoolDeletedError,
)
from prebuilds.methods import AsyncPrebuilds, Prebuilds
from prebuilds.version import __version__

if TYPE_CHECKING:
    from prebuild_api.models import (
        ConnectCode,
        ConnectErrorDetail,
        ListPrebuildsRequestFilter,
        ListWarmPoolsRequestFilter,
        PaginationRequest,
        Prebuild,
        PrebuildMetadata,
        PrebuildPhase,
        PrebuildSpec,
        PrebuildStatus,
        PrebuildTrigger,
        Principal,
        Subject,
        WarmPool,
        WarmPoolMetadata,
        WarmPoolPhase,
        WarmPoolSpec,
        WarmPoolStatus,
    )

__all__ = [
    "APIError",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncListing",
    "AsyncPrebuildClient",
    "AsyncPrebuilds",
    "AsyncPrebuildsPage",
    "AsyncWarmPoolsPage",
    "Attempt",
    "BadRequest",
    "CallError",
    "CallOptions",
    "CanceledError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectCode",
    "ConnectErrorDetail",
    "ConnectionFailedError",
    "DataLossError",
    "DeadlineExceededError",
    "DecodeError",
    "FailedPreconditionError",
    "FieldViolation",
    "InternalError",
    "InvalidArgumentError",
    "ListPrebuildsRequestFilter",
    "ListWarmPoolsRequestFilter",
    "LogError",
    "NotFoundError",
    "OutOfRangeError",
    "PaginationError",
    "PaginationRequest",
    "PermissionDeniedError",
    "Prebuild",
    "PrebuildCancelledError",
    "PrebuildClient",
    "PrebuildDeletedError",
    "PrebuildFailedError",
    "PrebuildMetadata",
    "PrebuildPhase",
    "PrebuildSpec",
    "PrebuildStatus",
    "PrebuildTrigger",
    "Prebuilds",
    "PrebuildsError",
    "PrebuildsPage",
    "Principal",
    "RequestTimeoutError",
    "ResourceExhaustedError",
    "ResponseError",
    "RetryInfo",
    "StalledError",
    "Subject",
    "TokenError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "Violations",
    "WaitError",
    "WaitManyError",
    "WaitTimeoutError",
    "WarmPool",
    "WarmPoolDeletedError",
    "WarmPoolMetadata",
    "WarmPoolPhase",
    "WarmPoolSpec",
    "WarmPoolStatus",
    "WarmPoolsPage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load a model when it is first used: there are many, and a program needs few of them."""
    if name not in __all__ or name not in models.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(models, name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]

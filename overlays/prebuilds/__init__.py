"""A client of the Gitpod/Ona PrebuildService: start prebuilds, follow them, size warm pools.

from prebuilds import PrebuildClient

with PrebuildClient() as client:  # the token is in GITPOD_API_KEY
    created = client.prebuilds.create(project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047")
    prebuild = client.prebuilds.wait(created.prebuild)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prebuilds.version import __version__

if TYPE_CHECKING:
    from prebuild_api import DecodeError
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
    from prebuild_api.operations import Attempt, CallOptions
    from prebuild_api.pages import (
        AsyncListing,
        AsyncPrebuildsPage,
        AsyncWarmPoolsPage,
        PrebuildsPage,
        WarmPoolsPage,
    )
    from prebuilds.client import AsyncPrebuildClient, PrebuildClient
    from prebuilds.error_details import BadRequest, FieldViolation, RetryInfo, Violations
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
    from prebuilds.logs.lines import LINE_CONTINUES
    from prebuilds.resource import AsyncPrebuilds, Prebuilds

__all__ = [
    "LINE_CONTINUES",
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


# The modules of the names, except for the errors and the models.
_HOMES = {
    "prebuild_api": ("DecodeError",),
    "prebuild_api.operations": ("Attempt", "CallOptions"),
    "prebuild_api.pages": (
        "AsyncListing",
        "AsyncPrebuildsPage",
        "AsyncWarmPoolsPage",
        "PrebuildsPage",
        "WarmPoolsPage",
    ),
    "prebuilds.client": ("AsyncPrebuildClient", "PrebuildClient"),
    "prebuilds.error_details": ("BadRequest", "FieldViolation", "RetryInfo", "Violations"),
    "prebuilds.logs.lines": ("LINE_CONTINUES",),
    "prebuilds.resource": ("AsyncPrebuilds", "Prebuilds"),
}


def __getattr__(name: str) -> Any:
    """Load names on first use: a program needs few of them, and the emulator needs no client."""
    if name in ("contract", "emulator"):
        return import_module(f"prebuilds.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        home = "prebuilds.errors" if name.endswith("Error") else "prebuild_api.models"
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""The enums of Gitpod PrebuildService."""

from __future__ import annotations

from .base import CodeEnum, ProtobufEnum

__all__ = [
    "ConnectCode",
    "PrebuildPhase",
    "PrebuildTrigger",
    "Principal",
    "WarmPoolPhase",
]


class PrebuildPhase(ProtobufEnum):
    """Where a prebuild is in its lifecycle."""

    UNSPECIFIED = "PREBUILD_PHASE_UNSPECIFIED", 0
    """No phase was given."""

    PENDING = "PREBUILD_PHASE_PENDING", 10
    """Accepted, nothing has started yet."""

    STARTING = "PREBUILD_PHASE_STARTING", 20
    """The environment is being started."""

    RUNNING = "PREBUILD_PHASE_RUNNING", 30
    """The prebuild tasks run in the environment."""

    STOPPING = "PREBUILD_PHASE_STOPPING", 40
    """The tasks are done and the environment is being stopped."""

    SNAPSHOTTING = "PREBUILD_PHASE_SNAPSHOTTING", 50
    """The snapshot is being written."""

    COMPLETED = "PREBUILD_PHASE_COMPLETED", 60
    """The snapshot is there. There may be a warning nevertheless."""

    FAILED = "PREBUILD_PHASE_FAILED", 70
    """Something went wrong, which the failure message describes."""

    CANCELLING = "PREBUILD_PHASE_CANCELLING", 75
    """A cancellation was asked for and is under way."""

    CANCELLED = "PREBUILD_PHASE_CANCELLED", 80
    """The prebuild was cancelled before it ended."""

    DELETING = "PREBUILD_PHASE_DELETING", 85
    """The prebuild and its snapshot are being removed."""

    DELETED = "PREBUILD_PHASE_DELETED", 90
    """The prebuild is gone. A server may answer `not_found` in place of this phase."""


class PrebuildTrigger(ProtobufEnum):
    """What sets a prebuild off."""

    UNSPECIFIED = "PREBUILD_TRIGGER_UNSPECIFIED", 0
    """No trigger was given."""

    MANUAL = "PREBUILD_TRIGGER_MANUAL", 1
    """Somebody asked for it."""

    SCHEDULED = "PREBUILD_TRIGGER_SCHEDULED", 2
    """The daily schedule of the project."""


class Principal(ProtobufEnum):
    """The kind of thing that acts."""

    UNSPECIFIED = "PRINCIPAL_UNSPECIFIED", 0
    """No kind was given."""

    ACCOUNT = "PRINCIPAL_ACCOUNT", 1
    """An account."""

    USER = "PRINCIPAL_USER", 2
    """A user of the organization."""

    RUNNER = "PRINCIPAL_RUNNER", 3
    """A runner."""

    ENVIRONMENT = "PRINCIPAL_ENVIRONMENT", 4
    """An environment."""

    SERVICE_ACCOUNT = "PRINCIPAL_SERVICE_ACCOUNT", 5
    """A service account, for automation."""

    RUNNER_MANAGER = "PRINCIPAL_RUNNER_MANAGER", 6
    """A manager of runners."""


class WarmPoolPhase(ProtobufEnum):
    """Where a warm pool is in its lifecycle."""

    UNSPECIFIED = "WARM_POOL_PHASE_UNSPECIFIED", 0
    """No phase was given."""

    PENDING = "WARM_POOL_PHASE_PENDING", 10
    """The pool has no snapshot to make environments from yet."""

    READY = "WARM_POOL_PHASE_READY", 20
    """Environments can be claimed."""

    DEGRADED = "WARM_POOL_PHASE_DEGRADED", 30
    """The pool has trouble, which its failure message describes."""

    DELETING = "WARM_POOL_PHASE_DELETING", 40
    """The pool is being drained."""

    DELETED = "WARM_POOL_PHASE_DELETED", 50
    """The pool is gone. A server may answer `not_found` in place of this phase."""


class ConnectCode(CodeEnum):
    """The kinds of failure that the Connect protocol knows."""

    CANCELED = "canceled", 499
    """The caller gave up on the call."""

    UNKNOWN = "unknown", 500
    """The server failed and cannot say how."""

    INVALID_ARGUMENT = "invalid_argument", 400
    """The request is wrong by itself, whatever the state of the service."""

    DEADLINE_EXCEEDED = "deadline_exceeded", 504
    """Time ran out before the call was done. It may have taken effect all the same."""

    NOT_FOUND = "not_found", 404
    """What the request names does not exist, or the caller may not know of it."""

    ALREADY_EXISTS = "already_exists", 409
    """What was to be created is there already."""

    PERMISSION_DENIED = "permission_denied", 403
    """The caller is known, but may not do this."""

    RESOURCE_EXHAUSTED = "resource_exhausted", 429
    """A rate limit or a quota is used up."""

    FAILED_PRECONDITION = "failed_precondition", 400
    """The request is in order, but the state of the service does not allow it now."""

    ABORTED = "aborted", 409
    """The call lost against another one that ran at the same time."""

    OUT_OF_RANGE = "out_of_range", 400
    """The request reaches beyond what there is."""

    UNIMPLEMENTED = "unimplemented", 501
    """The server does not know the method, or does not support what was asked of it."""

    INTERNAL = "internal", 500
    """Something broke inside the server."""

    UNAVAILABLE = "unavailable", 503
    """The service cannot be reached for the moment. Later it may work."""

    DATA_LOSS = "data_loss", 500
    """Data is lost or damaged beyond repair."""

    UNAUTHENTICATED = "unauthenticated", 401
    """The token is missing, expired or invalid."""

"""The messages of Gitpod PrebuildService, in the order of the schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from .base import Message, OrderedMessage
from .enums import (
    ConnectCode,
    PrebuildPhase,
    PrebuildTrigger,
    Principal,
    WarmPoolPhase,
)
from .fields import Int32, Int64, Timestamp, Uint64, Uri, Uuid
from .formats import PrebuildTimeout


class PrebuildSpec(Message):
    """What is asked of a prebuild. In a request only the timeout is of use."""

    spec_version: Annotated[Uint64 | None, Field(alias="specVersion")] = None
    """Counts up with every change of the spec. Of two copies, the higher version is the newer."""

    desired_phase: Annotated[PrebuildPhase | None, Field(alias="desiredPhase")] = None
    """The phase that the service steers the prebuild towards, CANCELLED after a cancellation for
    instance. It is the service's own. ASSUMPTION: a value in a create request is ignored.
    """

    timeout: PrebuildTimeout | None = None
    """How long the prebuild may take, from 300 s to 7200 s. Absent means 3600 s. ASSUMPTION: a
    prebuild that takes longer becomes FAILED.
    """


class PrebuildStatus(Message):
    """How far a prebuild has come, and what came of it."""

    phase: PrebuildPhase | None = None
    """Where the prebuild is in its lifecycle."""

    completion_time: Annotated[Timestamp | None, Field(alias="completionTime")] = None
    """When the prebuild ended, whether well or not. Absent until then."""

    failure_message: Annotated[str | None, Field(alias="failureMessage")] = None
    """The reason of a failure, in words for people. Empty unless the prebuild failed."""

    log_url: Annotated[Uri | None, Field(alias="logUrl")] = None
    """Where the log is, first that of the environment, later possibly an archived one. Reading
    it takes a token of `CreatePrebuildLogsToken`. Empty as long as there is no environment.
    """

    environment_id: Annotated[Uuid | None, Field(alias="environmentId")] = None
    """The environment that the prebuild runs in. Empty until that environment exists."""

    status_version: Annotated[Uint64 | None, Field(alias="statusVersion")] = None
    """Counts up with every change of the status. Of two copies, the higher version is the newer."""

    warning_message: Annotated[str | None, Field(alias="warningMessage")] = None
    """What went wrong without stopping the prebuild, a dev container that did not build for
    instance. Environments that start from this prebuild will probably have the same trouble.
    """

    snapshot_completion_percentage: Annotated[
        Int32 | None, Field(alias="snapshotCompletionPercentage", ge=0, le=100)
    ] = None
    """How much of the snapshot is written, in percent, while the phase is SNAPSHOTTING. Some
    cloud providers report it rarely or never, so that nothing should wait for it.
    """

    snapshot_size_bytes: Annotated[Int64 | None, Field(alias="snapshotSizeBytes")] = None
    """How large the snapshot is, in bytes. Known once the phase is COMPLETED."""


class Subject(Message):
    """Someone or something that acts, a user or a service account for instance."""

    id: Annotated[Uuid | None, Field(json_schema_extra={"x-ignore-zero": True})] = None
    """The id of whoever acts."""

    principal: Principal | None = None
    """The kind of thing that the id belongs to."""


class WarmPoolMetadata(Message):
    """Whose pool this is, and what it is for."""

    organization_id: Annotated[Uuid | None, Field(alias="organizationId")] = None
    """The organization that the pool belongs to."""

    project_id: Annotated[Uuid | None, Field(alias="projectId")] = None
    """The project whose environments are kept ready."""

    environment_class_id: Annotated[Uuid | None, Field(alias="environmentClassId")] = None
    """The environment class of the environments in the pool."""

    runner_id: Annotated[Uuid | None, Field(alias="runnerId")] = None
    """The runner that keeps the environments."""

    created_at: Annotated[Timestamp, Field(alias="createdAt")]
    """The time of creation. It never changes."""

    updated_at: Annotated[Timestamp, Field(alias="updatedAt")]
    """The time of the latest change."""


class WarmPoolSpec(OrderedMessage):
    """What is asked of a warm pool."""

    model_config = ConfigDict(json_schema_extra={"x-ordered": [["minSize", "maxSize"]]})

    spec_version: Annotated[Uint64 | None, Field(alias="specVersion")] = None
    """Counts up with every change of the spec. Of two copies, the higher version is the newer."""

    desired_size: Annotated[
        Int32 | None,
        Field(alias="desiredSize", ge=1, json_schema_extra={"x-ignore-zero": True}, le=20),
    ] = None
    """Deprecated. The size of the pool in environments, from before it had bounds. Use `minSize`
    and `maxSize`.
    """

    snapshot_id: Annotated[
        Uuid | None,
        Field(
            alias="snapshotId",
            json_schema_extra={"x-presence": "explicit", "x-ignore-zero": True},
        ),
    ] = None
    """The snapshot that the environments are made from. Absent until a prebuild of the project
    and class has completed; every newer one replaces it.
    """

    desired_phase: Annotated[WarmPoolPhase | None, Field(alias="desiredPhase")] = None
    """The phase that the service steers the pool towards. DELETED says that the pool is to go
    away.
    """

    min_size: Annotated[
        Int32 | None,
        Field(alias="minSize", ge=0, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The fewest environments to keep, 0 to 20. With 0 the pool may run empty."""

    max_size: Annotated[
        Int32 | None,
        Field(alias="maxSize", ge=1, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The most environments to keep, 1 to 20."""


class WarmPoolStatus(Message):
    """The state of a warm pool, as its runner reports it."""

    phase: WarmPoolPhase | None = None
    """Where the pool is in its lifecycle."""

    failure_message: Annotated[str | None, Field(alias="failureMessage")] = None
    """What is wrong with the pool, in words for people. Empty unless something is."""

    status_version: Annotated[Uint64 | None, Field(alias="statusVersion")] = None
    """Counts up with every change of the status. Of two copies, the higher version is the newer."""

    running_instances: Annotated[Int32 | None, Field(alias="runningInstances")] = None
    """How many environments run and can be claimed at once."""

    stopped_instances: Annotated[Int32 | None, Field(alias="stoppedInstances")] = None
    """How many environments are prepared but stopped. They cost storage only."""

    desired_size: Annotated[Int32 | None, Field(alias="desiredSize")] = None
    """How many environments the autoscaler aims at right now, within the bounds of the spec."""


class PaginationRequest(Message):
    """Which page of a list to answer, and how long it may be."""

    page_size: Annotated[Int32 | None, Field(alias="pageSize", ge=0, le=100)] = None
    """The most items to put on the page, up to 100. 0 stands for the default of 25."""

    token: str | None = None
    """The page to answer, as `nextToken` of the page before named it. Empty means the first
    page.
    """


class PaginationResponse(Message):
    """How a list goes on."""

    next_token: Annotated[str | None, Field(alias="nextToken")] = None
    """The token of the following page. Empty on the last one."""


class CreatePrebuildRequest(Message):
    """What to prebuild, and how."""

    project_id: Annotated[Uuid, Field(alias="projectId")]
    """The project to prebuild."""

    environment_class_id: Annotated[
        Uuid | None,
        Field(alias="environmentClassId", json_schema_extra={"x-presence": "explicit"}),
    ] = None
    """The environment class to run with. Absent means the default class of the project."""

    spec: PrebuildSpec
    """What to ask of the prebuild. It has to be given, but may be empty."""


class ListPrebuildsRequestFilter(Message):
    """What a prebuild must match to be listed. A list that is empty or absent lets everything
    through.
    """

    project_ids: Annotated[list[Uuid] | None, Field(alias="projectIds", max_length=25)] = None
    """Prebuilds of these projects, at most 25."""

    phases: Annotated[list[PrebuildPhase] | None, Field(max_length=10)] = None
    """Prebuilds that are in one of these phases now, at most 10."""

    triggered_by: Annotated[
        list[PrebuildTrigger] | None, Field(alias="triggeredBy", max_length=5)
    ] = None
    """Prebuilds that were set off in one of these ways, at most 5."""

    creator_ids: Annotated[list[Uuid] | None, Field(alias="creatorIds", max_length=25)] = None
    """Prebuilds caused by one of these subjects, at most 25."""

    executor_ids: Annotated[list[Uuid] | None, Field(alias="executorIds", max_length=25)] = None
    """Prebuilds that cloned with the credentials of one of these subjects, at most 25."""


class GetPrebuildRequest(Message):
    """Which prebuild to look up."""

    prebuild_id: Annotated[Uuid, Field(alias="prebuildId")]
    """The prebuild to look up."""


class CancelPrebuildRequest(Message):
    """Which prebuild to stop."""

    prebuild_id: Annotated[Uuid, Field(alias="prebuildId")]
    """The prebuild to stop."""


class DeletePrebuildRequest(Message):
    """Which prebuild to remove."""

    prebuild_id: Annotated[Uuid, Field(alias="prebuildId")]
    """The prebuild to remove."""


class DeletePrebuildResponse(Message):
    """Says nothing but that the deletion has begun."""


class CreatePrebuildLogsTokenRequest(Message):
    """Which prebuild's log to open."""

    prebuild_id: Annotated[Uuid, Field(alias="prebuildId")]
    """The prebuild whose log is to be read."""


class CreatePrebuildLogsTokenResponse(Message):
    """A token for the log of one prebuild."""

    access_token: Annotated[str | None, Field(alias="accessToken")] = None
    """The bearer token for `status.logUrl`. It lasts one hour and is a secret."""


class CreateWarmPoolRequest(OrderedMessage):
    """What to keep ready, and how much of it."""

    model_config = ConfigDict(json_schema_extra={"x-ordered": [["minSize", "maxSize"]]})

    project_id: Annotated[Uuid, Field(alias="projectId")]
    """The project whose environments are to be kept ready. It must have prebuilds switched on."""

    environment_class_id: Annotated[Uuid, Field(alias="environmentClassId")]
    """The class of the environments, one of the prebuild classes of the project."""

    desired_size: Annotated[
        Int32 | None,
        Field(alias="desiredSize", ge=1, json_schema_extra={"x-ignore-zero": True}, le=20),
    ] = None
    """Deprecated. Sets both bounds to one value, 1 to 20. Use `minSize` and `maxSize`."""

    min_size: Annotated[
        Int32 | None,
        Field(alias="minSize", ge=0, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The fewest environments to keep, 0 to 20. With 0 the pool may run empty."""

    max_size: Annotated[
        Int32 | None,
        Field(alias="maxSize", ge=1, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The most environments to keep, 1 to 20 and no less than `minSize`."""


class GetWarmPoolRequest(Message):
    """Which pool to look up."""

    warm_pool_id: Annotated[Uuid, Field(alias="warmPoolId")]
    """The pool to look up."""


class ListWarmPoolsRequestFilter(Message):
    """What a pool must match to be listed. A list that is empty or absent lets everything
    through.
    """

    project_ids: Annotated[list[Uuid] | None, Field(alias="projectIds", max_length=25)] = None
    """Pools of these projects, at most 25."""

    environment_class_ids: Annotated[
        list[Uuid] | None, Field(alias="environmentClassIds", max_length=25)
    ] = None
    """Pools of these environment classes, at most 25."""


class UpdateWarmPoolRequest(OrderedMessage):
    """Which pool to resize, and to what. A size that is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"x-ordered": [["minSize", "maxSize"]]})

    warm_pool_id: Annotated[Uuid, Field(alias="warmPoolId")]
    """The pool to resize."""

    desired_size: Annotated[
        Int32 | None,
        Field(
            alias="desiredSize",
            ge=1,
            json_schema_extra={"x-presence": "explicit"},
            le=20,
        ),
    ] = None
    """Deprecated. Sets both bounds to one value, 1 to 20. Use `minSize` and `maxSize`."""

    min_size: Annotated[
        Int32 | None,
        Field(alias="minSize", ge=0, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The fewest environments to keep, 0 to 20. With 0 the pool may run empty; absent keeps the
    value.
    """

    max_size: Annotated[
        Int32 | None,
        Field(alias="maxSize", ge=1, json_schema_extra={"x-presence": "explicit"}, le=20),
    ] = None
    """The most environments to keep, 1 to 20 and no less than `minSize`. Absent keeps the value."""


class DeleteWarmPoolRequest(Message):
    """Which pool to take down."""

    warm_pool_id: Annotated[Uuid, Field(alias="warmPoolId")]
    """The pool to take down."""


class DeleteWarmPoolResponse(Message):
    """Says nothing but that the deletion has begun."""


class ConnectErrorDetail(Message):
    """One protobuf message that tells more about a failure."""

    type: str | None = None
    """The full name of the message, `google.rpc.RetryInfo` for instance."""

    value: str | None = None
    """The message in protobuf's binary form, as base64 without padding."""

    debug: Any | None = None
    """The message as JSON, for people who read along. Any JSON value, often absent."""


class PrebuildMetadata(Message):
    """Whose prebuild this is, and where it comes from."""

    organization_id: Annotated[Uuid | None, Field(alias="organizationId")] = None
    """The organization that the prebuild belongs to."""

    project_id: Annotated[Uuid | None, Field(alias="projectId")] = None
    """The project that was prebuilt."""

    environment_class_id: Annotated[Uuid | None, Field(alias="environmentClassId")] = None
    """The environment class that the prebuild ran with. Environments of other classes can start
    from its snapshot too, provided that their class is on the same runner.
    """

    creator: Subject
    """Who caused the prebuild, be it the caller (manual) or the project's executor (scheduled)."""

    created_at: Annotated[Timestamp, Field(alias="createdAt")]
    """The time of creation."""

    updated_at: Annotated[Timestamp, Field(alias="updatedAt")]
    """The time of the latest change. If it lies far back in an active phase, the prebuild may be
    stuck.
    """

    triggered_by: Annotated[PrebuildTrigger | None, Field(alias="triggeredBy")] = None
    """What set the prebuild off."""

    executor: Subject | None = None
    """Whose source control credentials clone the repository. Absent means those of the creator."""


class WarmPool(Message):
    """A stock of environments, made ahead of time from the newest prebuild snapshot of one
    project and environment class. There is one pool at most for the two.
    """

    id: Uuid | None = None
    """The id of the pool."""

    metadata: WarmPoolMetadata
    """Whose pool this is, and what it is for."""

    spec: WarmPoolSpec
    """What was asked for."""

    status: WarmPoolStatus
    """What the runner reports."""


class ListPrebuildsRequest(Message):
    """Which prebuilds to list. Without a filter, all that the caller may see."""

    pagination: PaginationRequest | None = None
    """Which page to answer. Absent means the first, of the default length."""

    filter: ListPrebuildsRequestFilter | None = None
    """What a prebuild must match to be listed."""


class CreateWarmPoolResponse(Message):
    """The pool that was set up."""

    warm_pool: Annotated[WarmPool, Field(alias="warmPool")]
    """The new pool, PENDING as long as it has no snapshot."""


class GetWarmPoolResponse(Message):
    """The pool that was looked up."""

    warm_pool: Annotated[WarmPool, Field(alias="warmPool")]
    """The pool as it stands."""


class ListWarmPoolsRequest(Message):
    """Which pools to list. Without a filter, all that the caller may see."""

    pagination: PaginationRequest | None = None
    """Which page to answer. Absent means the first, of the default length."""

    filter: ListWarmPoolsRequestFilter | None = None
    """What a pool must match to be listed."""


class ListWarmPoolsResponse(Message):
    """One page of warm pools."""

    pagination: PaginationResponse | None = None
    """How the list goes on. Absent on the last page."""

    warm_pools: Annotated[list[WarmPool] | None, Field(alias="warmPools")] = None
    """The pools on this page."""


class UpdateWarmPoolResponse(Message):
    """The pool that was resized."""

    warm_pool: Annotated[WarmPool, Field(alias="warmPool")]
    """The pool with its new bounds."""


class ConnectError(Message):
    """The body of every failed call, whatever codec the request used."""

    code: ConnectCode
    """What kind of failure this is. Programs decide by this, not by the HTTP status or the
    message.
    """

    message: str | None = None
    """What went wrong, in words for people. The wording may change at any time."""

    details: list[ConnectErrorDetail] | None = None
    """Further facts for programs, of any number of types. Often absent."""


class Prebuild(Message):
    """One run of a project's prebuild, and the snapshot that it leaves behind."""

    id: Uuid | None = None
    """The id of the prebuild."""

    metadata: PrebuildMetadata
    """Whose prebuild this is, and where it comes from."""

    spec: PrebuildSpec
    """What was asked for."""

    status: PrebuildStatus
    """How far it has come."""


class CreatePrebuildResponse(Message):
    """The prebuild that was accepted."""

    prebuild: Prebuild
    """The new prebuild, usually still PENDING."""


class ListPrebuildsResponse(Message):
    """One page of prebuilds."""

    pagination: PaginationResponse | None = None
    """How the list goes on. Absent on the last page."""

    prebuilds: list[Prebuild] | None = None
    """The prebuilds on this page."""


class GetPrebuildResponse(Message):
    """The prebuild that was looked up."""

    prebuild: Prebuild
    """The prebuild as it stands."""


class CancelPrebuildResponse(Message):
    """The prebuild that is being stopped."""

    prebuild: Prebuild
    """The prebuild, on its way to CANCELLED or already there."""

"""Records as clients see them: protobuf JSON, without zero values, and with 64-bit integers as strings."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from .lifecycle import PrebuildRecord, SubjectRecord, WarmPoolRecord

# The store caches the same number of records. Most records have not changed since they were last returned.
_REMEMBERED: Final = 1000


@lru_cache(_REMEMBERED)
def prebuild_view(prebuild: PrebuildRecord, base_url: str) -> dict[str, Any]:
    """Return a `Prebuild` message. It must not be modified, because it may be returned again.

    The log's URL starts with `base_url`, which has no trailing slash.
    """
    up = prebuild.has_environment
    return {
        "id": prebuild.id,
        "metadata": _present(
            organizationId=prebuild.organization_id,
            projectId=prebuild.project_id,
            environmentClassId=prebuild.environment_class_id,
            creator=_subject(prebuild.creator),
            createdAt=timestamp(prebuild.created_at),
            updatedAt=timestamp(prebuild.updated_at),
            triggeredBy=prebuild.triggered_by.value,
            executor=None if prebuild.executor is None else _subject(prebuild.executor),
        ),
        "spec": {
            "specVersion": str(prebuild.spec_version),
            "desiredPhase": prebuild.desired_phase.value,
            "timeout": prebuild.timeout,
        },
        "status": _present(
            phase=prebuild.phase.value,
            completionTime=None if prebuild.completion_time is None else timestamp(prebuild.completion_time),
            failureMessage=prebuild.failure_message,
            logUrl=f"{base_url}/logs/{prebuild.id}" if up else "",
            environmentId=prebuild.environment_id if up else "",
            statusVersion=str(prebuild.status_version),
            warningMessage=prebuild.warning_message,
            snapshotCompletionPercentage=prebuild.percentage,
            snapshotSizeBytes=str(prebuild.snapshot_size_bytes) if prebuild.snapshot_size_bytes else "",
        ),
    }


def warm_pool_view(pool: WarmPoolRecord) -> dict[str, Any]:
    """Return a `WarmPool` message."""
    spec: dict[str, Any] = {"specVersion": str(pool.spec_version)}
    if pool.min_size == pool.max_size:
        # ASSUMPTION: the deprecated size is returned only if it equals both bounds.
        spec["desiredSize"] = pool.max_size
    if pool.snapshot_id is not None:
        spec["snapshotId"] = pool.snapshot_id
    spec["desiredPhase"] = pool.desired_phase.value
    # The bounds have explicit presence, so that a minimum of 0 is included.
    spec["minSize"] = pool.min_size
    spec["maxSize"] = pool.max_size
    return {
        "id": pool.id,
        "metadata": _present(
            organizationId=pool.organization_id,
            projectId=pool.project_id,
            environmentClassId=pool.environment_class_id,
            runnerId=pool.runner_id,
            createdAt=timestamp(pool.created_at),
            updatedAt=timestamp(pool.updated_at),
        ),
        "spec": spec,
        "status": _present(
            phase=pool.phase.value,
            failureMessage=pool.failure_message,
            statusVersion=str(pool.status_version),
            runningInstances=pool.running,
            stoppedInstances=pool.stopped,
            desiredSize=pool.target,
        ),
    }


def timestamp(moment: datetime) -> str:
    """Format a time as protobuf JSON does: in UTC, with 0, 3 or 6 decimals as needed."""
    precision = "microseconds" if moment.microsecond % 1000 else "milliseconds" if moment.microsecond else "seconds"
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision)}Z"


def _subject(subject: SubjectRecord) -> dict[str, Any]:
    return _present(id=subject.id, principal=subject.principal.value if subject.principal.number else "")


def _present(**fields: Any) -> dict[str, Any]:
    """Return the fields with non-zero values."""
    return {name: value for name, value in fields.items() if value}

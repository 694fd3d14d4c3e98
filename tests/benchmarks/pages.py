"""The page that is decoded: complete prebuilds of the documented shape, no two of them alike."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC)


def page_of_prebuilds(items: int) -> bytes:
    """A response of ListPrebuilds with `items` prebuilds. Ids and times are distinct, within an item as well."""
    chance = random.Random(items)
    page = {
        "pagination": {"nextToken": "nextToken"},
        "prebuilds": [_prebuild(chance, number) for number in range(items)],
    }
    return json.dumps(page, separators=(",", ":")).encode()


def _prebuild(chance: random.Random, number: int) -> dict[str, Any]:
    def some_id() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    def some_time() -> str:
        # Never a whole second: that would be written in another form than the documented one.
        elapsed = timedelta(hours=number, seconds=chance.randrange(3600))
        moment = START + elapsed + timedelta(milliseconds=chance.randrange(800))
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    return {
        "metadata": {
            "createdAt": some_time(),
            "creator": {"id": some_id(), "principal": "PRINCIPAL_USER"},
            "updatedAt": some_time(),
            "environmentClassId": some_id(),
            "executor": {"id": some_id(), "principal": "PRINCIPAL_SERVICE_ACCOUNT"},
            "organizationId": some_id(),
            "projectId": some_id(),
            "triggeredBy": chance.choice(["PREBUILD_TRIGGER_MANUAL", "PREBUILD_TRIGGER_SCHEDULED"]),
        },
        "spec": {
            "desiredPhase": "PREBUILD_PHASE_COMPLETED",
            "specVersion": str(chance.randrange(1, 100)),
            "timeout": f"{chance.randrange(300, 7201)}s",
        },
        "status": {
            "phase": chance.choice(["PREBUILD_PHASE_COMPLETED", "PREBUILD_PHASE_FAILED"]),
            "completionTime": some_time(),
            "environmentId": some_id(),
            "failureMessage": f"failureMessage {number}",
            "logUrl": f"https://example.com/{number}",
            "snapshotCompletionPercentage": chance.randrange(101),
            "snapshotSizeBytes": str(chance.randrange(2**40)),
            "statusVersion": str(chance.randrange(1, 1000)),
            "warningMessage": f"warningMessage {number}",
        },
        "id": some_id(),
    }

"""Give each project a new prebuild every night, and delete the old ones.

    python examples/nightly_refresh.py PROJECT...

A project whose newest prebuild is fresh is left alone, so the script can run again after a failure. The exit code is 1
if a prebuild did not complete. `prebuilds refresh` does the same for thousands of projects.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from prebuilds import Prebuild, PrebuildClient, WaitManyError

MAX_AGE = timedelta(hours=20)
KEEP = 3


def is_fresh(prebuild: Prebuild | None, now: datetime) -> bool:
    """Whether a project needs no new prebuild."""
    completed = prebuild.status.completion_time if prebuild else None
    return completed is not None and now - completed < MAX_AGE


def refresh(client: PrebuildClient, projects: list[str], now: datetime) -> int:
    """Create the prebuilds, wait for them, and return the exit code."""
    started = [
        client.prebuilds.create(project_id=project).prebuild
        for project in projects
        if not is_fresh(client.prebuilds.latest(project), now)
    ]
    failures = 0
    try:
        completed = client.prebuilds.wait_all(started, timeout=timedelta(hours=3), stalled_after=timedelta(minutes=30))
    except WaitManyError as error:
        completed, failures = error.prebuilds, len(error.errors)
        for each in error.errors:
            print(each, file=sys.stderr)
    for prebuild in completed:
        print(f"{prebuild.metadata.project_id} {prebuild.id} {prebuild.status.warning_message or 'ok'}")
        # Old snapshots go only where there is a new one.
        client.prebuilds.prune(project_ids=[str(prebuild.metadata.project_id)], keep=KEEP)
    return 1 if failures else 0


if __name__ == "__main__":
    with PrebuildClient() as client:
        sys.exit(refresh(client, sys.argv[1:], datetime.now(UTC)))

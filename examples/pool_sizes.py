"""Size a warm pool by the hour: many environments during office hours, none at night.

    python examples/pool_sizes.py PROJECT CLASS

Run it every hour. `prebuilds warm-pool apply` does the same from a YAML file. Use a script like this one for a rule
that a schedule cannot express.
"""

from __future__ import annotations

import sys
from datetime import datetime
from zoneinfo import ZoneInfo

from prebuilds import PrebuildClient, WarmPool, WarmPoolPhase

ZONE = ZoneInfo("Europe/Berlin")
OFFICE_HOURS = range(8, 18)


def wanted_size(now: datetime) -> tuple[int, int]:
    """The minimum and maximum number of environments at a local time."""
    if now.weekday() < 5 and now.hour in OFFICE_HOURS:
        return 2, 6
    return 0, 1


def resize(client: PrebuildClient, project: str, environment_class: str, now: datetime) -> WarmPool:
    """Create or resize the pool."""
    low, high = wanted_size(now)
    return client.prebuilds.ensure_warm_pool(project, environment_class, min_size=low, max_size=high)


if __name__ == "__main__":
    with PrebuildClient() as client:
        pool = resize(client, sys.argv[1], sys.argv[2], datetime.now(ZONE))
    print(f"{pool.id} {pool.status.phase} {pool.spec.min_size}..{pool.spec.max_size}")
    if pool.status.phase == WarmPoolPhase.DEGRADED:
        sys.exit(f"the pool is degraded: {pool.status.failure_message}")

"""Print a JSON message for a chat: how fresh the prebuilds of some projects are, and what failed in the last day.

python examples/chat_report.py PROJECT... | curl -H 'Content-Type: application/json' -d @- "$CHAT_WEBHOOK"
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

from prebuilds import PrebuildClient, PrebuildPhase

DAY = timedelta(days=1)


def lines(client: PrebuildClient, project: str, now: datetime) -> list[str]:
    """What there is to report about a project; the first line is its state."""
    newest = client.prebuilds.latest(project)
    completed = newest.status.completion_time if newest else None
    if completed is None:
        found = [f"{project}: no completed prebuild"]
    else:
        age = now - completed
        found = [f"{project}: {'STALE, ' if age > DAY else ''}{age // timedelta(hours=1)} h old"]
    # A list begins with the newest prebuild.
    for failed in client.prebuilds.list(project_ids=[project], phases=[PrebuildPhase.FAILED]):
        if now - failed.metadata.created_at > DAY:
            break
        found.append(f"  failed: {failed.status.failure_message} ({failed.status.log_url})")
    return found


def report(client: PrebuildClient, projects: list[str], now: datetime) -> dict[str, str]:
    """The message, in the form that most chats take."""
    return {"text": "\n".join(line for project in projects for line in lines(client, project, now))}


if __name__ == "__main__":
    with PrebuildClient() as client:
        json.dump(report(client, sys.argv[1:], datetime.now(UTC)), sys.stdout)

"""The log of a prebuild, generated from its history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from prebuild_wire.enums import PrebuildPhase

from .lifecycle import PrebuildRecord
from .views import timestamp

TASK_INTERVAL: Final = 30.0
"""The interval between the lines of running tasks, in emulated seconds."""

_TEXTS: Final = {
    PrebuildPhase.STARTING: "starting the environment",
    PrebuildPhase.RUNNING: "running the prebuild tasks",
    PrebuildPhase.STOPPING: "stopping the environment",
    PrebuildPhase.COMPLETED: "the prebuild completed",
    PrebuildPhase.CANCELLING: "cancelling the prebuild",
    PrebuildPhase.CANCELLED: "the prebuild was cancelled",
    PrebuildPhase.DELETING: "deleting the prebuild",
}


def log_lines(prebuild: PrebuildRecord, now: datetime) -> list[str]:
    """Return all lines up to `now`, without line ends. Earlier lines never change."""
    lines: list[str] = []
    for position, step in enumerate(prebuild.taken):
        if step.phase is PrebuildPhase.SNAPSHOTTING:
            text = f"writing the snapshot: {step.percentage}%"
        elif step.phase is PrebuildPhase.FAILED:
            text = f"the prebuild failed: {step.message}"
        elif step.phase is None or step.phase not in _TEXTS:
            continue
        else:
            text = _TEXTS[step.phase]
        lines.append(f"{timestamp(step.due)} {text}")
        if step.phase is PrebuildPhase.RUNNING:
            end = prebuild.taken[position + 1].due if position + 1 < len(prebuild.taken) else now
            lines.extend(_task_lines(step.due, end))
    return lines


def _task_lines(begin: datetime, end: datetime) -> list[str]:
    """Return the lines after `begin` and before `end`."""
    interval = timedelta(seconds=TASK_INTERVAL)
    count = max(0, -((begin - end) // interval) - 1)
    moments = (begin + number * interval for number in range(1, count + 1))
    return [f"{timestamp(moment)} task output, line {number}" for number, moment in enumerate(moments, 1)]

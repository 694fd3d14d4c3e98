"""The layouts of prebuilds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Final, get_args, get_type_hints

from prebuild_api.models import Prebuild, PrebuildPhase
from prebuild_api.types import Model
from prebuilds.cli.durations import short_duration
from prebuilds.cli.output import Column, Layout

MAX_NOTE: Final = 2000
"""The number of characters of a server's message in a table."""


def prebuild_layout(now: datetime) -> Layout[Prebuild]:
    """The layout for prebuilds; their ages are relative to `now`."""
    return Layout(
        columns=(
            Column(header="ID", text=lambda each: each.id or ""),
            Column(header="PHASE", text=lambda each: short_name(each.status.phase), style=_phase_style),
            Column(header="AGE", text=lambda each: age(each.metadata.created_at, now), right=True),
            Column(header="TOOK", text=_took, right=True),
            Column(header="PROJECT", text=lambda each: each.metadata.project_id or "", short=9),
            Column(header="CLASS", text=lambda each: each.metadata.environment_class_id or "", short=0),
            Column(header="TRIGGER", text=lambda each: short_name(each.metadata.triggered_by), short=0),
        ),
        item_id=lambda each: each.id or "",
        record=Prebuild.to_dict,
        paths=lambda: paths_of(Prebuild),
        notes=prebuild_notes,
    )


def prebuild_notes(prebuild: Prebuild) -> list[str]:
    """The messages of a prebuild that a person must see."""
    status = prebuild.status
    messages = (("failure", status.failure_message), ("warning", status.warning_message))
    return [f"{kind}: {text[:MAX_NOTE]}" for kind, text in messages if text]


def short_name(value: object) -> str:
    """The name of an enum's value without the prefix that all values share."""
    text = str(value)
    short = re.sub(r"^(PREBUILD_PHASE|WARM_POOL_PHASE|PREBUILD_TRIGGER)_", "", text)
    return "" if short == "UNSPECIFIED" else short


def age(moment: datetime, now: datetime) -> str:
    """The time since a moment."""
    return short_duration((now - moment).total_seconds())


@cache
def paths_of(model: type[Model]) -> Sequence[str]:
    """The paths of all values of a message, by their JSON names. They include new fields of the schema."""
    return tuple(_paths(model))


def _paths(model: type[Model]) -> Iterator[str]:
    for name, hint in get_type_hints(model).items():
        if name.startswith("_"):
            continue
        json_name = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
        nested = [each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Model)]
        if nested:
            yield from (f"{json_name}.{path}" for path in _paths(nested[0]))
        else:
            yield json_name


def _took(prebuild: Prebuild) -> str:
    """The time from the creation to the end; empty for a prebuild that has not ended."""
    end = prebuild.status.completion_time
    return "" if end is None else short_duration((end - prebuild.metadata.created_at).total_seconds())


def _phase_style(prebuild: Prebuild) -> str | None:
    return _STYLES.get(prebuild.status.phase)


_STYLES: dict[str, str] = {
    PrebuildPhase.COMPLETED: "green",
    PrebuildPhase.FAILED: "red",
    PrebuildPhase.CANCELLED: "yellow",
}

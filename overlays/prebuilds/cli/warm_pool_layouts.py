"""The layouts of warm pools."""

from __future__ import annotations

from prebuild_api.models import WarmPool, WarmPoolPhase
from prebuilds.cli.output import Column, Layout
from prebuilds.cli.prebuild_layouts import MAX_NOTE, paths_of, short_name


def warm_pool_layout() -> Layout[WarmPool]:
    """The layout for warm pools."""
    return Layout(
        columns=(
            Column(header="ID", text=lambda each: each.id or ""),
            Column(header="PHASE", text=lambda each: short_name(each.status.phase), style=_phase_style),
            Column(header="SIZE", text=_size),
            Column(header="RUNNING", text=lambda each: str(each.status.running_instances or 0), right=True),
            Column(header="STOPPED", text=lambda each: str(each.status.stopped_instances or 0), right=True, short=0),
            Column(header="PROJECT", text=lambda each: each.metadata.project_id or "", short=9),
            Column(header="CLASS", text=lambda each: each.metadata.environment_class_id or "", short=0),
            Column(header="SNAPSHOT", text=lambda each: each.spec.snapshot_id or "", short=0),
        ),
        item_id=lambda each: each.id or "",
        record=WarmPool.to_dict,
        paths=lambda: paths_of(WarmPool),
        notes=lambda each: (
            [f"failure: {each.status.failure_message[:MAX_NOTE]}"] if each.status.failure_message else []
        ),
    )


def _size(pool: WarmPool) -> str:
    return f"{pool.spec.min_size or 0}..{pool.spec.max_size or 0}"


def _phase_style(pool: WarmPool) -> str | None:
    return _STYLES.get(pool.status.phase)


_STYLES: dict[str, str] = {WarmPoolPhase.READY: "green", WarmPoolPhase.DEGRADED: "red"}

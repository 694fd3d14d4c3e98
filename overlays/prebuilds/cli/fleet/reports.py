"""The results of a run: on standard output, and as report files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from prebuilds.cli.durations import short_duration
from prebuilds.cli.fleet.progress import counts_of
from prebuilds.cli.fleet.targets import Item
from prebuilds.cli.github import markdown_table
from prebuilds.cli.options import counted
from prebuilds.cli.output import Column, Layout

KINDS: Final = ("json", "md")


def record_of(item: Item) -> dict[str, Any]:
    """A target and its outcome, as a JSON object."""
    outcome = item.outcome
    return {
        "projectId": item.target.project,
        "environmentClassId": item.environment_class or item.target.environment_class,
        "prebuildId": item.prebuild_id,
        "outcome": state_of(item),
        "message": "" if outcome is None else outcome.message,
        "logUrl": "" if outcome is None else outcome.log_url,
        "seconds": None if outcome is None else outcome.seconds,
    }


def state_of(item: Item) -> str:
    """The outcome of a target, or how far it is."""
    if item.outcome is not None:
        return item.outcome.name
    return "waiting" if item.prebuild_id is None else "running"


def result_layout() -> Layout[Item]:
    """The layout for results."""
    styles = {"completed": "green", "skipped": "green", "running": None, "waiting": None}
    return Layout(
        columns=(
            Column(header="PROJECT", text=lambda each: each.target.project, short=9),
            Column(header="CLASS", text=lambda each: each.target.environment_class or "", short=0),
            Column(header="PREBUILD", text=lambda each: each.prebuild_id or ""),
            Column(header="OUTCOME", text=state_of, style=lambda each: styles.get(state_of(each), "red")),
            Column(header="TOOK", text=_took, right=True),
        ),
        item_id=lambda each: each.prebuild_id or "",
        record=record_of,
        paths=lambda: ("projectId", "environmentClassId", "prebuildId", "outcome", "message", "logUrl", "seconds"),
        notes=lambda each: [each.outcome.message] if each.outcome is not None and each.outcome.message else [],
    )


def report_files(values: Sequence[str]) -> dict[str, Path]:
    """The files of `--report json=F,md=F`.

    Raises:
        click.UsageError: a report does not have that form, or cannot be written.
    """
    files: dict[str, Path] = {}
    for item in ",".join(values).split(",") if values else ():
        kind, _, name = item.partition("=")
        if kind not in KINDS or not name:
            raise click.UsageError(f"--report: expected json=FILE or md=FILE, found {item!r}")
        files[kind] = Path(name)
        if not files[kind].parent.is_dir() or files[kind].is_dir():
            raise click.UsageError(f"--report: {name} cannot be written")
    return files


def write_reports(files: dict[str, Path], items: Sequence[Item]) -> None:
    """Write the report files."""
    if path := files.get("json"):
        document = {"counts": outcome_counts(items), "results": [record_of(item) for item in items]}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if path := files.get("md"):
        path.write_text(as_markdown(items), encoding="utf-8")


def outcome_counts(items: Sequence[Item]) -> dict[str, int]:
    """The number of targets with each outcome."""
    counts: dict[str, int] = {}
    for item in items:
        counts[state_of(item)] = counts.get(state_of(item), 0) + 1
    return counts


def as_markdown(items: Sequence[Item]) -> str:
    """The results in Markdown: the numbers, and the targets that did not complete."""
    counts = outcome_counts(items)
    text = "## Refreshed prebuilds\n\n"
    text += markdown_table(("Outcome", "Targets"), [(name, str(count)) for name, count in sorted(counts.items())])
    missed = [item for item in items if state_of(item) not in ("completed", "skipped")]
    if missed:
        header = ("Project", "Class", "Prebuild", "Outcome", "Message")
        rows = [
            (
                item.target.project,
                item.target.environment_class or "",
                item.prebuild_id or "",
                state_of(item),
                "" if item.outcome is None else item.outcome.message,
            )
            for item in missed
        ]
        text += f"\n{markdown_table(header, rows)}"
    return text


def summary_of(items: Sequence[Item]) -> str:
    """The numbers in one line."""
    counts = counts_of(items)
    return f"{counted(len(items), 'target')}: " + ", ".join(
        f"{number} {stage}" for stage, number in counts.items() if number
    )


def _took(item: Item) -> str:
    seconds = None if item.outcome is None else item.outcome.seconds
    return "" if seconds is None else short_duration(seconds)

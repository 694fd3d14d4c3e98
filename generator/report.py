"""Stage `report`: the changes since the last generation, their effects on compatibility, and the manual work left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import spec
from .changes import Change, changes

_TITLE = "# Changes of the schema\n"
_BREAKING, _CHANGED, _TODO = "Breaks callers", "Changed", "Left to do by hand"


@dataclass(frozen=True)
class Report:
    """The differences between two generations."""

    version: str
    changes: list[Change] = field(default_factory=list[Change])
    todo: list[str] = field(default_factory=list[str])
    first: bool = False

    @property
    def breaking(self) -> list[Change]:
        """The changes that affect callers."""
        return [change for change in self.changes if change.breaking]

    def __str__(self) -> str:
        if self.first:
            return "first generation: there is nothing to compare with"
        if not self.changes:
            return "no change of the API since the last generation"
        return "\n".join([f"## Schema {self.version}", "", *_written(self.sections())]).strip()

    def sections(self) -> dict[str, list[str]]:
        """The points of the report by their headings."""
        return {
            _BREAKING: [change.text for change in self.changes if change.breaking],
            _CHANGED: [change.text for change in self.changes if not change.breaking],
            _TODO: list(self.todo),
        }


def compare(old: dict[str, Any] | None, new: dict[str, Any]) -> Report:
    """The report on the step from the document `old` to the document `new`."""
    after = spec.read(new)
    if old is None:
        return Report(after.version, first=True)
    before = spec.read(old)
    report = Report(after.version)
    report.changes.extend(changes(before, after, old, new, report.todo))
    proposed = proposed_version(before.version, report)
    if proposed and before.version == after.version:
        report.todo.append(f"raise the schema's version, which is still {after.version}: {proposed} is proposed")
    if before.version != after.version:
        report.changes.insert(0, Change(f"the schema's version: {before.version} -> {after.version}"))
    return report


def proposed_version(version: str, report: Report) -> str | None:
    """The next version after `version`; None without changes, or if `version` does not consist of three numbers."""
    match = re.fullmatch(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", version)
    if match is None or not report.changes:
        return None
    major, minor, patch = map(int, match.groups())
    if report.breaking:
        return f"{major + 1}.0.0" if major else f"0.{minor + 1}.0"
    texts_only = all(change.text_only for change in report.changes)
    return f"{major}.{minor}.{patch + 1}" if texts_only else f"{major}.{minor + 1}.0"


def with_entry(report: Report, log: str | None) -> str:
    """The change log `log` with the report in it: in the entry of its version or in a new one."""
    heading, _, rest = (log or _TITLE).partition("\n## ")
    newest, _, older = rest.partition("\n## ")
    title, _, body = newest.partition("\n")
    sections = report.sections()
    if rest and title.strip() == f"Schema {report.version}":
        text, known = _read(body)
        for name, points in known.items():
            sections[name] = [*points, *(point for point in sections.get(name, []) if point not in points)]
    else:
        text, older = [], rest
    lines = [f"## Schema {report.version}", "", *text, *_written(sections)]
    entries = "\n".join(lines).rstrip() + "\n"
    return f"{heading.rstrip()}\n\n{entries}" + (f"\n## {older}" if older else "")


def _read(body: str) -> tuple[list[str], dict[str, list[str]]]:
    """The text of an entry in front of its sections, and the points of each section."""
    text, *parts = re.split(r"^### ", body, flags=re.MULTILINE)
    sections: dict[str, list[str]] = {_BREAKING: [], _CHANGED: [], _TODO: []}
    for part in parts:
        name, _, points = part.partition("\n")
        sections[name.strip()] = [point.strip() for point in re.split(r"^- ", points, flags=re.MULTILINE)[1:]]
    kept = text.strip()
    return ([kept, ""] if kept else []), sections


def _written(sections: dict[str, list[str]]) -> Iterator[str]:
    for title, items in sections.items():
        if items:
            yield from (f"### {title}", "", *(f"- {item}" for item in items), "")


def last_generation(generated: Path) -> dict[str, Any] | None:
    """The document that `generated` was made from, if it is there."""
    path = generated / "prebuild_wire" / "openapi.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        spec.read(document)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    return document

"""The page of assumptions: the `ASSUMPTION:` notes of the schema and of the hand-written code."""

from __future__ import annotations

import ast
import re
import textwrap
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).parents[2]
MARK = "ASSUMPTION:"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | None"

# The first folder that a file is in decides where its notes go.
AREAS = {
    "overlays/prebuilds/emulator": "The emulator",
    "overlays/prebuilds/contract": "The contract kit",
    "overlays": "The client",
}


@dataclass(frozen=True)
class Note:
    """An assumption, and where it is made."""

    place: str
    text: str


def assumptions_page() -> str:
    """The page, grouped by method of the API and by part of the project."""
    text = (
        "# Assumptions about the service\n\n"
        "The vendor's documentation does not describe everything. This page lists what this project assumes, and "
        "where. It is generated from the notes in the schema and in the code. Servers may behave differently; the "
        "contract kit checks these points only with `--assumptions`.\n\n## The schema\n"
    )
    for place, notes in _grouped(schema_notes()).items():
        text += f"\n### {place}\n\n" + "".join(f"- {note}\n" for note in notes)
    by_area: dict[str, dict[str, list[str]]] = {area: {} for area in AREAS.values()}
    for file, notes in _grouped(code_notes()).items():
        area = next(title for folder, title in AREAS.items() if file.startswith(folder))
        by_area[area][file] = notes
    for area, files in by_area.items():
        if files:
            text += f"\n## {area}\n"
        for file, notes in files.items():
            text += f"\n### `{Path(file).name}`\n\n" + "".join(f"- {note}\n" for note in notes)
    return text


def schema_notes() -> Iterator[Note]:
    """The notes in descriptions of the schema: of methods by their name, of fields by `Message.field`."""
    document = yaml.safe_load((ROOT / "schema" / "prebuild_service.yaml").read_text(encoding="utf-8"))
    yield from _notes_below(document, ())


def _notes_below(node: Json, path: tuple[str, ...]) -> Iterator[Note]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "description" and isinstance(value, str):
                for text in notes_in(value):
                    yield Note(_place(path), text)
            else:
                yield from _notes_below(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _notes_below(value, (*path, str(number)))


def _place(path: tuple[str, ...]) -> str:
    match path:
        case ("paths", method, *_):
            return method.rpartition("/")[2]
        case ("components", "schemas", message, "properties", field, *_):
            return f"{message}.{field}"
        case ("components", "parameters", name, *_):
            return f"Query parameter `{name}`"
        case ("components", _, name, *_):
            return name
        case _:
            return ".".join(path) or "document"


def code_notes() -> Iterator[Note]:
    """The notes in docstrings and comments of the hand-written code."""
    for path in sorted((ROOT / "overlays").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if MARK not in source:
            continue
        file = path.relative_to(ROOT).as_posix()
        for text in (*_docstrings(source), *_comments(path)):
            for note in notes_in(text):
                yield Note(file, note)


def _docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield textwrap.dedent("    " + node.value.value) if "\n" in node.value.value else node.value.value


def _comments(path: Path) -> Iterator[str]:
    """The comments of a file; those on successive lines are one."""
    lines: list[str] = []
    last = -1
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type != tokenize.COMMENT:
                continue
            if token.start[0] != last + 1 and lines:
                yield "\n".join(lines)
                lines = []
            lines.append(token.string.lstrip("# "))
            last = token.start[0]
    if lines:
        yield "\n".join(lines)


def notes_in(text: str) -> Iterator[str]:
    """The assumptions of a text. Each ends with its paragraph, or where the next one begins."""
    for paragraph in re.split(r"\n\s*\n", text):
        for part in paragraph.split(MARK)[1:]:
            note = " ".join(re.split(r"\n\s*(?:- |\w+:\s*\n)", part)[0].split())
            yield note[:1].upper() + note[1:]


def _grouped(notes: Iterator[Note]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for note in notes:
        if note.text not in found[note.place]:
            found[note.place].append(note.text)
    return found

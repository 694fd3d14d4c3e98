"""Changes of the schema and broken inputs, each with what is expected of it.

The cases stand in the YAML files beside this one. A case edits the small schema (`tiny.yaml`):

- `set` and `remove`: what stands at JSON pointers; `text`, `append`, `repeat`, `bytes`: the file itself
- `fields`, `messages`, `enums`, `operations`: what is added, by its names

A case with a `reason` is rejected, with that text, at `pointer` and with a line; `count` is the number of problems.
Any other case is accepted: both packages are generated and used, and the report has the texts of `report`, under what
breaks callers if `breaking` says so.
"""

from __future__ import annotations

import copy
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from generator import api, document, lint, report, stamp, verify, wire
from generator.problems import PipelineError
from tests.generator.conftest import TINY, small

FOLDER = Path(__file__).parent

# How long a rejection may take, in seconds.
TIME_LIMIT = 5.0

_REFERENCE = "#/components/schemas/BrewRequest/properties"


@dataclass(frozen=True)
class Case:
    """A change, and what is expected of it."""

    topic: str
    name: str
    data: dict[str, Any]

    @property
    def is_rejected(self) -> bool:
        """Whether the schema is not accepted."""
        return "reason" in self.data

    def __str__(self) -> str:
        return f"{self.topic}: {self.name}"


def cases() -> Iterator[Case]:
    """All cases, in the order of the files."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for data in yaml.load(path.read_text(encoding="utf-8"), Loader=document.Loader):
            yield Case(path.stem, data["name"], data)


def failure(case: Case, keep: Path | None = None) -> str | None:
    """Why a case fails; None if it passes. The packages of an accepted one are put into `keep`."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "schema.yaml"
        path.write_bytes(content(case))
        before = time.perf_counter()
        try:
            found, text = _generated(path, keep or Path(name) / "out")
        except PipelineError as error:
            return _unexpected(case, error, time.perf_counter() - before)
    if case.is_rejected:
        return "accepted"
    for expected in case.data.get("report", []):
        if expected not in text:
            return f"the report lacks {expected!r}:\n{text}"
    if "breaking" in case.data and bool(found.breaking) != case.data["breaking"]:
        return f"breaking: {not case.data['breaking']}:\n{text}"
    return None


def content(case: Case) -> bytes:
    """The schema of a case."""
    data = case.data
    if "bytes" in data:
        return bytes.fromhex(data["bytes"])
    if "text" in data:
        return str(data["text"]).encode()
    if "append" in data:
        return (TINY + data["append"]).encode()
    if "repeat" in data:
        start, part, times = data["repeat"]
        return (TINY + start + part * times).encode()
    return yaml.dump(edited(case), sort_keys=False, allow_unicode=True).encode()


def edited(case: Case) -> dict[str, Any]:
    """The schema of a case that edits data."""
    schema = small()
    data = copy.deepcopy(case.data)
    for number, entry in enumerate(data.get("fields", [])):
        name, extra = entry if isinstance(entry, list) else (entry, {})
        put(schema, f"{_REFERENCE}/{name}", {"type": "string", "x-protobuf-number": 100 + number, **extra})
    for number, name in enumerate(data.get("messages", [])):
        message = {
            "type": "object",
            "x-protobuf-message": name,
            "properties": {"text": {"type": "string", "x-protobuf-number": 1}},
        }
        put(schema, f"#/components/schemas/{name}", message)
        reference = {"$ref": f"#/components/schemas/{name}"}
        put(schema, f"{_REFERENCE}/one{number}", {**reference, "x-protobuf-number": 200 + 2 * number})
        put(
            schema,
            f"{_REFERENCE}/many{number}",
            {"type": "array", "items": reference, "x-protobuf-number": 201 + 2 * number},
        )
    for number, name in enumerate(data.get("enums", [])):
        members = [f"E{number}_NONE", f"E{number}_SOME"]
        enum = {
            "type": "string",
            "enum": members,
            "x-protobuf-enum": name,
            "x-enum-numbers": {members[0]: 0, members[1]: 1},
        }
        put(schema, f"#/components/schemas/{name}", enum)
        put(
            schema,
            f"{_REFERENCE}/kind{number}",
            {"$ref": f"#/components/schemas/{name}", "x-protobuf-number": 300 + number},
        )
    for entry in data.get("operations", []):
        add_operation(schema, *(entry if isinstance(entry, list) else [entry]))
    for pointer, value in data.get("set", {}).items():
        put(schema, pointer, value)
    for pointer in data.get("remove", []):
        *path, last = keys(pointer)
        del at(schema, path)[last]
    return schema


def add_operation(
    schema: dict[str, Any], name: str, method: str | None = None, request: dict[str, Any] | None = None
) -> None:
    """Add a method that is sent `request`, or a message with one field."""
    message = {"type": "object", "properties": {"potId": {"type": "string", "x-protobuf-number": 1}}} | (request or {})
    component = f"{name[:1].upper()}{name[1:]}Input" if name[0].isalpha() else f"X{name}Input"
    put(schema, f"#/components/schemas/{component}", message | {"x-protobuf-message": component})
    post = copy.deepcopy(schema["paths"]["/kettle.v1.KettleService/Brew"]["post"])
    post |= {
        "operationId": name,
        "x-client-method": method or f"do_{re.sub('[A-Z]', lambda m: '_' + m[0].lower(), name)}",
    }
    post["requestBody"] = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}}
    schema["paths"][f"/kettle.v1.KettleService/{name}"] = {"post": post}


def keys(pointer: str) -> list[str]:
    """The keys of a JSON pointer."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def at(schema: Any, path: list[str]) -> Any:
    """What stands at a path; mappings on the way are made."""
    for key in path:
        schema = schema[int(key)] if isinstance(schema, list) else schema.setdefault(key, {})
    return schema


def put(schema: dict[str, Any], pointer: str, value: Any) -> None:
    """Put `value` at a JSON pointer."""
    *path, last = keys(pointer)
    holder = at(schema, path)
    if isinstance(holder, list):
        holder[int(last) :] = [value]
    else:
        holder[last] = value


def _generated(path: Path, out: Path) -> tuple[report.Report, str]:
    loaded = document.load(path)
    model = lint.lint(loaded)
    out.mkdir(parents=True, exist_ok=True)
    api.generate(model, out / "prebuild_api")
    wire.generate(loaded.data, model, out / "prebuild_wire")
    stamp.format_and_stamp(out)
    verify.verify(loaded, model, out, types=False)
    found = report.compare(small(), loaded.data)
    return found, str(found)


def _unexpected(case: Case, error: PipelineError, seconds: float) -> str | None:
    """What is not as expected of a rejection."""
    if not case.is_rejected or error.stage != "lint":
        return f"rejected by {error.stage}: {str(error)[:3000]}"
    data = case.data
    if seconds > TIME_LIMIT:
        return f"rejected after {seconds:.1f} s"
    if not any(
        data["reason"] in problem.reason
        and problem.pointer.startswith(data["pointer"])
        and problem.line
        and problem.file
        for problem in error.problems
    ):
        return f"rejected with {str(error)[:1000]}"
    if "count" in data and len(error.problems) != data["count"]:
        return f"{len(error.problems)} problems: {str(error)[:1000]}"
    return None

"""Text of the schema never becomes code, whatever it is and wherever it stands."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import pytest

from generator import api, document, lint, stamp, verify, wire

from .conftest import Schema, small, write

MARK = "hostile_marker"

TEXTS = [
    f'a """ + {MARK}() + """ b',
    f'"""\n{MARK}()\n"""',
    f"''' + {MARK}() + '''",
    f'ends with a quote of {MARK}"',
    f"ends with a backslash of {MARK}\\",
    f'\\""" + {MARK}() #',
    f'\\\\""" + {MARK}() #',
    f"{{{{ {MARK}() }}}} {{% for x in {MARK} %}} {{# {MARK} #}}",
    f"\\N{{{MARK}}} \\x \\u12 \\U99999999 \\777",
    f"line\r\n{MARK}()\rnext\f{MARK}()\v{MARK}()",
    f"\x1b[31m{MARK}\x07\x7f\x85\u2028{MARK}()\u2029\u202e{MARK}\u2066",
    f"%s %({MARK})s {{0.{MARK}}} ${{{MARK}}} `{MARK}` <script>{MARK}()</script>",
    f"# type: ignore\n# {MARK}\n\nArgs:\n    {MARK}: x\n\n- {MARK}\n  - {MARK}()",
    f'"\n{MARK}()\n"',
    f"{MARK} " * 40,
    " \n\t ",
    "",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of texts in a schema."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            text = key in ("description", "summary", "title", "url") and isinstance(item, str)
            found += [(*path, key)] if text else places(item, (*path, key))
        if path[-1:] == ("x-enum-descriptions",):
            found += [(*path, key) for key in value]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


def hostile(turn: int) -> Schema:
    """The small schema with a hostile text in every place of one."""
    schema = small()
    schema["servers"] = [{"url": "x", "description": "x"}]
    schema["tags"] = [{"name": "KettleService", "description": "x"}]
    schema["info"]["description"] = "x"
    schema["components"]["schemas"]["TeaKind"]["x-enum-descriptions"] = {"TEA_GREEN": "x", "TEA_BLACK": "x"}
    for component in schema["components"]["schemas"].values():
        component["description"] = "x"
        for field in component.get("properties", {}).values():
            field["description"] = "x"
    post = schema["paths"]["/kettle.v1.KettleService/ListPots"]["post"]
    post["parameters"] = [{"name": 'a"b', "in": "query", "description": "x", "schema": {"type": "string"}}]
    texts = itertools.islice(itertools.cycle(TEXTS), turn, None)
    for *path, last in places(schema):
        holder: Any = schema
        for key in path:
            holder = holder[key]
        holder[last] = next(text for text in texts if text.strip() or last != "url")
    return schema


@pytest.mark.parametrize(
    "turn", [0, 7, *(pytest.param(turn, marks=pytest.mark.campaign) for turn in range(1, len(TEXTS)))]
)
def test_no_text_becomes_code(turn: int, tmp_path: Path) -> None:
    loaded = document.load(write(hostile(turn), tmp_path / "schema.yaml"))
    model = lint.lint(loaded)
    api.generate(model, tmp_path / "out" / "prebuild_api")
    wire.generate(loaded.data, model, tmp_path / "out" / "prebuild_wire")
    stamp.format_and_stamp(tmp_path / "out")
    verify.verify(loaded, model, tmp_path / "out", types=False)
    seen = False
    for path in (tmp_path / "out").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        seen = seen or MARK in source
        assert not [each for each in source if not each.isprintable() and each != "\n"], path
        names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(ast.parse(source))}
        assert MARK not in names, path
    assert seen
